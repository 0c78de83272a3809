"""Split: which rows are learnt from, which choose, and which are seen once, at the end.

A pure function of the rows' content, the seed and what earlier runs decided: the order of the
rows does not matter. Rows move in units (near duplicates together, a group together), drawn in
the order of a hash, until each label has its share; where rows have several labels, see `stratify`.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from sartor.core.errors import DataError
from sartor.core.strata import names_of
from sartor.data.stratify import draw_part


@dataclass(frozen=True, slots=True)
class Rows:
    """What decides a row's place; parallel columns.

    Args:
        ids: Content ids.
        labels: As text, equal ones where there are none; or the labels of each row, as a tuple.
        groups: Rows of one group stay on one side; None or empty values are groups of their own.
        times: Sortable numbers: tests are the latest rows.
        near: Cluster of near duplicates, any integers.
        fixed: Official split of each row ("train", "validation", "test"), or None.
    """

    ids: Sequence[str]
    labels: Sequence[str | tuple[str, ...]]
    groups: Sequence[str | None] | None = None
    times: Sequence[float] | None = None
    near: Sequence[int] | None = None
    fixed: Sequence[str | None] | None = None


@dataclass(frozen=True, slots=True)
class Split:
    """Row indices by role, each ascending.

    Args:
        train: Rows to learn from.
        validation: Rows that choose settings and thresholds.
        test: Rows judged once.
        dropped: (index, reason) of rows that may stand on no side.
        assignments: Content id to role, those of earlier runs included: pass it to the next run.
    """

    train: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]
    dropped: tuple[tuple[int, str], ...]
    assignments: Mapping[str, str]


def split(
    rows: Rows,
    *,
    test_rows: int,
    validation_rows: int,
    seed: int,
    known: Mapping[str, str] | None = None,
    nearness: str = "nearly duplicates",
) -> Split:
    """Assign every row to training, validation or test, or drop it with a reason.

    Official rows keep their split, and where there are official test (validation) rows no others
    are drawn. Rows of earlier runs keep theirs: a test row stays a test row. A row that nearly
    duplicates a test row, or shares its group, is dropped.

    Args:
        rows: At least one.
        test_rows: Rows wanted in the test set, those of earlier runs included; whole units and
            one training row a label may make it miss by a few.
        validation_rows: Likewise.
        seed: Draws another split where nothing is known.
        known: Content id to role, from earlier runs.
        nearness: What rows of one cluster do to each other, in words.

    Raises:
        DataError: If nothing would be left to train on, or a wanted set would be empty.
    """
    work = _Work(rows, known or {}, seed, nearness)
    work.place_fixed()
    work.place_known()
    work.follow()
    if rows.times is not None:
        work.draw_latest("test", test_rows, rows.times)
        work.draw_latest("validation", validation_rows, rows.times)
    else:
        work.reserve_training()
        work.draw("test", test_rows)
        work.draw("validation", validation_rows)
    work.rest_to_training()
    return work.finish(wanted={"test": test_rows, "validation": validation_rows})


@dataclass(frozen=True, slots=True)
class _Marks:
    """The ids, clusters and groups of some rows."""

    ids: frozenset[str]
    near: frozenset[int]
    groups: frozenset[str]


class _Work:
    """Units and their roles while the split is being made."""

    def __init__(self, rows: Rows, known: Mapping[str, str], seed: int, nearness: str) -> None:
        self.rows, self.known, self.seed, self.nearness = rows, known, seed, nearness
        self.roles: dict[int, str] = {}
        self.dropped: dict[int, str] = {}
        self.official = set(filter(None, rows.fixed or ()))
        self.units = self._units()
        keys = {u: min(self._key(i) for i in members) for u, members in self.units.items()}
        self.order = sorted(self.units, key=keys.__getitem__)
        self.reserved: set[int] = set()
        self.names = [names_of(label) for label in rows.labels]
        self.several = any(len(names) != 1 for names in self.names)

    def _key(self, i: int) -> bytes:
        return blake2b(f"{self.seed}:{self.rows.ids[i]}".encode(), digest_size=16).digest()

    def _units(self) -> dict[int, list[int]]:
        """Rows tied by content, nearness or group, by the first of them.

        Over time, groups and near duplicates are not moved together: the clock decides, and rows
        before it that are tied to a test row are dropped.
        """
        parent = list(range(len(self.rows.ids)))

        def root(i: int) -> int:
            while parent[i] != i:
                parent[i] = parent[parent[i]]
                i = parent[i]
            return i

        timed = self.rows.times is not None
        for ties in self._ties()[: 1 if timed else None]:
            first: dict[object, int] = {}
            for i, tie in enumerate(ties):
                if tie is not None:
                    a, b = root(i), root(first.setdefault(tie, i))
                    parent[max(a, b)] = min(a, b)
        units: dict[int, list[int]] = defaultdict(list)
        for i in range(len(parent)):
            units[root(i)].append(i)
        return dict(units)

    def _ties(self) -> list[Sequence[object]]:
        near = self.rows.near
        groups = [group or None for group in self.rows.groups] if self.rows.groups else None
        return [ties for ties in (self.rows.ids, near, groups) if ties is not None]

    def place_fixed(self) -> None:
        for i, official in enumerate(self.rows.fixed or ()):
            if official:
                self.roles[i] = official

    def place_known(self) -> None:
        """Earlier runs decide where the user's files do not."""
        for i, name in enumerate(self.rows.ids):
            before = self.known.get(name)
            if before is None or self.roles.get(i) == "test":
                continue
            if before == "test" and "test" in self.official:
                # Another test set is official now; what an earlier one held stays unlearnt.
                self._drop(i, "was a test row of an earlier run; the test file is another now")
            elif before == "test" or i not in self.roles:
                self.roles[i] = before

    def follow(self) -> None:
        """Rows tied to placed ones go where those are; none may face a test row."""
        for members in self.units.values():
            placed = {self.roles[i] for i in members if i in self.roles}
            if not placed:
                continue
            test, validation = (
                self._marks([i for i in members if self.roles.get(i) == side])
                for side in ("test", "validation")
            )
            for i in members:
                if i in self.dropped:
                    continue
                role = self.roles.get(i)
                if "test" in placed and role != "test" and self._faces(i, test):
                    self._drop(i, self._why(i, test, "test"))
                elif "validation" in placed and role == "train":
                    self._drop(i, self._why(i, validation, "validation"))
                elif role is None:
                    self.roles[i] = "validation" if "validation" in placed else "train"

    def _marks(self, rows: Sequence[int]) -> _Marks:
        """What ties other rows to some, found once for all of those: a unit may be large."""
        near, groups = self.rows.near, self.rows.groups
        return _Marks(
            frozenset(self.rows.ids[i] for i in rows),
            frozenset(near[i] for i in rows) if near is not None else frozenset(),
            frozenset(filter(None, (groups[i] for i in rows))) if groups else frozenset(),
        )

    def _faces(self, i: int, test: _Marks) -> bool:
        """Whether a row must go because a test row is in its unit.

        A training row of an earlier run was not near any test row then. If it is now in one
        cluster with one, a new row between them made the chain, and that row is what goes.
        """
        if self.known.get(self.rows.ids[i]) not in ("train", "validation"):
            return True
        shares = bool(self.rows.groups) and self.rows.groups[i] in test.groups
        return shares or self.rows.ids[i] in test.ids

    def _why(self, i: int, facing: _Marks, side: str) -> str:
        if self.rows.ids[i] in facing.ids:
            return f"repeats a {side} row"
        if self.rows.near is not None and self.rows.near[i] in facing.near:
            return f"{self.nearness} a {side} row"
        return f"shares its group with a {side} row"

    def _drop(self, i: int, reason: str) -> None:
        self.roles.pop(i, None)
        self.dropped[i] = reason

    def _free(self) -> list[int]:
        """Units nobody has placed, in the order of their hash."""
        return [u for u in self.order if not any(self._settled(i) for i in self.units[u])]

    def _settled(self, i: int) -> bool:
        return i in self.roles or i in self.dropped

    def _counts(self, unit: int) -> Counter[str]:
        return Counter(name for i in self.units[unit] for name in self.names[i])

    def reserve_training(self) -> None:
        """Keep one unit of every label for training: a label met only in the test is not learnt."""
        learnt = (self.names[i] for i, role in self.roles.items() if role == "train")
        have = {name for names in learnt for name in names}
        # The largest unit first: it is the one that would distort a small test set most.
        for unit in sorted(reversed(self._free()), key=lambda u: -len(self.units[u])):
            labels = set(self._counts(unit))
            if not labels <= have:
                self.reserved.add(unit)
                have |= labels

    def draw(self, role: str, wanted: int) -> None:
        """Take free units, in the order of their hash, until each label has its share."""
        missing = self._missing(role, wanted)
        if missing <= 0:
            return
        free = [u for u in self._free() if u not in self.reserved]
        pool = Counter(n for u in self._free() for i in self.units[u] for n in self.names[i])
        if self.several:
            self._draw_several(free, role, missing)
            free = []
        room = _shares(pool, missing)
        for unit in free:
            counts = self._counts(unit)
            gain = sum(min(n, room[label]) for label, n in counts.items())
            # A unit goes in when it fills more of the shares than it overfills.
            if gain * 2 > counts.total():
                room.update({label: -min(n, room[label]) for label, n in counts.items()})
                self._place(unit, role)
        if free and role not in self.roles.values():
            # Every unit is larger than what is wanted: the smallest errs least.
            self._place(min(free, key=lambda u: len(self.units[u])), role)

    def _draw_several(self, free: Sequence[int], role: str, missing: int) -> None:
        """Take units by iterative stratification."""
        sizes = {unit: len(self.units[unit]) for unit in free}
        counts = {unit: self._counts(unit) for unit in free}
        share = min(1.0, missing / max(sum(sizes.values()), 1))
        for unit in draw_part(counts, sizes, free, share):
            self._place(unit, role)

    def draw_latest(self, role: str, wanted: int, times: Sequence[float]) -> None:
        """Take the latest free rows; equal times stay together."""
        missing = self._missing(role, wanted)
        earliest = min((times[i] for i, r in self.roles.items() if r == role), default=math.inf)
        free = sorted(self._free(), key=lambda u: (-times[u], self._key(self.units[u][0])))
        cut = times[free[missing - 1]] if 0 < missing <= len(free) else None
        for unit in free:
            # A row as late as the earliest test row cannot train a model that is tested on it.
            late = times[unit] >= earliest and role not in self.official
            if late or (cut is not None and times[unit] >= cut):
                self._place(unit, role)
        if missing > len(free):
            raise DataError(
                f"{missing} rows are wanted for {role} and {len(free)} are free.",
                fix="add rows, or ask for criteria that a smaller set can prove.",
            )

    def _missing(self, role: str, wanted: int) -> int:
        if role in self.official:
            return 0
        return wanted - sum(r == role for r in self.roles.values())

    def _place(self, unit: int, role: str) -> None:
        for i in self.units[unit]:
            self.roles[i] = role

    def rest_to_training(self) -> None:
        for unit in self._free():
            self._place(unit, "train")
        if self.rows.times is not None:
            self._part_over_time()

    def _part_over_time(self) -> None:
        """Drop earlier rows that are tied to a later side."""
        for side, below in (("test", ("train", "validation")), ("validation", ("train",))):
            for ties in self._ties()[1:]:
                facing: dict[object, list[int]] = defaultdict(list)
                for i, role in self.roles.items():
                    if role == side and ties[i] is not None:
                        facing[ties[i]].append(i)
                marks = {tie: self._marks(rows) for tie, rows in facing.items()}
                for i, role in list(self.roles.items()):
                    if role in below and ties[i] in marks:
                        self._drop(i, self._why(i, marks[ties[i]], side))

    def finish(self, wanted: Mapping[str, int]) -> Split:
        sides = {
            role: tuple(sorted(i for i, r in self.roles.items() if r == role))
            for role in ("train", "validation", "test")
        }
        for role in ("train", "test", "validation"):
            if not sides[role] and (role == "train" or wanted[role] > 0):
                biggest = max((len(members) for members in self.units.values()), default=0)
                raise DataError(
                    f"No row is left for {role}: {len(self.rows.ids):,} rows in {len(self.units):,}"
                    f" units that must stay together, the largest of {biggest:,}.{self._gone()}",
                    fix="add more varied rows, drop the group column, or give a test file.",
                )
        self._refuse_unlearnt(sides)
        now = {self.rows.ids[i]: role for i, role in sorted(self.roles.items())}
        return Split(
            train=sides["train"],
            validation=sides["validation"],
            test=sides["test"],
            dropped=tuple(sorted(self.dropped.items())),
            assignments={**self.known, **now},
        )

    def _gone(self) -> str:
        """What became of the rows that no side has, as a sentence."""
        if not self.dropped:
            return ""
        ((why, count),) = Counter(self.dropped.values()).most_common(1)
        return f" {len(self.dropped):,} of them are dropped, {count:,} since each {why}."

    def _refuse_unlearnt(self, sides: Mapping[str, Sequence[int]]) -> None:
        learnt = {name for i in sides["train"] for name in self.names[i]}
        for i in sides["test"]:
            if strange := [name for name in self.names[i] if name not in learnt]:
                raise DataError(
                    f"Label {strange[0]!r} occurs only in the test rows: nothing can learn it.",
                    fix="add training rows of it"
                    + (
                        ", or split without the time column." * (self.rows.times is not None) or "."
                    ),
                )


def _shares(pool: Counter[str], wanted: int) -> Counter[str]:
    """Cut `wanted` rows over the labels by their share; the largest remainders round up.

    A label with three rows or more has at least one.
    """
    total = pool.total()
    exact = {label: min(1.0, wanted / total) * n for label, n in pool.items()} if total else {}
    shares = Counter({label: int(share) for label, share in exact.items()})
    for label, n in pool.items():
        if shares[label] == 0 and n >= 3:
            shares[label] = 1
    order = sorted(exact, key=lambda label: (int(exact[label]) - exact[label], label))
    left = min(wanted, total) - shares.total()
    for label in order[: max(0, left)]:
        shares[label] += exact[label] > int(exact[label])
    return shares
