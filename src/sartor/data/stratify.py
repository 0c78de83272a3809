"""Drawing a part of rows that have several labels, so that each label keeps its share.

Iterative stratification: the label that the fewest rows are left of is dealt out first, each of its
rows to the side that still lacks most of that label, and of equals to the one that lacks most rows.

Sechidis, Tsoumakas and Vlahavas 2011, doi:10.1007/978-3-642-23808-6_10
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class _Side:
    """What a side still lacks: rows, and rows of each label; below 0 where it has too many."""

    rows: float
    labels: dict[str, float] = field(default_factory=dict[str, float])

    def take(self, counts: Counter[str], rows: int) -> None:
        self.rows -= rows
        for label, n in counts.items():
            self.labels[label] -= n


def draw_part(
    units: Mapping[int, Counter[str]], sizes: Mapping[int, int], order: Sequence[int], share: float
) -> list[int]:
    """The units of a part, in the order in which they were dealt.

    Args:
        units: Unit to the rows of each label in it.
        sizes: Unit to its rows.
        order: Units in the order in which equals are dealt.
        share: Of all rows, 0 to 1.
    """
    total = Counter[str]()
    for counts in units.values():
        total.update(counts)
    rows = sum(sizes.values())
    part, rest = (
        _Side(part * rows, {label: part * n for label, n in total.items()})
        for part in (share, 1 - share)
    )
    left = dict.fromkeys(order)
    chosen: list[int] = []

    def deal(unit: int, lacks: tuple[float, float]) -> None:
        del left[unit]
        mine, theirs = lacks
        side = part if (mine, part.rows) > (theirs, rest.rows) else rest
        side.take(units[unit], sizes[unit])
        if side is part:
            chosen.append(unit)

    open_ = Counter(total)
    while open_:
        label = min(open_, key=lambda name: (open_[name], name))
        for unit in [unit for unit in left if label in units[unit]]:
            open_.subtract(units[unit])
            deal(unit, (part.labels[label], rest.labels[label]))
        open_ = Counter({name: n for name, n in open_.items() if n > 0})
    for unit in list(left):
        deal(unit, (part.rows, rest.rows))
    return chosen
