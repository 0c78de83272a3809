"""Models of many languages, told which two: tokens around texts and before what is written."""

import json
from pathlib import Path
from string import printable

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import GenerationConfig

from sartor.core.errors import ModelError, SettingError
from sartor.models.catalogue import find_backbone
from sartor.models.directed import directed, write_directed
from sartor.models.linked import describe_linked
from sartor.models.loading import load_seq2seq
from sartor.serve.opening import open_model
from sartor.tune.sides import sides_of
from tests.tiny import make_tiny_seq2seq
from tests.translated import bundle_of, saved

ENGLISH_CHINESE = {"from": "en", "to": "zh"}
TEXTS = ["a good bad goo", "héllo 中文", "x"]
TOKENS = {
    "m2m_100": ("__en__", "__zh__", "__de__"),
    "mbart": ("en_XX", "zh_CN", "de_DE"),
    "nllb": ("eng_Latn", "zho_Hans", "zho_Hant"),
}


def model(folder: Path, kind: str, tokens=None):
    found = make_tiny_seq2seq(
        folder, "m2m_100" if kind == "nllb" else kind, languages=tokens or TOKENS.get(kind, ())
    )
    return find_backbone(str(found), kind="seq2seq")


def told(backbone, to: Path, languages, task="translation"):
    found = directed(backbone, task, languages)
    assert found is not None
    to.mkdir()
    write_directed(backbone, found, to)
    return describe_linked(backbone, to)


def ids_of(backbone, *tokens):
    tokenizer = Tokenizer.from_file(str(Path(backbone.path) / "tokenizer.json"))
    return [tokenizer.token_to_id(token) for token in tokens]


@pytest.mark.parametrize(
    ("kind", "languages"),
    [
        ("m2m_100", ENGLISH_CHINESE),
        ("mbart", {"from": "de-DE", "to": "zh_cn"}),
        ("nllb", {"from": "eng", "to": "zho_Hant"}),
    ],
)
def test_what_is_served_is_what_transformers_writes_with_a_forced_token(tmp_path, kind, languages):
    backbone = told(model(tmp_path / "model", kind), tmp_path / "told", languages)
    source, target = {
        "m2m_100": ("__en__", "__zh__"),
        "mbart": ("de_DE", "zh_CN"),
        "nllb": ("eng_Latn", "zho_Hant"),
    }[kind]
    source, target = ids_of(backbone, source, target)
    sides = sides_of(backbone)
    assert (sides.before, sides.after, sides.opening) == ((source,), (2,), (1, target))

    saved(tmp_path / "fit", backbone, 2)
    served = open_model(bundle_of(tmp_path / "fit", tmp_path / "bundle"), 1, None, ())
    ours = [[*each.ids, *[2] * each.closed] for each in served.written(TEXTS)]
    file = served.file
    how = GenerationConfig(
        num_beams=2,
        length_penalty=file.length_penalty,
        early_stopping=False,
        max_new_tokens=file.max_new_tokens + 1,
        decoder_start_token_id=1,
        forced_bos_token_id=target,
        eos_token_id=2,
        pad_token_id=0,
        suppress_tokens=[token for token in file.silent if token != target],
    )
    base = load_seq2seq(backbone)
    base.generation_config = GenerationConfig()
    for text, written in zip(TEXTS, ours, strict=True):
        read = torch.tensor([[source, *sides.said(text), 2]])
        theirs = base.generate(input_ids=read, generation_config=how)[0].tolist()
        assert theirs[:2] == [1, target]
        assert written == theirs[2:]


def test_the_first_mbart_names_its_language_behind_the_text_and_begins_with_the_other(tmp_path):
    backbone = model(tmp_path / "model", "mbart")
    german, chinese = ids_of(backbone, "de_DE", "zh_CN")
    for name in ("config.json", "generation_config.json"):
        file = Path(backbone.path) / name
        told_there = json.loads(file.read_text()) | {"decoder_start_token_id": german}
        file.write_text(json.dumps(told_there))
    tokenizer = json.loads((Path(backbone.path) / "tokenizer.json").read_text())
    tokenizer["post_processor"]["single"].append(tokenizer["post_processor"]["single"].pop(0))
    (Path(backbone.path) / "tokenizer.json").write_text(json.dumps(tokenizer))
    (english,) = ids_of(backbone, "en_XX")
    assert directed(backbone, "translation", {}) is None, "the folder is of one pair"
    sides = sides_of(told(backbone, tmp_path / "told", ENGLISH_CHINESE))
    assert (sides.before, sides.after, sides.opening) == ((), (2, english), (chinese,))


