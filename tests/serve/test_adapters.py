"""Users of different adapters share a batch and a graph, and nobody's answer is another's."""

import asyncio
import shutil
import threading
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from sartor.bundle import Bundle
from sartor.bundle.adapter import ADAPTER, adapter_folder, delete_adapter, write_adapter
from sartor.bundle.base import read_base
from sartor.core.errors import BundleError, RequestError, SettingError, UnknownName
from sartor.core.protocols import Floats
from sartor.serve.adapters.store import Adapters, AdapterStore
from sartor.serve.graph import Graph
from sartor.serve.runtime import Runtime, load
from sartor.serve.session import Session
from tests.serve.adapted import LAYER, TEXTS, own_head, own_tables, root_of, write_adaptable

USERS = (None, "ann", "bob", "cy", "di")


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return write_adaptable(tmp_path / "bundle")


@pytest.fixture
def root(bundle: Bundle) -> Path:
    return root_of(bundle)


@pytest.fixture
def runtime(bundle: Bundle, root: Path) -> Runtime:
    return load(bundle.folder, adapters=root)


def logits(runtime: Runtime, text: str, user: str | None) -> Floats:
    """Of one text alone."""
    assert runtime.adapted is not None
    own = [] if user is None else [runtime.adapted.store.get(None, user)]
    return runtime.logits([text], own)[0]


def test_who_has_no_adapter_gets_the_bundles_own_answers(bundle: Bundle, runtime: Runtime):
    np.testing.assert_array_equal(runtime.logits(TEXTS), load(bundle.folder).logits(TEXTS))
    assert runtime.predict(TEXTS) == load(bundle.folder).predict(TEXTS)
    assert runtime.predict(TEXTS, users=[None] * len(TEXTS)) == runtime.predict(TEXTS)


def test_a_head_of_ones_own_answers_in_the_place_of_the_shared_one(runtime: Runtime):
    assert runtime.adapted is not None
    features = runtime.adapted.features(TEXTS)
    tensors = own_head(runtime.adapted.base, 1).tensors
    wanted = features @ tensors["head.weight"].T + tensors["head.bias"]
    found = np.stack([logits(runtime, text, "ann") for text in TEXTS])
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert not np.allclose(found, runtime.logits(TEXTS), atol=0.1)


def test_tables_of_ones_own_answer_as_the_merged_weights_do(bundle: Bundle, root: Path):
    runtime = load(bundle.folder, adapters=root)
    for user, seed, rank in (("cy", 3, 3), ("di", 4, 1)):
        tensors = own_tables(read_base(root), seed, rank).tensors
        model = onnx.load(bundle.path("model.onnx"))
        (weight,) = [t for t in model.graph.initializer if t.name == f"{LAYER}.weight"]
        more = (tensors[f"{LAYER}.B"] @ tensors[f"{LAYER}.A"]).T
        merged = numpy_helper.to_array(weight) + more
        weight.CopyFrom(numpy_helper.from_array(merged, weight.name))
        folder = bundle.folder.parent / user
        shutil.copytree(bundle.folder, folder)
        onnx.save(model, folder / "model.onnx")
        wanted = _logits_of(folder / "model.onnx", runtime, TEXTS[0])
        np.testing.assert_allclose(logits(runtime, TEXTS[0], user), wanted, atol=1e-5)


def _logits_of(graph: Path, runtime: Runtime, text: str) -> Floats:
    assert runtime.adapted is not None
    reader = runtime.adapted.reader
    return Graph(Session.open(graph, 1), reader, len(runtime.outputs)).logits([text])[0]


@pytest.mark.parametrize("cache_mb", [None, 1.0])
def test_a_mixed_batch_answers_as_each_alone(bundle: Bundle, root: Path, cache_mb: float | None):
    runtime = load(bundle.folder, adapters=root, cache_mb=cache_mb)
    pairs = [(text, user) for text in TEXTS for user in USERS]
    order = np.random.default_rng(0).permutation(2 * len(pairs)) % len(pairs)
    given = [pairs[at] for at in order]
    alone = {pair: logits(load(bundle.folder, adapters=root), *pair) for pair in pairs}
    assert runtime.adapted is not None
    store = runtime.adapted.store
    for _ in range(2):  # the second time from the cache, where there is one
        whose = [None if user is None else store.get(None, user) for _, user in given]
        mixed = runtime.logits([text for text, _ in given], whose)
        for row, pair in zip(mixed, given, strict=True):
            np.testing.assert_allclose(row, alone[pair], atol=1e-5)


