"""How a bundle is made to answer and timed while it is judged: what it may ask, what is known."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sartor.bundle import Bundle, open_bundle
from sartor.core.events import Emit, silent
from sartor.core.texts import Text
from sartor.core.types import Examples
from sartor.core.workspace import Workspace
from sartor.llm.asker import Asks
from sartor.llm.memory import Memory
from sartor.need.model import Need
from sartor.search.desk import Facts
from sartor.serve import runtime, timing
from sartor.tasks import Task, Written

_TIMED_REQUESTS = 100
Timing = Callable[[Bundle, Sequence[Text]], NDArray[np.float64]]
"""A bundle and texts to how long it takes."""


@dataclass(frozen=True, slots=True)
class Answering:
    """What a bundle is judged by.

    Args:
        allowed: Language models that it may ask; see `llm.access`.
        asks: With the workspace's memory: a question that was answered is not put again.
    """

    allowed: tuple[str, ...]
    asks: Asks

    @staticmethod
    def within(place: Workspace, allowed: Sequence[str], emit: Emit = silent) -> "Answering":
        """With the memory of a workspace."""
        return Answering(tuple(allowed), Asks(Memory(place.answers), emit))

    @staticmethod
    def of_need(need: Need, place: Workspace, emit: Emit = silent) -> "Answering":
        """A need's own language model, and no other, may be asked."""
        llm = need.prefer.llm_url
        return Answering.within(place, () if llm is None else (llm.allowance,), emit)

    def load(self, folder: Path) -> runtime.Runtime:
        """The bundle, released or not, signed or not.

        Raises:
            BundleError: If it is damaged, or asks what is not allowed.
        """
        return runtime.start(open_bundle(folder), allow_llm=self.allowed).asking(self.asks)

    def time(
        self, bundle: Bundle, texts: Sequence[Text], most: int = _TIMED_REQUESTS
    ) -> NDArray[np.float64]:
        """(processes, requests) latencies in milliseconds; nothing comes from the memory.

        Args:
            bundle: Any.
            texts: Asked in turn.
            most: Requests a process; few where every answer is asked of others.
        """
        load = timing.Load(requests=min(_TIMED_REQUESTS, most), allow_llm=self.allowed)
        return timing.measure(bundle.folder, texts, load.bearable(bundle))

    def timing(self, fact: Facts) -> Timing:
        """`time` of a bundle, measured once a run."""

        def find(bundle: Bundle, texts: Sequence[Text]) -> NDArray[np.float64]:
            name = f"latency {bundle.manifest.id[:16]}"
            return np.array(fact(name, lambda: self.time(bundle, texts, 2 * len(texts)).tolist()))

        return find

    def streaming(self, fact: Facts) -> Timing:
        """`stream` of a bundle, measured once a run."""

        def find(bundle: Bundle, texts: Sequence[Text]) -> NDArray[np.float64]:
            name = f"streaming {bundle.manifest.id[:16]}"
            return np.array(fact(name, lambda: self.stream(bundle, texts).tolist()))

        return find

    def stream(self, bundle: Bundle, texts: Sequence[Text]) -> NDArray[np.float64]:
        """(processes, requests, 2) of a bundle that writes; see `timing.measure_streams`."""
        return timing.measure_streams(bundle.folder, texts, timing.Load().sparing())


def right_ones(examples: Examples, task: Task) -> list[str]:
    """The right answers, as texts."""
    return [task.target.text(each) for each in examples.target]


def answers_to(
    served: runtime.Runtime, examples: Examples, task: Task
) -> Sequence[Mapping[str, Any]]:
    """A bundle's answers to labelled rows, in order.

    Where they are written, it is told the right ones too: to say how likely it finds them.
    """
    if not isinstance(task.target, Written):
        return served.predict(list(examples.rows()))
    return served.decoded(served.scored(examples.texts, right_ones(examples, task)))
