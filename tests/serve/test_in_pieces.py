"""Answers about pieces, served: a graph that knows words, and texts longer than it reads."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from sartor.bundle import Bundle, Preprocess, Windows, write_bundle
from sartor.bundle.card import card
from sartor.core.windows import around
from sartor.models.by_piece import part_pieces
from sartor.serve.graph import Graph
from sartor.serve.in_pieces import portions, stretches
from sartor.serve.runtime import Runtime, load
from tests.manifests import draft

OUTPUTS = ["O", "B-city", "I-city", "B-food", "I-food"]
WORDS = {"paris": 1, "new": 1, "york": 2, "北": 1, "京": 2, "tea": 3, "in": 0, "eat": 0, "now": 0}
LENGTH = 6


def graph() -> onnx.ModelProto:
    """Each token's logits from a table, moved to the front: what the exporter writes, by hand.

    The mask is 1 + n at a token where n pieces are read; piece p is read at the first token up to
    which there are more than p.
    """
    table = np.zeros((len(WORDS) + 2, len(OUTPUTS)), np.float32)
    for at, label in enumerate(WORDS.values()):
        table[at + 2, label] = 8.0
    table[:2, 0] = 4.0
    constants = {
        "table": table,
        "one": np.array(1),
        "zero": np.array(0),
        "axis": np.array(1),
        "ends": np.array([2]),
        "places": np.array([1]),
        "outputs": np.array([len(OUTPUTS)]),
    }
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["each"]),
        helper.make_node("Sub", ["attention_mask", "one"], ["counts"]),
        helper.make_node("Max", ["counts", "zero"], ["read"]),
        helper.make_node("CumSum", ["read", "axis"], ["upto"]),
        helper.make_node("Shape", ["input_ids"], ["shape"]),
        helper.make_node("Gather", ["shape", "one"], ["length"]),
        helper.make_node("Range", ["zero", "length", "one"], ["place"]),
        helper.make_node("Unsqueeze", ["upto", "places"], ["wide"]),  # (batch, 1, tokens)
        helper.make_node("Unsqueeze", ["place", "places"], ["tall"]),  # (places, 1)
        helper.make_node("LessOrEqual", ["wide", "tall"], ["before"]),
        helper.make_node("Cast", ["before"], ["ones"], to=TensorProto.INT64),
        helper.make_node("ReduceSum", ["ones", "ends"], ["token"], keepdims=0),
        helper.make_node("Sub", ["length", "one"], ["last"]),
        helper.make_node("Min", ["token", "last"], ["found"]),
        helper.make_node("Unsqueeze", ["found", "ends"], ["column"]),
        helper.make_node("Shape", ["each"], ["size"]),
        helper.make_node("Expand", ["column", "size"], ["index"]),
        helper.make_node("GatherElements", ["each", "index"], ["moved"], axis=1),
        helper.make_node("Less", ["token", "length"], ["there"]),
        helper.make_node("Cast", ["there"], ["kept"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["kept", "ends"], ["mask"]),
        helper.make_node("Mul", ["moved", "mask"], ["logits"]),
    ]
    axes = ["batch", "sequence"]
    made = helper.make_graph(
        nodes,
        "words",
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, axes)
            for name in ("input_ids", "attention_mask")
        ],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [*axes, len(OUTPUTS)])],
        [numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items()],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def made(place: Path, read: Preprocess, name: str = "bundle") -> Bundle:
    tokenizer = Tokenizer(
        WordLevel({"[PAD]": 0, "[UNK]": 1} | {w: i + 2 for i, w in enumerate(WORDS)}, "[UNK]")
    )
    tokenizer.pre_tokenizer = Whitespace()
    part_pieces(tokenizer).save(str(place / "tokenizer.json"))
    onnx.save(graph(), place / "model.onnx")
    manifest = draft(
        format=read.format,
        name="places",
        task="token_classification",
        outputs=OUTPUTS,
        preprocess=read,
    )
    parts = {name: place / name for name in ("model.onnx", "tokenizer.json")}
    return write_bundle(place / name, manifest, parts, "name: places\n")


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Runtime]:
    def loaded(windows: Windows | None = None, prefix: str = "", **given: object) -> Runtime:
        read = Preprocess(max_length=LENGTH, windows=windows, prefix=prefix)
        bundle = made(tmp_path, read, f"bundle-{windows is None}-{len(prefix)}-{len(given)}")
        return load(bundle.folder, threads=1, unreleased="allow", **given)

    return loaded


def parts(answer) -> list[tuple[str, str]]:
    return [(one["text"], one["label"]) for one in answer["entities"]]


TEXTS = ["in new york", "eat tea in 北京 now", "", " \n ", "nothing", "paris", "tea, paris"]


def test_answers_are_parts_of_each_text_in_one_batch_or_alone(make: Callable[..., Runtime]):
    served = make()
    found = served.predict(TEXTS)
    assert [parts(answer) for answer in found] == [
        [("new york", "city")],
        [("tea", "food"), ("北京", "city")],
        [],
        [],
        [],
        [("paris", "city")],
        [("tea", "food"), ("paris", "city")],
    ]
    for text, answer in zip(TEXTS, found, strict=True):
        for one in answer["entities"]:
            assert text[one["start"] : one["end"]] == one["text"]
        assert served.predict([text]) == [answer]
    assert served.predict([]) == []
    assert served.labels == ("city", "food")
    assert "2 labels" in repr(served)


def test_a_prefix_shifts_nothing(make: Callable[..., Runtime]):
    assert parts(make(prefix="eat: ").predict(["in new york"])[0]) == [("new york", "city")]


def test_what_is_kept_answers_as_what_is_computed(make: Callable[..., Runtime]):
    plain, kept = make(), make(cache_mb=1.0)
    for _ in range(2):
        assert kept.predict(TEXTS) == plain.predict(TEXTS)
    assert kept.cache is not None
    assert kept.cache.hits >= len(TEXTS)


LONG = "in in in in new york now eat tea in in paris now in 北京"


def test_a_long_text_is_cut_or_read_in_windows(make: Callable[..., Runtime]):
    assert parts(make().predict([LONG])[0]) == [("new york", "city")]
    served = make(Windows(stride=3, most=8, aggregate="centre"))
    wanted = [("new york", "city"), ("tea", "food"), ("paris", "city"), ("北京", "city")]
    short = "in paris"
    assert [parts(a) for a in served.predict([short, LONG, short])] == [
        [("paris", "city")],
        wanted,
        [("paris", "city")],
    ]
    assert "most stands around it" in card(served.bundle.manifest)


def test_a_piece_is_answered_from_the_window_in_which_most_stands_around_it(make):
    served = make(Windows(stride=3, most=8, aggregate="centre"))
    assert isinstance(served.model, Graph)
    found = stretches(served.model.reader, [LONG])
    assert len(found) > 2
    assert not found[0].begun
    assert not found[-1].goes_on
    covered = {p for s in found for p in range(s.first, s.first + s.read)}
    assert covered == set(range(16))
    near = lambda s: around(s, 5 - s.first, s.read)  # noqa: E731
    best = max(found, key=lambda s: near(s) if s.first <= 5 < s.first + s.read else -1)
    assert near(best) >= 2


def test_where_windows_leave_gaps_nothing_is_named(make: Callable[..., Runtime]):
    served = make(Windows(stride=3, most=2, aggregate="centre"))
    text = "in " * 10 + "paris " + "in " * 10
    assert parts(served.predict([text])[0]) == []
    assert parts(served.predict(["paris " + text])[0]) == [("paris", "city")]


def test_a_long_text_makes_no_array_of_short_ones_as_wide_as_itself(make: Callable[..., Runtime]):
    served = make(Windows(stride=3, most=8, aggregate="centre"))
    monster = "in " * 60_000 + "paris"
    texts = ["in paris", monster, *["tea"] * 300]
    rows = portions(texts)
    assert sorted(row for part in rows for row in part) == list(range(len(texts)))
    assert [1] in rows
    found = served.predict(texts)
    assert parts(found[0]) == parts(found[1]) == [("paris", "city")]
    assert found[1]["entities"][0]["start"] == 180_000
    assert all(parts(answer) == [("tea", "food")] for answer in found[2:])
