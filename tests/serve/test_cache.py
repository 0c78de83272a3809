"""What was answered is not computed again, alike to the bit, within the memory that was given."""

import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sartor.bundle import Bundle
from sartor.core.errors import SettingError
from sartor.serve.cache import ENTRY_BYTES, Cache
from sartor.serve.graph import Graph
from sartor.serve.runtime import Runtime, load
from tests.serve.conftest import Serving


class Model:
    """Logits that tell the row and how often it was asked; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []

    def __call__(self, rows: list[int]) -> np.ndarray:
        self.asked.append(rows)
        return np.array([[row, len(self.asked)] for row in rows], np.float32)


class Counting:
    """A session that counts the rows it runs."""

    apart = False
    by_piece = False

    def __init__(self, session) -> None:
        self.session, self.rows, self.apart = session, 0, False

    def run(self, ids, mask):
        self.rows += len(ids)
        return self.session.run(ids, mask)


def counted(runtime: Runtime) -> tuple[Runtime, Counting]:
    model = runtime.model
    assert isinstance(model, Graph)
    counting = Counting(model.session)
    return replace(runtime, model=replace(model, session=counting)), counting


def keys(cache: Cache, *texts: str) -> list[bytes]:
    return [cache.key(text.encode()) for text in texts]


def test_a_hit_never_reaches_the_model_and_its_answer_is_the_first_one(bundle: Bundle):
    runtime, session = counted(load(bundle.folder, threads=1, cache_mb=1))
    first = runtime.predict(["money back", "tax"])
    assert session.rows == 2
    again = runtime.predict(["tax", "money back", "hello"])
    assert session.rows == 3
    assert again[:2] == [first[1], first[0]]
    plain = load(bundle.folder, threads=1)
    assert again == plain.predict(["tax"]) + plain.predict(["money back"]) + plain.predict(
        ["hello"]
    )
    assert runtime.cache is not None
    assert (runtime.cache.hits, runtime.cache.misses) == (2, 3)


def test_texts_share_an_answer_only_where_the_model_reads_the_same(bundle: Bundle):
    runtime, session = counted(load(bundle.folder, threads=1, cache_mb=1))
    # Both unknown words are one token to the model, and beyond 32 tokens it reads nothing.
    runtime.predict(["money  back", "money back", "xyz", "zyx", "tax " * 40, "tax " * 50])
    assert session.rows == 3
    runtime.predict(["back money"])
    assert session.rows == 4


def test_nothing_is_kept_unless_it_is_asked_for(bundle: Bundle):
    runtime, session = counted(load(bundle.folder, threads=1))
    runtime.predict(["money"])
    runtime.predict(["money"])
    assert (runtime.cache, session.rows) == (None, 2)


def test_a_callers_changes_do_not_reach_the_next_answer(bundle: Bundle):
    runtime = load(bundle.folder, threads=1, cache_mb=1)
    (answer,) = runtime.predict(["money"])
    answer["probabilities"].clear()
    assert runtime.predict(["money"]) == load(bundle.folder, threads=1).predict(["money"])


def test_the_row_asked_for_longest_ago_goes_first():
    model, cache = Model(), Cache(3 * (ENTRY_BYTES + 8) / 1e6, "bundle")
    a, b, c, d = keys(cache, "a", "b", "c", "d")
    for key in (a, b, c, a, d):
        cache.answer([key], model)
    assert len(model.asked) == 4
    cache.answer([a], model)
    cache.answer([c], model)
    assert len(model.asked) == 4
    cache.answer([b], model)
    assert len(model.asked) == 5
    assert cache.bytes == 3 * (ENTRY_BYTES + 8)


def test_equal_rows_of_one_call_are_computed_once():
    model, cache = Model(), Cache(1, "bundle")
    a, b = keys(cache, "a", "b")
    found = cache.answer([a, b, a, a], model)
    assert model.asked == [[0, 1]]
    assert found.tolist() == [[0, 1], [1, 1], [0, 1], [0, 1]]


def test_bundles_and_contents_have_keys_of_their_own():
    one, two = Cache(1, "one"), Cache(1, "two")
    assert len({*keys(one, "a", "b", ""), *keys(two, "a", "b", "")}) == 6
    assert keys(one, "a") == keys(Cache(2, "one"), "a")


def test_what_could_not_be_computed_is_not_kept():
    def broken(rows: list[int]) -> np.ndarray:
        raise ValueError("the model broke")

    model, cache = Model(), Cache(1, "bundle")
    (a,) = keys(cache, "a")
    with pytest.raises(ValueError, match="the model broke"):
        cache.answer([a], broken)
    assert cache.answer([a], model).tolist() == [[0, 1]]
    assert cache.misses == 1


def test_a_full_cache_takes_no_more_memory_than_it_was_given():
    rows = np.random.default_rng(0).normal(size=(6_000, 5)).astype(np.float32)
    cache = Cache(1, "bundle")
    tracemalloc.start()
    try:
        for start in range(0, len(rows), 100):
            there = [cache.key(b"%d" % row) for row in range(start, start + 100)]
            cache.answer(there, lambda found, start=start: rows[[start + row for row in found]])
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert cache.bytes > 990_000
    assert taken < 1_000_000


def test_threads_that_ask_for_the_same_rows_get_the_same_answers(bundle: Bundle):
    plain = load(bundle.folder, threads=1)
    words = ["money", "tax", "hello", "money tax", "back bill weather"]
    expected = {word: plain.predict([word])[0] for word in words}
    # Room for three entries: they are pushed out all the time.
    runtime = load(bundle.folder, threads=1, cache_mb=3 * (ENTRY_BYTES + 12) / 1e6)
    asked = [words[(i * 7) % 5] for i in range(400)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda word: runtime.predict([word])[0], asked))
    assert found == [expected[word] for word in asked]
    assert runtime.cache is not None
    assert runtime.cache.hits + runtime.cache.misses == 400


@pytest.mark.parametrize("megabytes", [0, -1, 0.0001, float("nan")])
def test_a_cache_without_room_is_refused(make_bundle: Callable[..., Bundle], megabytes: float):
    with pytest.raises(SettingError, match="holds no answer"):
        load(make_bundle().folder, cache_mb=megabytes)


def test_a_server_counts_what_its_cache_answered(serving: Serving, tmp_path: Path):
    with serving(cache_mb=1) as server:
        first = server.predict("money back", "tax")["outputs"]
        assert server.predict("tax", "money back")["outputs"] == [first[1], first[0]]
        counts = server.client.get("/metrics").text
    assert "sartor_cache_hits_total 2.0" in counts
    # The first is the text that warms the model up.
    assert "sartor_cache_misses_total 3.0" in counts
    with serving() as server:
        assert "sartor_cache" not in server.client.get("/metrics").text
