"""Trimmed vocabularies: texts of kept tokens are answered as before, others still are."""

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from tokenizers import (
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from sartor.core.errors import NothingToShrink
from sartor.core.types import Examples
from sartor.shrink.api import FIT, GRAPH, Form
from sartor.shrink.compressors.int8_dynamic import Int8Dynamic
from sartor.shrink.compressors.trim_vocabulary import TrimVocabulary
from sartor.shrink.export import to_onnx
from sartor.shrink.graphs import every_weight
from sartor.tasks._encoder.static import StaticClassifier
from sartor.testing.workbench import Workbench, answers
from tests.shrink.runs import BENCH

WORDS = (
    *("the order was late and the product is broken", "i love this very good product"),
    *("please refund my money today", "great taste, fine price", "not good at all!"),
)
RARE = ("payments", "ordering a refund", "lovely producers", "zebra quark", "été, naïve")


def trimmed(source: Form, to: Path, train: Sequence[str], **settings: Any) -> Form:
    to.mkdir()
    rows = Examples(tuple(map(str, range(len(train)))), {"text": tuple(train)})
    TrimVocabulary(**settings).compress(source, to, replace(BENCH, train=rows))
    return source.left_in(to)


def tables(graph: Path) -> set[int]:
    """Rows of the tables that are looked up with ids."""
    model = onnx.load(graph)
    weights = every_weight(model.graph)
    return {
        weights[node.input[0]].dims[0]
        for node in model.graph.node
        if node.op_type == "Gather" and node.input[1] == "input_ids"
    }


def test_texts_whose_tokens_were_all_kept_are_answered_to_the_bit(bench: Workbench, tmp_path: Path):
    texts = bench.bench.train.inputs["text"]
    small = trimmed(bench.form, tmp_path / "small", texts, spare=0.0)
    np.testing.assert_array_equal(answers(small, texts), answers(bench.form, texts))
    (rows,) = tables(small.graph)
    assert rows == Tokenizer.from_file(str(small.tokenizer)).get_vocab_size() < 100


def test_other_texts_are_spelt_with_single_letters_and_still_answered(
    bench: Workbench, tmp_path: Path
):
    small = trimmed(bench.form, tmp_path / "small", ["the order"], spare=0.0)
    read = Tokenizer.from_file(str(small.tokenizer))
    assert read.encode("great").tokens == ["[CLS]", "g", "##r", "##e", "##a", "##t", "[SEP]"]
    assert read.encode("été").tokens == ["[CLS]", "e", "##t", "##e", "[SEP]"]
    assert np.isfinite(answers(small, ["great", "zebra", "", "東"])).all()


def test_a_larger_spare_keeps_more_and_a_larger_min_count_less(bench: Workbench, tmp_path: Path):
    texts = ["the order", "the product is good", "the order is late"]
    sizes = [
        next(iter(tables(trimmed(bench.form, tmp_path / str(i), texts, **settings).graph)))
        for i, settings in enumerate(
            ({"spare": 0.5}, {"spare": 0.1}, {"spare": 0.0}, {"spare": 0.0, "min_count": 2})
        )
    ]
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == len(sizes)


def test_it_trims_tables_that_were_rounded_before_and_rounding_afterwards_gives_the_same(
    bench: Workbench, tmp_path: Path
):
    texts = bench.bench.train.inputs["text"]

    def rounded(source: Form, to: Path) -> Form:
        to.mkdir()
        Int8Dynamic().compress(source, to, BENCH)
        return source.left_in(to)

    first = trimmed(rounded(bench.form, tmp_path / "a"), tmp_path / "b", texts, spare=0.0)
    whole = answers(Form(tmp_path / "a" / GRAPH, bench.form.tokenizer), texts)
    np.testing.assert_array_equal(answers(first, texts), whole)
    assert tables(first.graph) == tables(
        rounded(trimmed(bench.form, tmp_path / "c", texts, spare=0.0), tmp_path / "d").graph
    )


def test_a_table_of_scores_is_trimmed_with_what_counts(tmp_path: Path, bench: Workbench):
    size = Tokenizer.from_file(str(bench.form.tokenizer)).get_vocab_size()
    model = StaticClassifier(size, 2)
    draw = torch.Generator().manual_seed(0)
    model.scores.data = torch.randn(size, 2, generator=draw)
    model.counted[4:] = 1.0
    model.save(tmp_path / FIT)
    to_onnx(tmp_path / FIT, "text_classification", tmp_path / GRAPH)
    source = Form(tmp_path / GRAPH, bench.form.tokenizer)
    texts = bench.bench.train.inputs["text"]

    small = trimmed(source, tmp_path / "small", texts, spare=0.0)

    np.testing.assert_array_equal(answers(small, texts), answers(source, texts))
    assert small.graph.stat().st_size < 0.5 * source.graph.stat().st_size


def lookup(path: Path, *more: onnx.NodeProto, rows: int) -> Path:
    """A graph that looks ids up, and does more with them."""
    table = np.random.default_rng(0).normal(size=(rows, 2)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["table", "input_ids"], ["rows"]),
            *more,
            helper.make_node("ReduceSum", ["rows", "one"], ["logits"], keepdims=0),
        ],
        "g",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "tokens"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 2])],
        [
            numpy_helper.from_array(table, "table"),
            numpy_helper.from_array(np.array([1]), "one"),
            numpy_helper.from_array(np.array(rows - 1), "highest"),
        ],
    )
    opset = helper.make_opsetid("", 20)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=10), path)
    return path


