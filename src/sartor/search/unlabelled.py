"""Texts without labels in a run: what pretraining reads, and what a smaller model learns from.

A smaller model is told the whole model's answers, so a text needs no label for it.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sartor.core.events import Note
from sartor.core.hashing import digest
from sartor.core.texts import flat
from sartor.core.types import Examples, TargetKind
from sartor.data.prepare import Prepared
from sartor.data.unlabelled import read_unlabelled, sources_of_unlabelled
from sartor.need.model import Need
from sartor.search.desk import Desk
from sartor.search.recorded import same_sources
from sartor.tasks import TASKS

MOST = 1_000
"""Texts that a smaller model learns from beside the training rows: it reads them up to ten times.
"""
_FACT = "unlabelled"
_TOLD: tuple[TargetKind, ...] = ("label", "level", "labels", "number")
"""What a student is told as the whole model's answer."""


def teach_students(need: Need) -> bool:
    """Whether smaller models learn from the need's unlabelled texts: those that answer about one
    text, and about the whole of it."""
    roles = TASKS.get(need.task)().roles
    whole = tuple(roles.inputs) == ("text",) and not roles.columns
    return bool(need.data.unlabelled) and whole and roles.target_kind in _TOLD


def require_unlabelled(desk: Desk) -> None:
    """Read what something will read, so that what is wrong with it is told before any training.

    Raises:
        DataError: If a source cannot be read, lacks the column or has changed since the run began.
    """
    named = desk.need.data.unlabelled
    if named and (teach_students(desk.need) or desk.need.prefer.pretrain != "none"):
        found = sources_of_unlabelled(named, desk.root, column=_columns(desk))
        same_sources(desk, _FACT, {source.file: source.sha256 for source in found})


def texts_without_labels(desk: Desk, rows: Prepared, use: str) -> list[str]:
    """The need's unlabelled texts, none near a row that is held out; none where it names none.

    Args:
        desk: What the run works with.
        rows: By role.
        use: What they are read for, for the note that counts them.

    Raises:
        DataError: If a source cannot be read, lacks the column or has changed since the run began.
    """
    named = desk.need.data.unlabelled
    if not named:
        return []
    found = read_unlabelled(
        named,
        desk.root,
        column=_columns(desk),
        held=flat([*rows.test.texts, *rows.validation.texts]),
        seed=desk.need.seed,
    )
    same_sources(desk, _FACT, {source.file: source.sha256 for source in found.sources})
    dropped = ", ".join(f"{n:,} {why}" for why, n in found.dropped.items())
    less = f" ({dropped} left out)" if dropped else ""
    desk.emit(Note(f"{len(found.texts):,} unlabelled texts {use}{less}."))
    return list(found.texts)


@dataclass(frozen=True)
class Lessons:
    """What smaller models learn from, read when the first of them is trained.

    Args:
        desk: What the run works with.
        rows: By role.
    """

    desk: Desk
    rows: Prepared

    @property
    def sources(self) -> list[str]:
        """What decides the texts besides the rows; nothing where there are none."""
        if not teach_students(self.desk.need):
            return []
        return [str(MOST), *sorted(self.desk.fact(_FACT, dict[str, str]).values())]

    @cached_property
    def train(self) -> Examples:
        """The training rows, and behind them texts without a label (None), at most `MOST`.

        Raises:
            DataError: See `texts_without_labels`.
        """
        train, seed = self.rows.train, self.desk.need.seed
        if not teach_students(self.desk.need):
            return train
        known = set(train.texts)
        found = texts_without_labels(self.desk, self.rows, "for smaller models to learn from")
        more = [text for text in found if text not in known]
        if len(more) > MOST:
            drawn = np.random.default_rng(seed).permutation(len(more))[:MOST]
            more = [more[place] for place in np.sort(drawn).tolist()]
        return Examples(
            (*train.ids, *(digest("unlabelled", text) for text in more)),
            {"text": (*train.texts, *more)},
            (*train.target, *(None for _ in more)),
        )


def _columns(desk: Desk) -> list[str]:
    """Where the texts are."""
    roles = desk.need.data.roles
    return [roles[role] for role in TASKS.get(desk.need.task)().roles.inputs if role in roles]
