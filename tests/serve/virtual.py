"""An event loop whose time passes only while everything waits, and a model that takes such time."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine, Sequence
from typing import Any


class _Skipping(selectors.SelectSelector):
    """Never waits: the time that it should is over at once."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        self.now += max(0.0, timeout or 0.0)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """What runs in an executor takes as long as its result says in `seconds`."""

    def __init__(self) -> None:
        self._skipping = _Skipping()
        super().__init__(self._skipping)

    def time(self) -> float:
        return self._skipping.now

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:
        found, result = self.create_future(), func(*args)
        answers, _ = result
        self.call_later(answers.seconds, found.set_result, result)
        return found


class Timed(list[dict[str, str]]):
    """Answers, and the seconds that they took."""

    seconds = 0.0


class Model:
    """A batch costs a little, and each character a little more.

    Args:
        batch_s: Seconds of each batch.
        char_s: Seconds of each character.
    """

    def __init__(self, batch_s: float = 0.003, char_s: float = 20e-6) -> None:
        self.batch_s, self.char_s = batch_s, char_s
        self.batches: list[list[str]] = []

    def __call__(self, texts: Sequence[str]) -> Timed:
        self.batches.append(list(texts))
        answers = Timed({"label": text} for text in texts)
        answers.seconds = self.batch_s + self.char_s * sum(map(len, texts))
        return answers


def run(story: Callable[[VirtualLoop], Coroutine[Any, Any, None]]) -> None:
    """Run a story in virtual time."""
    loop = VirtualLoop()
    try:
        loop.run_until_complete(story(loop))
    finally:
        loop.close()