@pytest.mark.parametrize(
    ("node", "why"),
    [
        (helper.make_node("Add", ["input_ids", "input_ids"], ["sum"]), "Add uses their ids"),
        (helper.make_node("Equal", ["input_ids", "highest"], ["is"]), "by its number"),
        (helper.make_node("MatMul", ["rows", "table"], ["tied"]), "MatMul uses their ids"),
    ],
)
def test_a_graph_that_uses_ids_otherwise_is_refused(
    tmp_path: Path, bench: Workbench, node: onnx.NodeProto, why: str
):
    size = Tokenizer.from_file(str(bench.form.tokenizer)).get_vocab_size()
    source = Form(lookup(tmp_path / "g.onnx", node, rows=size), bench.form.tokenizer)
    with pytest.raises(NothingToShrink, match=why):
        trimmed(source, tmp_path / "small", ["the order"])
    assert not list((tmp_path / "small").iterdir())


def test_fewer_rows_than_tokens_and_texts_that_use_them_all_are_refused(
    tmp_path: Path, bench: Workbench
):
    read = Tokenizer.from_file(str(bench.form.tokenizer))
    few = Form(lookup(tmp_path / "few.onnx", rows=9), bench.form.tokenizer)
    with pytest.raises(NothingToShrink, match="a table of 9 rows"):
        trimmed(few, tmp_path / "a", ["the order"])
    whole = Form(lookup(tmp_path / "g.onnx", rows=read.get_vocab_size()), bench.form.tokenizer)
    with pytest.raises(NothingToShrink, match="use all"):
        trimmed(whole, tmp_path / "b", list(read.get_vocab()))
    with pytest.raises(NothingToShrink, match="no training texts"):
        trimmed(whole, tmp_path / "c", [])


def _bpe() -> Tokenizer:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<s>", "<pad>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator([*WORDS, *RARE] * 4, trainer)
    made.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return made


def _unigram() -> Tokenizer:
    draw = random.Random(0)
    words = sorted({f"▁{w}" for text in (*WORDS, *RARE) for w in text.split()})
    parts = sorted({w[i : i + n] for w in words for n in (2, 3) for i in range(len(w) - n)})
    letters = sorted({letter for text in (*WORDS, *RARE) for letter in text} | {"▁"} - {" "})
    pieces = [
        *(("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)),
        *((w, -5 - draw.random()) for w in words),
        *((p, -7 - draw.random()) for p in parts if p not in words),
        *((c, -11 - draw.random()) for c in letters),
        ("ßß", -30.0),
    ]
    made = Tokenizer(models.Unigram(pieces, unk_id=3, byte_fallback=False))
    made.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]
    )
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>"])
    made.add_special_tokens(["<mask>"])  # beyond the model's own vocabulary
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    made.enable_padding(pad_id=1, pad_token="<pad>")
    return made