def test_neither_padding_nor_company_moves_an_answer(runtime: Runtime):
    assert runtime.adapted is not None
    store = runtime.adapted.store
    long = "hello weather " * 12
    for user in ("ann", "cy"):
        own = store.get(None, user)
        for other in USERS[1:]:
            whose = [own, store.get(None, str(other)), None]
            mixed = runtime.logits(["bill", long, long], whose)[0]
            np.testing.assert_allclose(mixed, logits(runtime, "bill", user), atol=1e-5)


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Rows of each pass through the graph."""
    seen: list[int] = []
    run = Session.all

    def counted(session: Session, ids, mask, more):
        seen.append(len(ids))
        return run(session, ids, mask, more)

    monkeypatch.setattr(Session, "all", counted)
    return seen


def test_what_heads_read_is_computed_once_for_a_text_that_many_ask(
    runtime: Runtime, passes: list[int]
):
    answers = runtime.predict(["bill"] * 4, users=["ann", "bob", None, "ann"])
    assert passes == [1]
    assert answers[0] == answers[3] != answers[1]
    runtime.predict(["bill"] * 3, users=["cy", "di", "cy"])
    assert passes == [1, 2]


def test_concurrent_callers_of_different_users_share_a_pass(runtime: Runtime, passes: list[int]):
    asked = [(text, user) for text in TEXTS for user in USERS]

    async def story() -> list[list[dict]]:
        return await asyncio.gather(*(runtime.predict_async([t], user=u) for t, u in asked))

    found = asyncio.run(story())
    assert max(passes) > len(USERS)
    for (text, user), (answer,) in zip(asked, found, strict=True):
        (alone,) = runtime.predict([text], user=user)
        assert answer["best"] == alone["best"]
        for label, p in alone["probabilities"].items():
            assert answer["probabilities"][label] == pytest.approx(p, rel=1e-4)


def test_threads_that_share_a_runtime_get_their_own_users_answers(runtime: Runtime):
    wanted = {user: runtime.predict(["tax money"], user=user) for user in USERS}
    wrong: list[str | None] = []

    def ask(user: str | None) -> None:
        for _ in range(30):
            found = runtime.predict(["tax money"], user=user)
            if found[0]["best"] != wanted[user][0]["best"]:
                wrong.append(user)

    threads = [threading.Thread(target=ask, args=(user,)) for user in USERS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_new_version_answers_the_next_request_and_a_deleted_one_none(
    runtime: Runtime, root: Path
):
    base = read_base(root)
    first = logits(runtime, "bill", "ann")
    write_adapter(root, None, "ann", own_head(base, 9))
    second = logits(runtime, "bill", "ann")
    assert not np.allclose(first, second)
    write_adapter(root, None, "ann", own_tables(base, 9))
    assert not np.allclose(logits(runtime, "bill", "ann"), second)
    delete_adapter(root, None, "ann")
    with pytest.raises(UnknownName, match="'ann'"):
        runtime.predict(["bill"], user="ann")


def test_what_a_request_was_given_stays_until_it_is_answered(runtime: Runtime, root: Path):
    assert runtime.adapted is not None
    held = runtime.adapted.store.get(None, "ann")
    before = runtime.logits(["bill"], [held])
    delete_adapter(root, None, "ann")
    np.testing.assert_array_equal(runtime.logits(["bill"], [held]), before)


@pytest.mark.parametrize("users", [["ann"], [None, "ann", "bob"], "ann"])
def test_users_are_named_one_a_row(runtime: Runtime, users: list[str | None]):
    with pytest.raises(RequestError, match="2 rows"):
        runtime.predict(["bill", "tax"], users=users)


def test_an_unknown_user_is_refused_by_name(bundle: Bundle, runtime: Runtime):
    with pytest.raises(UnknownName, match="'eve'"):
        runtime.predict(["bill"], user="eve")
    with pytest.raises(UnknownName, match="'ann'"):
        runtime.predict(["bill"], user="ann", tenant="acme")
    with pytest.raises(SettingError, match="no adapters were loaded"):
        load(bundle.folder).predict(["bill"], user="ann")


def test_a_swapped_adapter_is_refused_by_name(runtime: Runtime, root: Path):
    mine, theirs = (adapter_folder(root, None, user) for user in ("ann", "bob"))
    shutil.rmtree(mine)
    shutil.copytree(theirs, mine)
    with pytest.raises(BundleError, match="'bob', not of 'ann'"):
        runtime.predict(["bill"], user="ann")


def test_adapters_of_another_bundle_are_refused_by_its_id(tmp_path: Path, root: Path):
    other = write_adaptable(tmp_path / "other", seed=1)
    with pytest.raises(BundleError, match=f"not {other.manifest.id[:12]}"):
        load(other.folder, adapters=root)
    with pytest.raises(BundleError, match="no base"):
        load(other.folder, adapters=tmp_path)


def test_a_changed_base_graph_is_refused(bundle: Bundle, root: Path):
    with (root / "base" / "model.onnx").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(BundleError, match="not the graph"):
        load(bundle.folder, adapters=root)


def test_memory_holds_those_asked_for_last(root: Path):
    base = read_base(root)
    size = AdapterStore(Adapters(root), base).get(None, "ann").size
    store = AdapterStore(Adapters(root, 2.5 * size / 1e6), base)
    for seed, user in enumerate(("eve", "fay", "gus")):
        write_adapter(root, None, user, own_head(base, seed))
    for user in ("eve", "fay", "eve", "gus", "eve"):
        store.get(None, user)
    assert (store.loads, store.hits, len(store)) == (3, 2, 2)
    assert store.hot(None, "fay") is None, "fay was asked for longest ago"
    assert store.hot(None, "gus") is not None
    assert store.bytes == 2 * size
    with pytest.raises(UnknownName):
        store.get(None, "nobody")
    assert store.unknown == 1
    with pytest.raises(SettingError, match="hold no adapter"):
        AdapterStore(Adapters(root, 0), base)


def test_an_adapter_that_is_larger_than_memory_still_answers(root: Path):
    store = AdapterStore(Adapters(root, 1e-6), read_base(root))
    assert store.get(None, "ann").head is not None
    assert (len(store), store.bytes) == (0, 0)


def test_a_damaged_one_is_not_kept(root: Path):
    store = AdapterStore(Adapters(root), read_base(root))
    place = adapter_folder(root, None, "ann") / ADAPTER
    whole = place.read_bytes()
    place.write_bytes(whole[:-5])
    with pytest.raises(BundleError):
        store.get(None, "ann")
    assert len(store) == 0
    place.write_bytes(whole)
    assert store.get(None, "ann").head is not None
