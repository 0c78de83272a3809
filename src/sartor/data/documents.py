"""The base of documents that retrieval finds its answers among.

Either files of their own, with the columns id and text (and title, and of items that learners
answer skill), or what the rows' answers are: then each distinct answer is a document, named by a
hash of its words.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sartor.core.errors import DataError
from sartor.core.types import SKILL
from sartor.data.normalise import normalise_text
from sartor.data.read import read
from sartor.data.table import FILE, ROW, Source, Table, named, place, texts_of
from sartor.tasks import Unreadable
from sartor.tasks._target.label_set import LabelSet
from sartor.tasks.retrieval.index import MOST_CHARACTERS, MOST_DOCUMENTS
from sartor.tasks.retrieval.target import name_of

ID, TEXT, TITLE = "id", "text", "title"
_MOST_ID = 200


@dataclass(frozen=True, slots=True)
class Base:
    """Documents as read.

    Args:
        words: Id to what a document says, in the order of the files.
        sources: The files; empty where the rows' answers are the documents.
        skills: Id to the skill that an item is of, where the files name one.
    """

    words: dict[str, str]
    sources: tuple[Source, ...] = ()
    skills: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class DocumentFault:
    """One document that cannot be used: where it lies, what is wrong, what to do."""

    file: str
    row: int
    what: str
    fix: str


def read_base(sources: Sequence[str], root: Path) -> Base:
    """The documents of files.

    Raises:
        DataError: With file and row, if a file or one of its documents cannot be used.
    """
    base, faults = survey_base(read(list(sources), root))
    if faults:
        first = faults[0]
        more = f" (and {len(faults) - 1:,} more: `sartor data check`)" if len(faults) > 1 else ""
        raise DataError(f"{place(first.file, first.row)}: {first.what}.", fix=f"{first.fix}{more}.")
    return base


def survey_base(table: Table) -> tuple[Base, list[DocumentFault]]:
    """The documents of a table, and every fault of theirs.

    Raises:
        DataError: If a column is absent, or there are too many documents.
    """
    table.require(ID, TEXT)
    _refuse_many(len(table))
    words, skills, faults = dict[str, str](), dict[str, str](), list[DocumentFault]()
    lies, same = dict[str, str](), dict[str, str]()
    for where, name, text, skill in _rows(table):
        shown = place(*where)
        what, fix = _fault(name, text)
        if not what and name in lies:
            what, fix = f"the id {name!r} is at {lies[name]} already", "give each an id of its own"
        twin = same.get(name_of(text))
        if not what and twin is not None:
            what = f"document {name!r} says the same as {twin!r} at {lies[twin]}"
            fix = "keep one of them, and let rows name that one"
        if what:
            faults.append(DocumentFault(*where, what, fix))
            continue
        words[name], lies[name] = text, shown
        same[name_of(text)] = name
        if skill:
            skills[name] = skill
    return Base(words, table.sources, skills), faults


def base_of_answers(table: Table, column: str) -> Base:
    """The documents that rows hold themselves.

    Raises:
        DataError: If the column is absent, one of them is too long, or there are too many.
    """
    table.require(column)
    frame, words = table.frame, dict[str, str]()
    for file, row, cell in zip(frame[FILE], frame[ROW], texts_of(frame[column]), strict=True):
        for text in _said(cell or ""):
            plain, _ = normalise_text(text)
            if not plain:
                continue
            if len(plain) > MOST_CHARACTERS:
                raise DataError(
                    f"{place(file, row)}: an answer of {len(plain):,} characters is longer than"
                    f" {MOST_CHARACTERS:,}: {plain[:60]!r}….",
                    fix="split it into documents that answer one thing each.",
                )
            words.setdefault(name_of(text), plain)
    _refuse_many(len(words))
    return Base(words)


def _said(cell: str) -> Sequence[str]:
    """A cell is one document, unless it is a JSON list of them."""
    cell = cell.strip()
    if not (cell.startswith("[") and cell.endswith("]")):
        return [cell]
    form = LabelSet()
    try:
        return form.value(form.read(cell))
    except Unreadable:
        return [cell]


def _rows(table: Table) -> Iterator[tuple[tuple[str, int], str, str, str]]:
    """(file, row), id, words and skill of each."""
    frame = table.frame
    places = zip(frame[FILE], frame[ROW], strict=True)
    read = (
        texts_of(frame[name]) if name in frame.columns else [None] * len(frame)
        for name in (ID, TEXT, TITLE, SKILL)
    )
    for where, name, text, title, skill in zip(places, *read, strict=True):
        plain, _ = normalise_text(text or "")
        head, _ = normalise_text(title or "")
        whole = f"{head}\n{plain}" if head and plain else plain
        yield where, named(name), whole, named(skill)


def _fault(name: str, text: str) -> tuple[str, str]:
    """(what, fix) of a document alone; empty where there is nothing."""
    if not name:
        return "the document has no id", f"fill in the column {ID!r}"
    if len(name) > _MOST_ID:
        return f"the id is {len(name):,} characters long", f"use at most {_MOST_ID}"
    if not text:
        return f"document {name!r} is empty", f"fill in the column {TEXT!r}, or drop the row"
    if len(text) > MOST_CHARACTERS:
        return (
            f"document {name!r} has {len(text):,} characters, more than {MOST_CHARACTERS:,}",
            "split it into documents that answer one thing each",
        )
    return "", ""


def _refuse_many(count: int) -> None:
    if count > MOST_DOCUMENTS:
        raise DataError(
            f"{count:,} documents are more than {MOST_DOCUMENTS:,}.",
            fix="keep those that answer something, or split the base by topic.",
        )
