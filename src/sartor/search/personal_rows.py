"""A user's answers, divided: one half trains a model of their own, the other judges it.

Which half a text is in is a hash of the user and the text, so a text stays where it was, whatever
comes after it, and nothing has to be kept to remember it. A training text that nearly repeats a
judging one is left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sartor.core.hashing import digest
from sartor.data.near import near_clusters, near_form
from sartor.data.normalise import content_id, normalise_text
from sartor.listen.by_user import Row, Who


@dataclass(frozen=True, slots=True)
class Halves:
    """
    Args:
        train: Rows to learn from, those that the user spoke on first of all.
        held: Rows that judge.
    """

    train: tuple[Row, ...]
    held: tuple[Row, ...]


def halves(rows: Sequence[Row], who: Who) -> Halves:
    """Divide a user's rows; of texts that are alike one is kept, the newest that was spoken on.

    Args:
        rows: Newest first.
        who: Whose they are: the same text may judge for one user and train for another.
    """
    kept: dict[str, Row] = {}
    for row in rows:
        form = near_form(row.text)
        earlier = kept.get(form)
        if earlier is None or (earlier.label is None and row.label is not None):
            kept[form] = row
    judging = [_judges(form, who) for form in kept]
    alike = near_clusters(list(kept))
    taken = set(alike[np.array(judging, bool)].tolist())
    train = [
        row
        for row, judges, cluster in zip(kept.values(), judging, alike.tolist(), strict=True)
        if not judges and cluster not in taken
    ]
    held = [row for row, judges in zip(kept.values(), judging, strict=True) if judges]
    return Halves(tuple(sorted(train, key=lambda row: row.label is None)), tuple(held))


def name_of(row: Row) -> str:
    """The row's id wherever rows have one: in looks, and among those that a bundle learnt from."""
    return content_id({"text": normalise_text(row.text)[0]})


def _judges(form: str, who: Who) -> bool:
    return int(digest("personal", who.tenant, who.user, form)[:8], 16) % 2 == 0
