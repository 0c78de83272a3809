"""One batcher for each event loop that asks, so that callers who wait on one loop share batches."""

import asyncio
from collections.abc import Callable, Sequence
from threading import Lock
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from sartor.core.texts import Text
from sartor.serve.batcher import Batcher
from sartor.serve.waiting import Answer

if TYPE_CHECKING:
    from sartor.serve.adapters.graph import Whose


class Sharing:
    """May be asked from several threads, each with its own loop.

    A batcher goes with its loop, and its worker with the batcher: nothing has to be closed.
    """

    def __init__(self, make: Callable[[], Batcher]) -> None:
        self._make = make
        self._batchers: WeakKeyDictionary[asyncio.AbstractEventLoop, Batcher] = WeakKeyDictionary()
        self._lock = Lock()

    async def submit(self, texts: Sequence[Text], whose: "Whose" = ()) -> list[Answer]:
        """Answers to the texts, in order; computed in a worker thread.

        Args:
            texts: Checked.
            whose: See `Batcher.submit`.
        """
        return await self._here().submit(texts, whose=whose)

    def _here(self) -> Batcher:
        loop = asyncio.get_running_loop()
        with self._lock:
            # A loop that ended in the middle of a batch is held by it, and it by us.
            for ended in [each for each in self._batchers if each.is_closed()]:
                del self._batchers[ended]
            if (found := self._batchers.get(loop)) is None:
                found = self._batchers[loop] = self._make()
            return found
