"""Loaded bundles side by side, and which of them answers a request.

A line-up is replaced in one assignment. Whoever holds a version holds a lease on it, so a version
that leaves the line-up answers all that it was given before it closes; only then is it let go.

A canary answers the users whose hash falls under its share. The hash takes in the canary's id: a
user stays on one side for as long as that canary runs, also when its share grows, and another
canary gets other users.
"""

import asyncio
import hashlib
import time
from collections.abc import Callable, Generator, Iterator, KeysView, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from starlette.background import BackgroundTask

from sartor.core.errors import RequestError
from sartor.core.texts import Text
from sartor.serve.cache import Cache
from sartor.serve.figures import Figures
from sartor.serve.giving_back import give_back
from sartor.serve.runtime import Runtime
from sartor.serve.shadow import Shadow
from sartor.serve.waiting import Answer

_POINTS = 1 << 64
_SETTLE_S = 1.0
Watch = Callable[[int, float], None]
"""Told of each batch: rows, and the model's seconds."""


class Version:
    """One loaded bundle with the batcher in front of it."""

    def __init__(
        self, runtime: Runtime, figures: Figures, max_wait_s: float, rate: float = 0.0
    ) -> None:
        """
        Args:
            runtime: Warm.
            figures: Where its requests are counted.
            max_wait_s: Longest wait that is accepted.
            rate: How fast it is thought to be until it is measured; see `Batcher`.
        """
        self.runtime, self._figures = runtime, figures
        self.batcher = runtime.batcher(max_wait_s, rate)
        self._leases = 0
        self._unused = asyncio.Event()
        self._unused.set()

    @property
    def id(self) -> str:
        """Content id of the bundle."""
        return self.runtime.id

    @property
    def caches(self) -> list[Cache | None]:
        """Those that its answers are kept in; None for a bundle without."""
        product = self.runtime.product
        each = {id(r): r for r in (product.runtimes.values() if product else [self.runtime])}
        return [runtime.cache for runtime in each.values()]

    @contextmanager
    def leased(self) -> Generator["Version"]:
        """Keep it open until the block ends, and count how the request ends."""
        self._leases += 1
        self._unused.clear()
        start = time.perf_counter()
        try:
            yield self
            self._figures.of(self.id).answered(time.perf_counter() - start)
        except RequestError as error:
            self._figures.of(self.id).refused(error.status)
            raise
        except Exception:
            self._figures.of(self.id).errors += 1
            raise
        finally:
            self._leases -= 1
            if not self._leases:
                self._unused.set()

    async def close(self) -> None:
        """Answer what was accepted, then end."""
        while self._leases:
            await self._unused.wait()
        await self.batcher.close()


@dataclass(frozen=True, slots=True)
class Lineup:
    """Who answers.

    Args:
        number: Of the deployment's change that says so; 0 without one.
        share: Percent of the users whom the canary answers.
    """

    number: int
    live: Version
    canary: Version | None = None
    share: float = 0.0
    shadow: Shadow | None = None

    @property
    def versions(self) -> tuple[Version, ...]:
        """Those whose answers are seen."""
        return (self.live, self.canary) if self.canary else (self.live,)

    def chosen(self, user: str) -> Version:
        """Who answers this user, or this request where it names no user."""
        if self.canary is None or not falls_under(self.share, self.canary.id, user):
            return self.live
        return self.canary


