"""A text longer than the model takes is read whole, in windows, where the bundle says so."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from sartor.bundle import Bundle, Preprocess, Windows, open_bundle, write_bundle
from sartor.bundle.card import card
from sartor.core.errors import BundleError
from sartor.core.windows import window_starts
from sartor.serve.graph import Graph
from sartor.serve.reading import Reader
from sartor.serve.runtime import Runtime, load
from tests.manifests import draft
from tests.serve.conftest import LABELS

LENGTH = 8


@pytest.fixture
def make(parts: dict[str, Path], tmp_path: Path) -> Callable[..., Bundle]:
    def made(windows: Windows | None, name: str = "bundle", **changed: object) -> Bundle:
        read = Preprocess(max_length=LENGTH, windows=windows)
        manifest = draft(format=read.format, outputs=list(LABELS), preprocess=read).model_copy(
            update=changed
        )
        return write_bundle(tmp_path / name, manifest, parts, "name: tickets\n")

    return made


WINDOWS = Windows(stride=6, most=4)


def opened(bundle: Bundle) -> Runtime:
    return load(bundle.folder, threads=1, unreleased="allow")


def test_the_end_of_a_long_text_counts_as_much_as_its_beginning(make: Callable[..., Bundle]):
    text = "money " * 8 + "tax " * 8
    cut, whole = opened(make(None, "cut")), opened(make(WINDOWS, "whole"))
    assert cut.predict([text]) == cut.predict(["money"])
    # Windows start at 0, 4 and 8: all money, half of each, all tax.
    (found,) = whole.logits([text])
    np.testing.assert_allclose(found, [2, 2, 0], atol=1e-6)


def test_a_text_that_fits_is_answered_alike_to_the_bit(make: Callable[..., Bundle]):
    texts = ["", "money", "tax " * LENGTH, "hello money bill"]
    cut, whole = opened(make(None, "cut")), opened(make(WINDOWS, "whole"))
    np.testing.assert_array_equal(whole.logits(texts), cut.logits(texts))
    longer = "money " * (LENGTH + 1)
    mixed = whole.logits([texts[0], longer, *texts[1:]])
    np.testing.assert_array_equal(mixed[[0, 2, 3, 4]], cut.logits(texts))
    np.testing.assert_allclose(mixed[1], cut.logits(["money"])[0])


@pytest.mark.parametrize("tokens", [1, 8, 9, 13, 14, 15, 20, 26, 27, 100, 5_000])
def test_windows_cover_the_text_from_first_token_to_last_at_a_bounded_cost(tokens: int):
    starts = window_starts(tokens, LENGTH, WINDOWS.stride, WINDOWS.most)
    assert len(starts) <= WINDOWS.most
    assert starts[0] == 0
    assert starts[-1] == max(0, tokens - LENGTH)
    steps = np.diff(starts)
    assert (steps > 0).all()
    if tokens <= LENGTH + WINDOWS.stride * (WINDOWS.most - 1):
        assert (steps <= WINDOWS.stride).all(), "no gaps where the windows suffice"


def test_every_window_has_the_prefix_and_the_special_tokens(make: Callable[..., Bundle]):
    words = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "query": 4}
    words |= {f"w{i}": 5 + i for i in range(30)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    plain = open_bundle(make(WINDOWS).folder)
    tokenizer.save(str(plain.folder / "tokenizer.json"))
    prefixed = replace(
        plain,
        manifest=plain.manifest.model_copy(
            update={"preprocess": Preprocess(prefix="query ", max_length=LENGTH, windows=WINDOWS)}
        ),
    )
    reader = Reader.open(prefixed)
    assert reader.room == 5

    reading = reader.read(["w1", " ".join(f"W{i}" for i in range(15)), "w2"])

    assert reading.starts.tolist() == [0, 1, 4]
    assert list(reading.pieces[0]) == [2, 4, 6, 3]
    middle = [list(ids) for ids in reading.pieces[1:4]]
    assert middle == [[2, 4, *range(5 + a, 10 + a), 3] for a in (0, 5, 10)]


def test_a_prefix_that_fills_the_model_leaves_no_windows(make: Callable[..., Bundle]):
    read = Preprocess(prefix="money " * (LENGTH + 2), max_length=LENGTH, windows=WINDOWS)
    runtime = opened(make(WINDOWS, preprocess=read))
    assert runtime.predict(["", "tax"]) == runtime.predict(["money", "bill"])


def test_windows_of_all_texts_fill_the_batches(make: Callable[..., Bundle], monkeypatch):
    from sartor.serve import graph

    monkeypatch.setattr(graph, "BATCH_TOKENS", 2 * LENGTH)
    runtime = opened(make(WINDOWS))
    shapes: list[tuple[int, ...]] = []

    class Watched:
        apart = by_piece = False

        def run(self, ids, mask):
            shapes.append(ids.shape)
            return session.run(ids, mask)

    assert isinstance(runtime.model, Graph)
    session = runtime.model.session
    watched = replace(runtime, model=replace(runtime.model, session=Watched()))
    texts = ["money " * 30, "tax", "hello " * 12]
    labels = [found["label"] for found in watched.predict(texts)]
    assert labels == ["refund", "invoice", "other"]
    assert sum(rows for rows, _ in shapes) == 4 + 1 + 2
    assert all(rows * length <= 2 * LENGTH for rows, length in shapes)


def test_a_window_that_was_answered_is_not_computed_again(make: Callable[..., Bundle]):
    runtime = load(make(WINDOWS).folder, threads=1, unreleased="allow", cache_mb=1)
    text = "money " * 20 + "tax " * 20
    first = runtime.predict([text])
    assert runtime.predict([text]) == first
    assert runtime.cache is not None
    assert runtime.cache.misses <= WINDOWS.most
    assert runtime.cache.hits >= WINDOWS.most


def test_a_bundle_without_windows_keeps_the_format_and_the_id_it_had(make: Callable[..., Bundle]):
    folder = make(None).folder
    written = json.loads((folder / "manifest.json").read_text())
    assert written["format"] == 1
    assert written["preprocess"] == {"prefix": "", "max_length": LENGTH}
    whole = json.loads((make(WINDOWS, "whole").folder / "manifest.json").read_text())
    assert whole["format"] == 2
    assert whole["preprocess"]["windows"] == {"stride": 6, "most": 4, "aggregate": "mean"}
    assert whole["id"] != written["id"]


def test_windows_in_a_bundle_of_the_format_without_them_are_refused(make: Callable[..., Bundle]):
    with pytest.raises(BundleError, match="windows needs format 2, not 1"):
        make(WINDOWS, format=1)


@pytest.mark.parametrize("broken", [{"stride": 0, "most": 4}, {"stride": 6, "most": 10_000}])
def test_a_bundle_cannot_ask_for_windows_without_end(make: Callable[..., Bundle], broken):
    folder = make(WINDOWS).folder
    written = json.loads((folder / "manifest.json").read_text())
    written["preprocess"]["windows"] |= broken
    (folder / "manifest.json").write_text(json.dumps(written))
    with pytest.raises(BundleError, match=r"preprocess\.windows\."):
        open_bundle(folder)


def test_the_card_says_what_becomes_of_long_texts(make: Callable[..., Bundle]):
    cut, whole = make(None, "cut").manifest, make(WINDOWS, "whole").manifest
    assert "Longer texts are cut after 8 tokens." in card(cut)
    assert "at most 4 and then evenly spread" in card(whole)
    assert "mean" in card(whole)
