"""What waits is sent when a worker is free; large requests take turns; the queue is bounded."""

import asyncio
import threading
from collections.abc import Sequence

import pytest

from sartor.core.errors import RequestError, Unanswered
from sartor.serve.batcher import BATCH_CHARS, Batcher, Pace


class Model:
    """Answers with the text itself, holds until told, and remembers its batches."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.go = threading.Event()
        self.go.set()

    def __call__(self, texts: Sequence[str]) -> list[dict[str, str]]:
        self.batches.append(list(texts))
        assert self.go.wait(20)
        return [{"label": text} for text in texts]


async def until(condition) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


def labels(answers: Sequence[dict]) -> list[str]:
    return [answer["label"] for answer in answers]


def test_a_lone_request_is_sent_at_once():
    async def story():
        model = Model()
        batcher = Batcher(model)
        assert labels(await batcher.submit(["a", "b"])) == ["a", "b"]
        assert await batcher.submit([]) == []
        await batcher.close()
        assert model.batches == [["a", "b"]]

    asyncio.run(story())


def test_what_waits_behind_a_busy_worker_goes_out_together():
    async def story():
        model = Model()
        batcher = Batcher(model)
        model.go.clear()
        first = asyncio.create_task(batcher.submit(["first"]))
        await until(lambda: model.batches)
        rest = [asyncio.create_task(batcher.submit([str(i)])) for i in range(10)]
        await asyncio.sleep(0)
        model.go.set()
        assert [labels(await task) for task in rest] == [[str(i)] for i in range(10)]
        assert labels(await first) == ["first"]
        assert model.batches == [["first"], [str(i) for i in range(10)]]
        await batcher.close()

    asyncio.run(story())


def test_a_large_request_does_not_hold_up_a_small_one():
    async def story():
        model = Model()
        batcher = Batcher(model)
        model.go.clear()
        large = asyncio.create_task(batcher.submit([f"{i:0300d}" for i in range(100)]))
        await until(lambda: model.batches)
        small = asyncio.create_task(batcher.submit(["small"]))
        await asyncio.sleep(0)
        model.go.set()
        await small
        assert not large.done()
        assert "small" in model.batches[1] + model.batches[2]
        assert labels(await large) == [f"{i:0300d}" for i in range(100)]
        for batch in model.batches:
            assert sum(map(len, batch)) <= BATCH_CHARS
        await batcher.close()

    asyncio.run(story())


def test_every_row_is_answered_once_under_concurrency():
    async def story():
        model = Model()
        batcher = Batcher(model, Pace(workers=3))
        asked = [[f"{r}-{i}" for i in range(1 + r % 17)] for r in range(200)]
        found = await asyncio.gather(*map(batcher.submit, asked))
        assert [labels(answers) for answers in found] == asked
        assert sorted(t for b in model.batches for t in b) == sorted(t for a in asked for t in a)
        await batcher.close()

    asyncio.run(story())


def test_work_that_would_wait_too_long_is_refused_with_a_time_to_return():
    async def story():
        model = Model()
        batcher = Batcher(model, max_wait_s=1e-9)
        await batcher.submit(["measures the rate"])
        model.go.clear()
        accepted = [asyncio.create_task(batcher.submit(["x" * 4_000])) for _ in range(2)]
        await until(lambda: len(model.batches) == 2)
        with pytest.raises(RequestError, match="busy") as caught:
            await batcher.submit(["one more"])
        assert caught.value.status == 503
        assert batcher.retry_after_s >= 1
        model.go.set()
        await asyncio.gather(*accepted)
        assert labels(await batcher.submit(["again"])) == ["again"]
        await batcher.close()

    asyncio.run(story())


def test_a_request_that_is_given_up_takes_its_waiting_rows_away():
    async def story():
        model = Model()
        batcher = Batcher(model)
        await batcher.submit(["measures the rate"])
        model.go.clear()
        running = asyncio.create_task(batcher.submit(["running"]))
        await until(lambda: len(model.batches) == 2)
        given_up = asyncio.create_task(batcher.submit(["never computed"] * 500))
        await asyncio.sleep(0)
        assert batcher.waiting_s > 0
        given_up.cancel()
        await asyncio.gather(given_up, return_exceptions=True)
        assert batcher.waiting_s == 0
        model.go.set()
        await running
        await batcher.close()
        assert not any("never computed" in batch for batch in model.batches)

    asyncio.run(story())


def test_a_failing_batch_fails_its_own_requests_only():
    def answers(texts: Sequence[str]) -> list[dict[str, str]]:
        if "bad" in texts:
            raise ValueError("the model broke")
        return [{"label": text} for text in texts]

    async def story():
        batcher = Batcher(answers)
        with pytest.raises(ValueError, match="the model broke"):
            await batcher.submit(["bad"])
        assert labels(await batcher.submit(["good"])) == ["good"]
        await batcher.close()

    asyncio.run(story())


@pytest.mark.parametrize("error", [TypeError("odd"), RequestError("odd", fix="x", status=502)])
def test_of_a_batch_that_fails_the_others_are_answered(error: Exception):
    model = Model()

    def answers(texts: Sequence[str]) -> list[dict[str, str]]:
        found = model(texts)
        if "bad" in texts:
            raise error
        return found

    async def story():
        batcher = Batcher(answers)
        model.go.clear()
        first = asyncio.create_task(batcher.submit(["first"]))
        await until(lambda: model.batches)
        rest = [batcher.submit(texts) for texts in (["a", "b"], ["c", "bad"], ["d"])]
        asked = [asyncio.create_task(one) for one in rest]
        await asyncio.sleep(0)
        model.go.set()
        found = await asyncio.gather(first, *asked, return_exceptions=True)
        await batcher.close()
        assert found[2] is error
        assert [labels(found[place]) for place in (0, 1, 3)] == [["first"], ["a", "b"], ["d"]]
        alone = [["a", "b"], ["c", "bad"], ["d"]]
        assert model.batches == [["first"], ["a", "b", "c", "bad", "d"], *alone]

    asyncio.run(story())


def test_what_would_be_said_of_any_request_is_said_of_the_whole_batch():
    model = Model()

    def answers(texts: Sequence[str]) -> list[dict[str, str]]:
        model(texts)
        raise Unanswered("It is down.", fix="wait.", status=502)

    async def story():
        batcher = Batcher(answers)
        model.go.clear()
        asked = [asyncio.create_task(batcher.submit([text])) for text in "abc"]
        await until(lambda: model.batches)
        model.go.set()
        found = await asyncio.gather(*asked, return_exceptions=True)
        await batcher.close()
        assert [type(one) for one in found] == [Unanswered] * 3
        assert model.batches == [["a"], ["b", "c"]]

    asyncio.run(story())


def test_closing_answers_what_was_accepted_and_refuses_the_rest():
    async def story():
        model = Model()
        batcher = Batcher(model)
        model.go.clear()
        accepted = [asyncio.create_task(batcher.submit([str(i)] * 30)) for i in range(5)]
        await until(lambda: model.batches)
        closing = asyncio.create_task(batcher.close())
        await asyncio.sleep(0)
        with pytest.raises(RequestError, match="stopping") as caught:
            await batcher.submit(["late"])
        assert caught.value.status == 503
        model.go.set()
        assert [labels(await task) for task in accepted] == [[str(i)] * 30 for i in range(5)]
        await closing

    asyncio.run(story())
