"""Marian's two SentencePiece files and one list of numbers, read as transformers reads them."""

import csv
import io
import json
import warnings
from pathlib import Path

import pytest
import sentencepiece
import torch
import transformers
from transformers.convert_slow_tokenizer import import_protobuf

from sartor.core.errors import BundleError, ModelError
from sartor.core.types import TARGET_TOKENIZER
from sartor.models.catalogue import find_backbone
from sartor.models.directed import directed, write_directed
from sartor.models.linked import describe_linked
from sartor.models.loading import load_tokenizer
from sartor.models.two_vocabularies import write_two
from sartor.serve.opening import open_model
from sartor.serve.runtime import start
from sartor.tune.sides import sides_of
from tests.translated import bundle_of, saved

ROWS = Path(__file__).parents[2] / "examples" / "interface" / "interface.csv"
MISSING = "▁the"
"""A piece that the list does not number."""
CODE = ">>cmn_Hans<<"


@pytest.fixture(scope="module")
def texts():
    with ROWS.open(encoding="utf-8") as file:
        rows = [*csv.DictReader(file)]
    return {"source": [row["english"] for row in rows], "target": [row["chinese"] for row in rows]}


@pytest.fixture(scope="module")
def spm(texts):
    """Contents of the two files, learnt from interface texts."""
    made = {}
    for side, lines in texts.items():
        model = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_writer=model,
            vocab_size=600,
            character_coverage=0.98,
            minloglevel=2,
        )
        made[side] = model.getvalue()
    return made


