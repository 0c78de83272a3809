"""Callers on one event loop share batches, without blocking it; each loop by itself."""

import asyncio
import gc
import threading
from collections.abc import Sequence
from dataclasses import replace

import pytest

from sartor.bundle import Bundle
from sartor.core.errors import RequestError
from sartor.core.protocols import Floats
from sartor.serve.runtime import Model, Runtime, load


class Slow:
    """The bundle's own model, held until told; remembers its batches."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.batches: list[list[str]] = []
        self.go = threading.Event()

    def logits(self, texts: Sequence[str]) -> Floats:
        self.batches.append(list(texts))
        assert self.go.wait(20)
        if "broken" in texts:
            raise ValueError("the model broke")
        return self.model.logits(texts)


@pytest.fixture
def loaded(bundle: Bundle) -> Runtime:
    return load(bundle.folder, threads=1)


@pytest.fixture
def slow(loaded: Runtime) -> tuple[Runtime, Slow]:
    model = Slow(loaded.model)
    return replace(loaded, model=model), model


async def until(condition) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


def test_answers_are_those_of_predict(loaded: Runtime):
    texts = ["money back", "tax bill", "", "hello weather", *["money tax"] * 300]

    async def story():
        assert await loaded.predict_async(texts) == loaded.predict(texts)
        assert await loaded.predict_async([{"text": "tax"}]) == loaded.predict(["tax"])
        assert await loaded.predict_async([]) == []

    asyncio.run(story())


def test_the_loop_stays_free_and_callers_share_a_batch(slow: tuple[Runtime, Slow]):
    runtime, model = slow

    async def story():
        first = asyncio.create_task(runtime.predict_async(["money"]))
        await until(lambda: model.batches)  # the loop runs while the model computes
        rest = [asyncio.create_task(runtime.predict_async([f"tax {i}"])) for i in range(20)]
        await asyncio.sleep(0)
        model.go.set()
        found = [(await task)[0]["label"] for task in [first, *rest]]
        assert found == ["refund", *["invoice"] * 20]
        assert model.batches == [["money"], [f"tax {i}" for i in range(20)]]

    asyncio.run(story())


def test_a_cancelled_caller_takes_its_waiting_rows_away(slow: tuple[Runtime, Slow]):
    runtime, model = slow

    async def story():
        first = asyncio.create_task(runtime.predict_async(["money"]))
        await until(lambda: model.batches)
        given_up = asyncio.create_task(runtime.predict_async(["never computed"] * 50))
        other = asyncio.create_task(runtime.predict_async(["tax"]))
        await asyncio.sleep(0)
        given_up.cancel()
        with pytest.raises(asyncio.CancelledError):
            await given_up
        model.go.set()
        assert [a["label"] for a in await first + await other] == ["refund", "invoice"]
        assert model.batches == [["money"], ["tax"]]

    asyncio.run(story())


def test_errors_reach_the_caller_and_leave_the_next_one_alone(slow: tuple[Runtime, Slow]):
    runtime, model = slow
    model.go.set()

    async def story():
        with pytest.raises(RequestError, match="Row 1 has the key 'txt'"):
            await runtime.predict_async(["a", {"txt": "b"}])
        with pytest.raises(ValueError, match="the model broke"):
            await runtime.predict_async(["broken"])
        assert (await runtime.predict_async(["tax"]))[0]["label"] == "invoice"

    asyncio.run(story())


def test_however_much_waits_nothing_is_refused(slow: tuple[Runtime, Slow]):
    runtime, model = slow
    model.go.set()

    async def story():
        await runtime.predict_async(["measures the rate"])
        model.go.clear()
        text = "tax " + "x" * 4_096
        waiting = [asyncio.create_task(runtime.predict_async([text])) for _ in range(999)]
        await asyncio.sleep(0)
        waiting.append(asyncio.create_task(runtime.predict_async(["money"])))
        await asyncio.sleep(0)
        model.go.set()
        found = await asyncio.gather(*waiting)
        assert [a["label"] for (a,) in found] == ["invoice"] * 999 + ["refund"]

    asyncio.run(story())


def test_loops_in_several_threads_share_the_runtime(loaded: Runtime):
    found: list[list[str]] = []

    def ask() -> None:
        async def many():
            asked = [loaded.predict_async([word]) for word in ("money", "tax", "hello") * 20]
            return [answers[0]["label"] for answers in await asyncio.gather(*asked)]

        found.append(asyncio.run(many()))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert found == [["refund", "invoice", "other"] * 20] * 4


def test_a_loop_that_ended_leaves_no_worker_behind(loaded: Runtime):
    def workers() -> list[threading.Thread]:
        return [t for t in threading.enumerate() if t.name.startswith("sartor-batch")]

    before = set(workers())
    for _ in range(3):
        asyncio.run(loaded.predict_async(["money"]))
    gc.collect()
    for thread in set(workers()) - before:
        thread.join(10)
    assert set(workers()) <= before


def test_a_loop_that_ends_in_the_middle_of_a_batch_leaves_the_next_one_unharmed(
    slow: tuple[Runtime, Slow],
):
    runtime, model = slow
    before = {*threading.enumerate()}  # other tests' servers may still run

    async def given_up():
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(runtime.predict_async(["money"]), 0.01)

    asyncio.run(given_up())
    model.go.set()

    async def story():
        return (await runtime.predict_async(["tax"]))[0]["label"]

    assert asyncio.run(story()) == "invoice"
    gc.collect()
    began = {*threading.enumerate()} - before
    left = [thread for thread in began if thread.name.startswith("sartor-batch")]
    for thread in left:
        thread.join(10)
    assert not any(thread.is_alive() for thread in left)
