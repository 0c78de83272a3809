"""What a bundle takes and what that costs: measured once a bundle, priced as often as asked."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sartor.bundle import Bundle, open_bundle
from sartor.core.texts import Text
from sartor.core.types import Use
from sartor.judge.api import CannotMeasure, TakesPrices
from sartor.judge.comparing import compare_targets
from sartor.judge.resolve import check_of
from sartor.need.costs import PriceBook
from sartor.need.model import Need
from sartor.serve import runtime, using
from sartor.serve.timing import Load

_REQUESTS = 100
THREADS = 1
"""Of one forward pass: costs are those of a process for each vCPU."""

Facts = Callable[[str, Callable[[], Any]], Any]
"""Name and how to find it, see `setup.Facts`."""


@dataclass(frozen=True, slots=True)
class Costing:
    """Measures and prices.

    Args:
        book: Prices.
        fact: Keeps what was measured.
        asked: Whether the need asks for costs, in a criterion or a section of its own.
    """

    book: PriceBook
    fact: Facts
    asked: bool = True

    def use(self, folder: str, texts: Sequence[Text], threads: int = THREADS) -> Use:
        """What a bundle takes.

        Args:
            folder: The bundle's.
            texts: Asked in turn.
            threads: Of one forward pass.

        Raises:
            CannotMeasure: If it asks a language model, whose price is not ours to know.
            BundleError: If it cannot be served.
        """
        bundle = open_bundle(folder)
        if runtime.asks_llm(bundle):
            raise CannotMeasure(
                "a language model behind a URL answers for this bundle, and what it charges is not"
                " known here.",
                fix="look at its provider's prices.",
            )
        load = Load(min(_REQUESTS, max(2 * len(texts), 20)), threads).bearable(bundle)
        found = self.fact(_name(bundle), lambda: _as_json(using.measure(folder, texts, load)))
        return Use(
            tuple(found["cpu_seconds"]),
            found["memory_mib"],
            found["threads"],
            tuple(found["busy_seconds"]),
            found["busy_memory_mib"],
        )

    def table(self, folder: str, texts: Sequence[Text]) -> dict[str, Any] | None:
        """Costs by target as JSON; None where nobody asks, or nothing can be measured.

        Args:
            folder: The bundle's.
            texts: Asked in turn.
        """
        if not self.asked:
            return None
        try:
            return compare_targets(self.use(folder, texts), self.book)
        except CannotMeasure:
            return None


def asks_for_costs(need: Need) -> bool:
    """Whether a criterion or a section of the need is about costs."""
    priced = (check_of(criterion.metric) for criterion in need.accept)
    return need.costs is not None or any(isinstance(check, TakesPrices) for check in priced)


def kept_here() -> Facts:
    """Facts that last as long as what holds them."""
    known: dict[str, Any] = {}

    def fact(name: str, find: Callable[[], Any]) -> Any:
        if name not in known:
            known[name] = find()
        return known[name]

    return fact


def _name(bundle: Bundle) -> str:
    return f"use {bundle.manifest.id[:16]}"


def _as_json(use: Use) -> dict[str, Any]:
    return {
        "cpu_seconds": list(use.cpu_seconds),
        "memory_mib": use.memory_mib,
        "threads": use.threads,
        "busy_seconds": list(use.busy_seconds),
        "busy_memory_mib": use.busy_memory_mib,
    }