@pytest.fixture
def marian(spm, tmp_path):
    """A folder as the hub has them, with random weights."""
    folder = tmp_path / "marian"
    folder.mkdir()
    pieces = set()
    for side, data in spm.items():
        (folder / f"{side}.spm").write_bytes(data)
        read = sentencepiece.SentencePieceProcessor(model_proto=data)
        ids = [i for i in range(len(read)) if not (read.IsControl(i) or read.IsUnknown(i))]
        pieces |= {read.IdToPiece(i) for i in ids}
    names = ["</s>", "<unk>", *sorted(pieces - {MISSING}), CODE, "<pad>"]
    (folder / "vocab.json").write_text(json.dumps({name: i for i, name in enumerate(names)}))
    config = transformers.MarianConfig(
        vocab_size=len(names),
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        max_position_embeddings=128,
        init_std=0.3,
        scale_embedding=True,
        activation_function="swish",
        pad_token_id=len(names) - 1,
        eos_token_id=0,
        decoder_start_token_id=len(names) - 1,
        forced_eos_token_id=None,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        transformers.MarianMTModel(config).save_pretrained(folder)
    return folder


def theirs_of(folder):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # sacremoses is recommended, and used for nothing
        return transformers.MarianTokenizer.from_pretrained(folder)


@pytest.fixture
def made(marian, tmp_path):
    backbone = find_backbone(str(marian), kind="seq2seq")
    to = tmp_path / "two"
    to.mkdir()
    write_two(backbone, to)
    return describe_linked(backbone, to)


ODD = ["", "  a  b ", "tab\tand\nline", "Ａ full　width", "☃☃ snow ☃", "\ue000ing", "a ▁ b"]


def test_texts_are_cut_and_numbered_as_by_transformers(marian, made, texts):
    theirs = theirs_of(marian)

    def alike(text, spm):
        """Whether no piece is unknown to the list that it knows in parts."""
        unknown = [p for p in spm.encode(text, out_type=str) if p not in theirs.encoder]
        return not any({*piece} & theirs.encoder.keys() for piece in unknown)

    reads = load_tokenizer(Path(made.path))
    writes = load_tokenizer(Path(made.path), TARGET_TOKENIZER)
    read = [t for t in (*texts["source"], *ODD) if alike(t, theirs.spm_source)]
    written = [t for t in (*texts["target"], *ODD) if alike(t, theirs.spm_target)]
    assert len(read) > 700
    assert len(written) > 700
    assert [reads.encode(t).ids for t in read] == theirs(read).input_ids
    wanted = theirs(text_target=written).input_ids
    assert [[*writes.encode(t).ids, 0] for t in written] == wanted
    spelt = theirs.batch_decode(wanted, skip_special_tokens=True)
    assert [writes.decode(ids).strip() for ids in wanted] == spelt
    assert any(1 in ids for ids in wanted), "no unknown character: a vacuous test"


def test_a_piece_without_a_number_is_cut_into_those_that_have_one(made):
    reads = load_tokenizer(Path(made.path))
    assert reads.encode("the").tokens[:-1] != [MISSING]
    assert "".join(reads.encode("the").tokens[:-1]) == MISSING
    assert reads.token_to_id("<unk>") not in reads.encode("the").ids


def test_what_is_served_is_what_transformers_writes(marian, made, tmp_path):
    model, sides = saved(tmp_path, made, beams=1)
    served = start(bundle_of(tmp_path, tmp_path / "bundle"), threads=1)
    asked = ["Delete %(count)d files?", "Yes", "Enter a valid value.", "A </s> B"]
    theirs = theirs_of(marian)
    whole = transformers.MarianMTModel.from_pretrained(marian).eval()
    silent = [*sides.silent - {*sides.stop}]
    for text, answer in zip(asked, served.predict(asked), strict=True):
        if "</s>" in text:
            continue  # it ends what transformers reads; here it is text
        made_ids = whole.generate(
            **theirs(text, return_tensors="pt"),
            num_beams=1,
            do_sample=False,
            max_new_tokens=model.file.max_new_tokens,
            suppress_tokens=silent,
        )
        assert answer["best"] == theirs.decode(made_ids[0], skip_special_tokens=True)


def test_no_text_spells_a_control_token(marian, made, tmp_path):
    told = tmp_path / "told"
    told.mkdir()
    found = directed(made, "translation", {"from": "en", "to": "cmn"})
    assert found is not None
    write_directed(made, found, told)
    sides = sides_of(describe_linked(made, told))
    code = load_tokenizer(told).token_to_id(CODE)
    assert sides.before == (code,)
    for text in ("a </s> b", f"{CODE} a", "<pad><unk>", "\ue000</s>"):
        for ids in (sides.said(text), sides.written(text)):
            # An unknown character is one; the token's own name is none.
            assert not {*ids} & (sides.silent - {load_tokenizer(told).token_to_id("<unk>")})
    assert sides.apart is not None
    assert sides.survives("删除 %(count)d 个")


def test_the_likelihood_of_a_reference_is_counted_in_its_own_pieces(made, tmp_path):
    from sartor.core.replies import Reply
    from sartor.core.types import Examples
    from sartor.tune.sides import Pairs

    model, sides = saved(tmp_path, made, beams=1)
    rows = Examples(("a", "b"), {"text": ("Yes", "Delete")}, (Reply("是"), Reply("删除")))
    right = model.right(Pairs.of(rows, sides, model.file))
    served = open_model(bundle_of(tmp_path, tmp_path / "bundle"), 1, None, ())
    runtime = start(bundle_of(tmp_path, tmp_path / "again"), threads=1)
    answers = runtime.decoded(served.scored(rows.texts, ["是", "删除"]))
    for answer, (log_p, tokens) in zip(answers, right, strict=True):
        assert answer["right"] == [pytest.approx(log_p, abs=1e-3), tokens]


def test_a_bundle_says_that_another_tokenizer_writes(made, tmp_path):
    model, _ = saved(tmp_path, made, beams=1)
    assert model.file.format == 2
    (tmp_path / TARGET_TOKENIZER).unlink()
    with pytest.raises(BundleError, match=TARGET_TOKENIZER):
        start(bundle_of(tmp_path, tmp_path / "bundle"), threads=1)


def test_another_file_that_writes_is_another_model(marian):
    before = find_backbone(str(marian), kind="seq2seq").sha256
    (marian / "target.spm").write_bytes((marian / "source.spm").read_bytes())
    assert find_backbone(str(marian), kind="seq2seq").sha256 != before


def test_a_damaged_table_of_characters_is_named(marian, tmp_path):
    proto = import_protobuf().ModelProto()
    proto.ParseFromString((marian / "source.spm").read_bytes())
    proto.normalizer_spec.precompiled_charsmap = b"\x00\x00\x00\x00"
    (marian / "source.spm").write_bytes(proto.SerializeToString())
    with pytest.raises(ModelError, match=r"source\.spm has a damaged table"):
        write_two(find_backbone(str(marian), kind="seq2seq"), tmp_path)


@pytest.mark.parametrize(
    ("name", "data", "what"),
    [
        ("source.spm", b"no protobuf at all", r"source\.spm is not a SentencePiece model"),
        ("target.spm", b"", r"target\.spm has 0 pieces"),
        ("vocab.json", b"{", r"vocab\.json is not JSON"),
        ("vocab.json", b"[1, 2]", "does not number"),
        ("vocab.json", b'{"</s>": 0, "<unk>": 2, "<pad>": 3}', "does not number"),
        ("vocab.json", b'{"</s>": 0, "<unk>": 1}', "has no <pad>"),
        ("vocab.json", b"[" * 100_000, r"vocab\.json is not JSON"),
    ],
)
def test_a_damaged_file_is_named(marian, tmp_path, name, data, what):
    (marian / name).write_bytes(data)
    backbone = find_backbone(str(marian), kind="seq2seq")
    (tmp_path / "to").mkdir()
    with pytest.raises(ModelError, match=what) as caught:
        write_two(backbone, tmp_path / "to")
    assert caught.value.fix


def test_other_kinds_are_refused_by_name(marian, texts, tmp_path):
    backbone = find_backbone(str(marian), kind="seq2seq")
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts["source"]),
        model_writer=model,
        vocab_size=300,
        model_type="bpe",
        character_coverage=0.98,
        minloglevel=2,
    )
    (marian / "source.spm").write_bytes(model.getvalue())
    with pytest.raises(ModelError, match="another kind than unigram"):
        write_two(backbone, tmp_path)
    config = json.loads((marian / "config.json").read_text())
    config["share_encoder_decoder_embeddings"] = False
    (marian / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="numbers what it reads otherwise"):
        write_two(backbone, tmp_path)


def test_it_is_no_encoder_of_texts(marian):
    with pytest.raises(ModelError, match="it translates") as caught:
        load_tokenizer(marian)
    assert "translation" in caught.value.fix
