"""Tags of words, as files hold them, to labelled runs of words.

    BIO     B-PER I-PER O B-LOC          B begins an entity, I goes on
    IOB1    I-PER I-PER O I-LOC B-LOC    B only where one follows another of its label
    BIOES   B-PER E-PER O S-LOC          E ends one, S is one by itself; also L and U (BILOU)

Ramshaw and Marcus 1995, https://aclanthology.org/W95-0107; Ratinov and Roth 2009,
https://aclanthology.org/W09-1119
"""

import json
from collections.abc import Sequence
from typing import Any, cast

from sartor.tasks import Unreadable

OUTSIDE = "O"
_ENDS = frozenset("ES")
_SAME = {"L": "E", "U": "S", "M": "I"}
_FIX = "write tags such as B-PER, I-PER and O"


def parted(tag: str) -> tuple[str, str]:
    """(B, I, E, S or O, label) of a tag; the label of O is empty.

    Raises:
        Unreadable: If it is no tag.
    """
    if tag == OUTSIDE:
        return OUTSIDE, ""
    head, mark, label = tag.partition("-")
    head = _SAME.get(head.upper(), head.upper())
    if not mark or not label or head not in ("B", "I", "E", "S"):
        raise Unreadable(f"{tag!r:.60} is no tag of a word", _FIX)
    return head, label


def is_tag(tag: str) -> bool:
    """Whether it looks like one: O, or a letter, a hyphen and a label."""
    try:
        parted(tag)
    except Unreadable:
        return False
    return True


def runs(tags: Sequence[str]) -> list[tuple[int, int, str]]:
    """(first word, word behind the last, label) of each entity, in order.

    A tag that begins with I begins an entity where none of its label is open, as in IOB1.

    Raises:
        Unreadable: If tags with ends (BIOES) do not form entities.
    """
    found: list[tuple[int, int, str]] = []
    read = [parted(tag) for tag in tags]
    ends = any(head in _ENDS for head, _ in read)
    opened: tuple[int, str] | None = None
    for at, (head, label) in enumerate([*read, (OUTSIDE, "")]):
        goes_on = head in ("I", "E") and opened is not None and opened[1] == label
        if opened is not None and not goes_on:
            if ends:
                raise Unreadable(
                    f"the entity {opened[1]!r} that word {opened[0] + 1} begins has no end",
                    "close it with E-, or write S- where it is one word",
                )
            found.append((opened[0], at, opened[1]))
            opened = None
        if goes_on and head == "E":
            assert opened is not None
            found.append((opened[0], at + 1, label))
            opened = None
        elif head == "S":
            found.append((at, at + 1, label))
        elif head in ("B", "I", "E") and not goes_on:
            if ends and head != "B":
                raise Unreadable(
                    f"word {at + 1} has the tag {head}-{label}, and no entity {label!r} is open",
                    "begin it with B-, or write S- where it is one word",
                )
            opened = at, label
    return found


def begins_alike(rows: Sequence[Sequence[str]]) -> int | None:
    """The first row that begins entities otherwise than others do, None where all agree.

    Either every entity begins with B, or B stands only between two of one label: where both occur,
    tags are missing or wrong, and what they mean is anybody's guess.
    """
    with_b, with_i = list[int](), list[int]()
    for row, tags in enumerate(rows):
        read = [parted(tag) for tag in tags]
        if any(head in _ENDS for head, _ in read):
            return None
        before = ""
        for head, label in read:
            if label and label != before:
                (with_b if head == "B" else with_i).append(row)
            before = label
    if not with_b or not with_i:
        return None
    return (with_i if len(with_i) <= len(with_b) else with_b)[0]


def strings_of(cell: str) -> list[str] | None:
    """A cell that is a JSON list of strings, words or tags; None where it is none."""
    if not cell.lstrip().startswith("["):
        return None
    try:
        found: Any = json.loads(cell)
    except (ValueError, RecursionError):
        return None
    listed = cast("list[Any]", found) if isinstance(found, list) else []
    return [str(each) for each in listed] if all(isinstance(e, str) for e in listed) else None
