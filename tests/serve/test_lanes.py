"""Many batches run side by side, alike in their answers, and only where that pays."""

import threading
import time

import numpy as np
import pytest

from sartor.bundle import Bundle
from sartor.serve import graph, lanes
from sartor.serve.gains import SHORT, Gains
from sartor.serve.graph import Graph
from sartor.serve.lanes import OPENING, Lanes
from sartor.serve.runtime import Runtime, load
from sartor.serve.session import Session

WORDS = ("money", "tax", "hello")


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph, "BATCH_TOKENS", 16)
    monkeypatch.setattr(lanes, "OPENING", 500)


def two_of(bundle: Bundle) -> Lanes:
    return Lanes(bundle.path("model.onnx"), bundle.manifest.files["model.onnx"].sha256, 2)


def shared_of(bundle: Bundle) -> Session:
    return Session.open(bundle.path("model.onnx"), 2)


def of(runtime: Runtime) -> Lanes:
    assert isinstance(runtime.model, Graph)
    assert runtime.model.lanes is not None
    return runtime.model.lanes


def until(holds) -> None:
    """Wait for what another thread does."""
    ends = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < ends, "it never came"
        time.sleep(0.01)


def test_many_texts_are_answered_as_few_are(bundle: Bundle, small_batches: None):
    texts = [" ".join([WORDS[i % 3]] * (1 + (i * 7) % 31)) for i in range(300)]
    one, several = load(bundle.folder, threads=1), load(bundle.folder, threads=3)
    assert several.predict(texts) == one.predict(texts)
    assert of(several)._single is not None, "the lanes were used"
    assert of(one)._single is None, "one thread has nothing to run side by side"


def test_they_open_when_they_would_have_paid_for_themselves(bundle: Bundle):
    shared = shared_of(bundle)
    opened = two_of(bundle)

    def ran_in(batches: int, tokens: int) -> Session:
        used: list[Session] = []
        opened.run(shared, range(batches), tokens, lambda session, batch: used.append(session))
        assert len({id(one) for one in used}) == 1
        return used[0]

    assert ran_in(4, OPENING - 1) is shared
    assert ran_in(1, OPENING) is shared, "one has nothing to run beside"
    ran_in(2, 1)  # in whichever there is: this one is so small that it may be open by then
    until(lambda: opened._single is not None)
    assert ran_in(2, 1) is opened._single, "small calls add up"
    assert ran_in(1, SHORT + 1) is shared, "a long text alone has all threads"
    assert ran_in(1, SHORT) is opened._single, "of a short one it is measured, one thread first"


def test_calls_go_on_while_it_is_opened_which_is_done_once(bundle: Bundle, monkeypatch):
    shared, opened, open_it = shared_of(bundle), two_of(bundle), Session.open
    may, begun = threading.Event(), []

    def slowly(path, threads):
        begun.append(path)
        assert may.wait(30)
        return open_it(path, threads)

    monkeypatch.setattr(lanes.Session, "open", staticmethod(slowly))
    used: list[Session] = []
    for _ in range(5):
        opened.run(shared, range(2), OPENING - 1, lambda session, batch: used.append(session))
    assert len(used) == 10
    assert set(map(id, used)) == {id(shared)}
    may.set()
    until(lambda: opened._single is not None)
    assert len(begun) == 1
    opened.run(shared, range(2), 1, lambda session, batch: used.append(session))
    assert used[-1] is opened._single