class Versions:
    """The line-up of a server, and those that left it but are not done."""

    def __init__(self, runtime: Runtime, figures: Figures, max_wait_s: float) -> None:
        self.figures, self._max_wait_s = figures, max_wait_s
        self._watch: Watch | None = None
        self._lineup = Lineup(0, Version(runtime, figures, max_wait_s))
        self._labels = dict.fromkeys(runtime.labels)
        self._leaving: set[asyncio.Task[None]] = set()
        self._closed = False

    def watch(self, watch: Watch) -> None:
        """Tell of every batch, of versions to come too."""
        self._watch = watch
        for version in self._lineup.versions:
            version.batcher.watch = watch

    @property
    def lineup(self) -> Lineup:
        return self._lineup

    @property
    def labels(self) -> KeysView[str]:
        """Labels of every model that was served: feedback may come long after the answer."""
        return self._labels.keys()

    @property
    def waiting_s(self) -> float:
        """Seconds of work that wait, at the present rate."""
        return max(version.batcher.waiting_s for version in self._lineup.versions)

    @property
    def retry_after_s(self) -> int:
        return max(version.batcher.retry_after_s for version in self._lineup.versions)

    @property
    def allowed_s(self) -> float:
        """Longest wait that some version accepts now."""
        return max(version.batcher.allowed_s for version in self._lineup.versions)

    def check_room(self) -> None:
        """Turn a request away before anything is read of it.

        Raises:
            Busy: If every version would turn it away, whoever asks.
        """
        if all(version.batcher.full for version in self._lineup.versions):
            with self._lineup.live.leased() as version:
                raise version.batcher.refusal()

    def version(self, runtime: Runtime) -> Version:
        """A version that counts with the others, not in the line-up yet.

        It is thought as fast as the live one: its first batch meets the load of the swap itself,
        and taking that for its speed would turn requests away.
        """
        rate = self._lineup.live.batcher.rate
        found = Version(runtime, self.figures, self._max_wait_s, rate)
        found.batcher.watch = self._watch
        return found

    def shadow(self, runtime: Runtime) -> Shadow:
        """A shadow, not in the line-up yet."""
        return Shadow(runtime, self.figures)

    @contextmanager
    def leased(self, user: str, only: str | None = None) -> Generator[Version]:
        """Whoever answers this user, until the block ends.

        Args:
            user: Who asks, or the request's id.
            only: Id of the model that is to answer instead.

        Raises:
            RequestError: 404 where no such model answers any more.
        """
        chosen = self._lineup.chosen(user)
        if only is not None:
            known = {version.id: version for version in self._lineup.versions}
            if only not in known:
                raise RequestError(
                    f"No model with the version {only[:200]!r} answers.",
                    fix=f"ask for {self._lineup.live.id}, or leave the version out.",
                    status=404,
                )
            chosen = known[only]
        with chosen.leased() as version:
            yield version

    def copied(
        self, version: Version, texts: Sequence[Text], answers: Sequence[Answer]
    ) -> BackgroundTask | None:
        """What is to be done after a reply: give the shadow its copy of what the live one answered.

        Args:
            version: Who answered.
            texts: What was asked.
            answers: What it said, one a text.
        """
        shadow = self._lineup.shadow
        if shadow is None or version is not self._lineup.live:
            return None
        labels = [version.runtime.brief(answer).label for answer in answers]
        return BackgroundTask(shadow.offer, version.id, texts, labels)

    def passed(self, version: Version, rows: int) -> None:
        """Count rows that the live one answered so that no shadow's answer compares with it.

        Args:
            version: Who answered.
            rows: How many.
        """
        shadow = self._lineup.shadow
        if shadow is not None and version is self._lineup.live:
            self.figures.against(version.id, shadow.id).dropped += rows

    def take(self, lineup: Lineup) -> None:
        """From now on these answer; those that leave finish what they have."""
        before, self._lineup = self._lineup, lineup
        for version in lineup.versions:
            self._labels |= dict.fromkeys(version.runtime.labels)
        for one in _left(before, lineup):
            task = asyncio.create_task(one.close())
            self._leaving.add(task)
            task.add_done_callback(self._gone)

    def _gone(self, task: "asyncio.Task[None]") -> None:
        self._leaving.discard(task)
        # A moment later, when the last of its replies is out and nothing holds the model any more.
        asyncio.get_running_loop().call_later(_SETTLE_S, self._give_back)

    def _give_back(self) -> None:
        if not self._closed:
            asyncio.get_running_loop().run_in_executor(None, give_back)

    async def close(self) -> None:
        """Answer what was accepted and end them all."""
        self._closed = True
        shadow = [self._lineup.shadow] if self._lineup.shadow else []
        await asyncio.gather(*(one.close() for one in (*self._lineup.versions, *shadow)))
        await asyncio.gather(*self._leaving)


def falls_under(share: float, canary: str, user: str) -> bool:
    """Whether a user is among the first `share` percent in this canary's own order of users."""
    mixed = f"{canary}\0{user}".encode("utf-8", "surrogatepass")
    point = int.from_bytes(hashlib.blake2b(mixed, digest_size=8).digest())
    return point < share / 100 * _POINTS


def _left(before: Lineup, after: Lineup) -> Iterator[Version | Shadow]:
    yield from (one for one in before.versions if one not in after.versions)
    if before.shadow is not None and before.shadow is not after.shadow:
        yield before.shadow