def _words() -> Tokenizer:
    names = ["[UNK]", *sorted({w for text in (*WORDS, *RARE) for w in text.split()})]
    made = Tokenizer(models.WordLevel({w: i for i, w in enumerate(names)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return made


@pytest.mark.parametrize("make", [_bpe, _unigram, _words])
def test_every_kind_of_tokenizer_splits_texts_of_kept_tokens_as_before(make: Any, tmp_path: Path):
    whole: Tokenizer = make()
    whole.save(str(tmp_path / "tokenizer.json"))
    graph = lookup(tmp_path / "g.onnx", rows=whole.get_vocab_size())
    source = Form(graph, tmp_path / "tokenizer.json")

    small = trimmed(source, tmp_path / "small", WORDS, spare=0.0)

    read = Tokenizer.from_file(str(small.tokenizer))
    assert read.get_vocab_size() < whole.get_vocab_size()
    for text in WORDS:
        assert read.encode(text).tokens == whole.encode(text).tokens
    kept = read.get_vocab()
    for text in RARE:
        tokens = whole.encode(text).tokens
        if all(token in kept for token in tokens):
            assert read.encode(text).tokens == tokens
        assert len(read.encode(text).ids) > 0
    np.testing.assert_array_equal(answers(small, WORDS), answers(source, WORDS))


def test_bpe_keeps_the_merges_that_lead_to_a_kept_token(tmp_path: Path):
    whole = _bpe()
    whole.save(str(tmp_path / "tokenizer.json"))
    graph = lookup(tmp_path / "g.onnx", rows=whole.get_vocab_size())
    small = trimmed(Form(graph, tmp_path / "tokenizer.json"), tmp_path / "s", WORDS, spare=0.0)
    model = json.loads(small.tokenizer.read_text())["model"]
    assert 0 < len(model["merges"]) < len(json.loads(whole.to_str())["model"]["merges"])
    assert {part for pair in model["merges"] for part in (*pair, "".join(pair))} <= set(
        model["vocab"]
    )
    assert set(pre_tokenizers.ByteLevel.alphabet()) <= set(model["vocab"])


def test_a_tokenizer_of_another_kind_is_refused(tmp_path: Path):
    odd = _bpe()
    document = json.loads(odd.to_str())
    document["model"]["continuing_subword_prefix"] = "##"
    (tmp_path / "tokenizer.json").write_text(json.dumps(document))
    graph = lookup(tmp_path / "g.onnx", rows=odd.get_vocab_size())
    with pytest.raises(NothingToShrink, match="of the kind BPE"):
        trimmed(Form(graph, tmp_path / "tokenizer.json"), tmp_path / "s", WORDS)


def test_an_id_that_the_graph_compares_with_gets_its_new_number(tmp_path: Path, bench: Workbench):
    tokenizer = Tokenizer.from_file(str(bench.form.tokenizer))
    size, order = tokenizer.get_vocab_size(), tokenizer.token_to_id("order")
    node = helper.make_node("Equal", ["input_ids", "highest"], ["is"])
    path = lookup(tmp_path / "g.onnx", node, rows=size)
    model = onnx.load(path)
    asked = next(tensor for tensor in model.graph.initializer if tensor.name == "highest")
    asked.CopyFrom(numpy_helper.from_array(np.array(order), "highest"))
    onnx.save(model, path)
    left = trimmed(Form(path, bench.form.tokenizer), tmp_path / "small", ["the order"], spare=0.0)
    weights = {t.name: numpy_helper.to_array(t) for t in onnx.load(left.graph).graph.initializer}
    now = Tokenizer.from_file(str(left.tokenizer)).token_to_id("order")
    assert (int(weights["highest"]), now != order) == (now, True)