def test_a_marian_of_several_is_told_before_the_text(tmp_path):
    backbone = model(tmp_path / "model", "marian", (">>cmn_Hans<<", ">>deu<<"))
    tokenizer = json.loads((Path(backbone.path) / "tokenizer.json").read_text())
    del tokenizer["post_processor"]["single"][0]
    (Path(backbone.path) / "tokenizer.json").write_text(json.dumps(tokenizer))
    sides = sides_of(told(backbone, tmp_path / "told", {"from": "en", "to": "cmn"}))
    assert (sides.before, sides.opening) == ((*ids_of(backbone, ">>cmn_Hans<<"),), (1,))


WORDS = {
    "translation_en_to_de": {"prefix": "translate English to German: "},
    "summarization": {"prefix": "summarize: "},
}


def words_apart(folder: Path) -> None:
    """A tokenizer as T5's have it: a space belongs to the word behind it."""
    control = ["<pad>", "<s>", "</s>", "<unk>"]
    pieces = [(piece, -1.0) for piece in (*control, "▁", *printable, "▁te", "xt")]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=3))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.add_special_tokens(control)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 2)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))


def test_a_t5_reads_its_words_before_the_text(tmp_path):
    backbone = model(tmp_path / "model", "t5")
    assert directed(backbone, "translation", ENGLISH_CHINESE) is None, "it was taught no words"
    words_apart(Path(backbone.path))
    config = Path(backbone.path) / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"task_specific_params": WORDS}))
    for at, (task, languages, words) in enumerate(
        [
            ("translation", {"from": "en", "to": "de"}, "translate English to German: "),
            ("summarization", {}, "summarize: "),
        ]
    ):
        found = told(backbone, tmp_path / f"told {at}", languages, task)
        sides = sides_of(found)
        assert list(sides.before) == sides.said(words.strip())
        whole = Tokenizer.from_file(str(Path(found.path) / "tokenizer.json"))
        plain = Tokenizer.from_file(str(Path(backbone.path) / "tokenizer.json"))
        assert whole.encode("a text").ids == plain.encode(f"{words}a text").ids
        assert found.sha256 != backbone.sha256
        assert found.weights_sha256 == backbone.weights_sha256
    assert directed(backbone, "translation", {}) is None, "it is tuned without"
    with pytest.raises(SettingError, match="no words that ask for zh") as caught:
        directed(backbone, "translation", ENGLISH_CHINESE)
    assert "en to de" in caught.value.fix


@pytest.mark.parametrize(
    ("kind", "languages", "what", "fix"),
    [
        ("nllb", {}, "knows 3 languages", "languages: {from"),
        ("nllb", {"from": "eng", "to": "zho"}, "in several ways", "zho_Hans or zho_Hant"),
        ("nllb", {"from": "eng", "to": "zh"}, "no language 'zh'", "zho_Hans or zho_Hant"),
        ("m2m_100", {"from": "en", "to": "fr"}, "no language 'fr'", "use one of"),
    ],
)
def test_what_a_model_does_not_know_is_refused_with_what_it_knows(
    tmp_path, kind, languages, what, fix
):
    with pytest.raises(SettingError, match=what) as caught:
        directed(model(tmp_path / "model", kind), "translation", languages)
    assert fix in caught.value.fix


def test_a_model_of_one_pair_is_told_nothing(tmp_path):
    assert directed(model(tmp_path / "bart", "bart"), "translation", ENGLISH_CHINESE) is None
    forced = model(tmp_path / "forced", "m2m_100")
    file = Path(forced.path) / "generation_config.json"
    file.write_text(json.dumps({"forced_bos_token_id": ids_of(forced, "__de__")[0]}))
    assert directed(forced, "translation", {}) is None


@pytest.mark.parametrize(
    ("files", "what"),
    [
        (("source.spm", "target.spm"), r"has no vocab\.json: a model of two vocabularies"),
        (("sentencepiece.bpe.model", "vocab.json"), "no fast tokenizer"),
        ((), "has no tokenizer.json"),
    ],
)
def test_a_folder_without_one_tokenizer_is_refused_by_what_it_has(tmp_path, files, what):
    folder = make_tiny_seq2seq(tmp_path / "model", "marian")
    (folder / "tokenizer.json").unlink()
    for name in files:
        (folder / name).write_bytes(b"")
    with pytest.raises(ModelError, match=what):
        find_backbone(str(folder), kind="seq2seq")