def test_what_a_second_thread_gains_decides(bundle: Bundle):
    shared = shared_of(bundle)

    def asked(seconds: dict[bool, float], times: int) -> list[bool]:
        """Whether each of some short calls shared its pass, which takes so long."""
        opened, used = two_of(bundle), list[bool]()
        opened.run(shared, range(2), OPENING, lambda session, batch: None)

        def forward(session: Session, batch: int) -> None:
            used.append(session is shared)
            threading.Event().wait(seconds[session is shared])

        for _ in range(times):
            opened.run(shared, range(1), SHORT // 2, forward)
        return used

    found = asked({True: 0.002, False: 0.02}, 12)
    assert found == [False] * 4 + [True] * 8, "both are tried, then the quicker one"
    found = asked({True: 0.02, False: 0.002}, 12)
    assert found == [False] * 4 + [True] * 4 + [False] * 4


def test_a_gain_is_learnt_by_size_and_tried_again():
    gains = Gains()
    for _ in range(4):
        gains.took(True, 100, 0.9)
        gains.took(False, 100, 1.0)
        gains.took(True, 10, 0.98)
        gains.took(False, 10, 1.0)
    shares = [gains.shares(100) for _ in range(100)]
    assert shares.count(False) == 2, "the other kind, once in fifty"
    assert [gains.shares(10) for _ in range(49)] == [False] * 49, "2 % are not worth all cores"
    assert gains.shares(1_000), "of what was not measured a long pass is shared"
    for _ in range(20):
        gains.took(True, 100, 2.0)
    assert not gains.shares(100), "the machine changed"


def test_the_first_passes_of_a_session_are_not_what_it_takes():
    gains = Gains()
    for cold, warm in ((9.0, 1.0), (1.0, 1.0), (1.0, 1.0), (1.0, 1.0)):
        gains.took(True, 40, cold)
        gains.took(False, 40, 2 * warm)
    assert gains.shares(40)


def test_calls_that_overlap_share_the_lanes(bundle: Bundle):
    shared = shared_of(bundle)
    opened, used, both = two_of(bundle), list[Session](), threading.Barrier(2)
    opened.run(shared, range(2), OPENING, lambda session, batch: None)

    def forward(session: Session, batch: int) -> None:
        used.append(session)
        both.wait(20)

    calls = [
        threading.Thread(target=opened.run, args=(shared, range(1), SHORT + 1, forward))
        for _ in range(2)
    ]
    for call in calls:
        call.start()
    for call in calls:
        call.join(20)
    assert used.count(opened._single) == 1, "whoever came second runs beside the first"
    alone: list[Session] = []
    opened.run(shared, range(1), SHORT + 1, lambda session, batch: alone.append(session))
    assert alone == [shared], "and gave its place back"


def test_without_memory_for_the_weights_they_stay_shut(bundle: Bundle, monkeypatch):
    shared = shared_of(bundle)
    size = bundle.path("model.onnx").stat().st_size
    opened = two_of(bundle)
    monkeypatch.setattr(lanes, "free_memory", lambda: size)
    opened.run(shared, range(2), OPENING, lambda session, batch: None)
    assert opened._single is None
    opened = two_of(bundle)
    monkeypatch.setattr(lanes, "free_memory", lambda: 10 * size)
    opened.run(shared, range(2), OPENING, lambda session, batch: None)
    assert opened._single is not None


def test_lanes_run_at_the_same_time_and_every_batch_once(bundle: Bundle):
    shared = shared_of(bundle)
    opened, both, seen = two_of(bundle), threading.Barrier(2), list[int]()

    def forward(session: Session, batch: int) -> None:
        seen.append(batch)
        if batch >= 98:
            both.wait(20)  # passes only where two are under way

    opened.run(shared, range(100), OPENING, forward)
    assert sorted(seen) == list(range(100))
    assert set(seen[:2]) == {98, 99}, "the longest first"


def test_a_failing_batch_reaches_the_caller_and_ends_the_others(bundle: Bundle):
    shared = shared_of(bundle)
    opened, seen = two_of(bundle), list[int]()

    def forward(session: Session, batch: int) -> None:
        seen.append(batch)
        if batch == 9_999:
            raise ValueError("the model broke")
        threading.Event().wait(0.001)

    with pytest.raises(ValueError, match="the model broke"):
        opened.run(shared, range(10_000), OPENING, forward)
    assert len(seen) < 10_000
    assert opened._calls == 0


def test_threads_share_one_second_session(bundle: Bundle, small_batches: None):
    runtime = load(bundle.folder, threads=2)
    texts = [" ".join([WORDS[i % 3]] * (1 + i % 9)) for i in range(200)]
    expected = load(bundle.folder, threads=1).logits(texts)
    found: list[np.ndarray] = []
    asking = [
        threading.Thread(target=lambda: found.append(runtime.logits(texts))) for _ in range(2)
    ]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join(60)
    assert len(found) == 2
    for each in found:
        np.testing.assert_allclose(each, expected, atol=1e-6)


@pytest.mark.parametrize("how", ["edited", "removed"])
def test_a_graph_that_is_no_longer_the_verified_one_is_not_opened_again(
    bundle: Bundle, small_batches: None, how: str
):
    runtime = load(bundle.folder, threads=2)
    path = bundle.path("model.onnx")
    if how == "edited":
        path.write_bytes(path.read_bytes()[::-1])
    else:
        path.unlink()
    texts = [" ".join(["money"] * (1 + i % 9)) for i in range(100)]
    assert {answer["label"] for answer in runtime.predict(texts)} == {"refund"}
    assert of(runtime)._single is None
