"""What a bundle costs on every target, side by side: for a page, a screen and for machines."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sartor.core.types import Use
from sartor.judge.api import CannotMeasure
from sartor.judge.checks.cost import conditions
from sartor.judge.costing import (
    HORIZON,
    Lines,
    break_even,
    cheapest,
    duration_on,
    lines,
    needs_mib,
    one_currency,
    seconds_on,
    size_on,
)
from sartor.judge.intervals import spread
from sartor.need.costs import Machine, PerUse, PriceBook

_MOST_TURNS = 8


def compare_targets(use: Use, book: PriceBook, remark: str = "") -> dict[str, Any]:
    """Costs by target as JSON: per 1,000 requests, a month at each volume, and where targets cross.

    Every cost is [value, lowest, highest] over the fresh processes that were measured.

    Args:
        use: What the bundle takes.
        book: Prices, and the volumes and the price that the need states.
        remark: What else the measurement holds for.
    """
    costs, priced = book.costs, dict[str, Lines]()
    rows: list[dict[str, Any]] = []
    for name, target in book.targets.items():
        row: dict[str, Any] = {
            "target": name,
            "currency": target.currency,
            "dated": None if target.dated is None else target.dated.isoformat(),
            "source": target.source,
        }
        try:
            priced[name] = lines(name, target, use)
            row |= _priced(name, target, use, book)
        except CannotMeasure as lack:
            row["why"] = f"{lack.what} {lack.fix}"
        rows.append(row)
    busy = use.busy_seconds or use.cpu_seconds
    comparable = one_currency([book.targets[name] for name in priced])
    return {
        "cpu_ms": _ends(np.array(use.cpu_seconds) * 1e3, use.cpu * 1e3),
        "busy_ms": _ends(np.array(busy) * 1e3, float(np.median(busy)) * 1e3),
        "processes": len(use.cpu_seconds),
        "memory_mib": use.memory_mib,
        "busy_memory_mib": max(use.memory_mib, use.busy_memory_mib),
        "needs_mib": needs_mib(use),
        "conditions": "; ".join(filter(None, (conditions(use), remark))),
        "requests": list(costs.requests),
        "price_per_1000": costs.price_per_1000,
        "target": costs.target,
        "targets": rows,
        "comparable": comparable,
        "cheapest": [
            cheapest({name: each.cost(n) for name, each in priced.items()})
            for n in (costs.requests if comparable and priced else ())
        ],
        "cheapest_from": turns(priced) if comparable else [],
        "beside_target": _against(priced, costs.target) if comparable else [],
        "horizon": HORIZON,
    }


def turns(priced: Mapping[str, Lines]) -> list[dict[str, Any]]:
    """The cheapest target from each volume on: {"target", "requests"}, volumes rising.

    At most so many turns as a person reads; machines in whole numbers may take turns often.
    """
    if not priced:
        return []
    here, requests = cheapest({name: each.cost(1) for name, each in priced.items()}), 1
    found = [{"target": here, "requests": 1}]
    while len(found) < _MOST_TURNS:
        crossed = {
            name: at
            for name, other in priced.items()
            if name != here and (at := break_even(priced[here], other, requests)) is not None
        }
        if not crossed:
            break
        requests = min(crossed.values())
        here = cheapest({name: priced[name].cost(requests) for name in crossed})
        found.append({"target": here, "requests": requests})
    return found


def _against(priced: Mapping[str, Lines], target: str | None) -> list[dict[str, Any]]:
    """Each other target beside the need's: whether it is cheaper for the first request, and from
    how many requests a month that turns round; None for never."""
    if target is None or target not in priced:
        return []
    here, found = priced[target], list[dict[str, Any]]()
    for name, other in priced.items():
        if name != target:
            cheaper = other.cost(1) < here.cost(1)
            one, two = (other, here) if cheaper else (here, other)
            turned = break_even(one, two, 1)
            found.append({"target": name, "cheaper_at_first": cheaper, "requests": turned})
    return found


def _priced(name: str, target: PerUse | Machine, use: Use, book: PriceBook) -> dict[str, Any]:
    costs, middle = book.costs, lines(name, target, use)
    each = [lines(name, target, use, cpu) for cpu in seconds_on(target, use)]
    price = costs.price_per_1000
    per_1000 = _ends(np.array([one.per_1000() for one in each]), middle.per_1000())
    monthly = [
        _ends(np.array([one.cost(n) for one in each]), middle.cost(n)) for n in costs.requests
    ]
    found: dict[str, Any] = {"per_1000": per_1000, "monthly": monthly}
    if price is not None:
        found["margin_per_1000"] = _margin(price, per_1000)
        found["margin_monthly"] = [
            _margin(price * n / 1000, cost) for n, cost in zip(costs.requests, monthly, strict=True)
        ]
    if isinstance(target, Machine):
        return found | {
            "month": middle.month,
            "capacity": middle.capacity,
            "utilisation": target.utilisation,
            "memory_mib": target.memory_mib,
            "vcpus": target.vcpus,
        }
    size = size_on(name, target, use)
    return found | {
        "memory_mib": size.memory_mib,
        "vcpus": size.vcpus,
        "duration_ms": duration_on(target, size, use) * 1e3,
    }


def _margin(earned: float, cost: Sequence[float]) -> list[float]:
    value, low, high = cost
    return [earned - value, earned - high, earned - low]


def _ends(figures: np.ndarray, middle: float) -> list[float]:
    return [middle, *spread(figures)]
