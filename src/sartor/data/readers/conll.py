"""Words in lines, with their tags, and an empty line between two texts: CoNLL and its kin.

    EU B-ORG
    rejects O

The word stands first in a line and its tag last, with tabs or spaces between; what stands between
the two is not read. Lines that begin with "# " are left out. A row's number is the line of its
first word. Where lines of `-DOCSTART-` part a file, the column `document` says which of its
documents a text is of.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from sartor.core.errors import DataError
from sartor.data.api import READERS, Limits
from sartor.data.encoding import encoding_of
from sartor.data.table import ROW
from sartor.data.words import MIXED, MIXED_FIX, are_characters, labelled
from sartor.tasks import Unreadable
from sartor.tasks._target.tags import begins_alike, parted

_BETWEEN_DOCUMENTS = "-DOCSTART-"
_MOST_CHARS = 30
"""Of a file's name in the name of a document: longer values look like texts."""


@dataclass(slots=True)
class _Sentence:
    """Words and tags, the line of the first word, and how many documents had begun there."""

    line: int
    document: int
    words: list[str]
    tags: list[str]


@READERS.add
@dataclass(frozen=True, slots=True)
class Conll:
    """Reads words and tags into the columns `text` and `entities`, and `document` where the file
    says where one begins."""

    suffixes: tuple[str, ...] = (".conll", ".bio", ".iob", ".iob2", ".bioes")

    def claims(self, path: Path) -> bool:
        return path.suffix.lower() in self.suffixes

    def read(self, path: Path, *, limits: Limits) -> pl.DataFrame:
        sentences = list(_sentences(path, limits))
        if not sentences:
            raise DataError(f"{path} holds no words.", fix='write "word tag" on every line.')
        if (odd := begins_alike([each.tags for each in sentences])) is not None:
            raise DataError(f"{path}, line {sentences[odd].line:,}: {MIXED}.", fix=f"{MIXED_FIX}.")
        texts, entities = list[str](), list[str]()
        single = are_characters(each.words for each in sentences)
        for each in sentences:
            try:
                text, spans = labelled(each.words, each.tags, characters=single)
            except Unreadable as error:
                place = f"{path}, the text that begins in line {each.line:,}"
                raise DataError(f"{place}: {error.what}.", fix=f"{error.fix}.") from None
            texts.append(text)
            entities.append(json.dumps(spans, ensure_ascii=False))
        lines = [each.line for each in sentences]
        frame = pl.DataFrame(
            {"text": texts, "entities": entities, ROW: lines},
            schema={"text": pl.String, "entities": pl.String, ROW: pl.Int64},
        )
        if not any(each.document for each in sentences):
            return frame
        # With the file's name: the first document of another file is another one.
        name = f"{path.resolve().parent.name}/{path.name}"[-_MOST_CHARS:]
        documents = [f"{name} {each.document}" for each in sentences]
        return frame.with_columns(pl.Series("document", documents, dtype=pl.String))


def _sentences(path: Path, limits: Limits) -> Iterator[_Sentence]:
    found = _Sentence(0, 0, [], [])
    count = documents = 0
    with path.open(encoding=encoding_of(path, limits), newline="\n") as file:
        for number, raw in enumerate(file, 1):
            line = raw.strip()
            if not line or line.startswith(_BETWEEN_DOCUMENTS):
                if found.words:
                    yield found
                    count += 1
                documents += line.startswith(_BETWEEN_DOCUMENTS)
                found = _Sentence(0, documents, [], [])
            elif not _is_comment(line):
                word, tag = _word(path, number, line)
                found.line = found.line or number
                found.words.append(word)
                found.tags.append(tag)
            if count > limits.rows:
                raise DataError(
                    f"{path} has more than {limits.rows:,} texts.", fix="pass a sample of them."
                )
    if found.words:
        yield found


def _is_comment(line: str) -> bool:
    """A line of "# …" that does not end as one of a word does: "#" may be a word too."""
    if not line.startswith("# "):
        return False
    try:
        parted(line.split()[-1])
    except Unreadable:
        return True
    return False


def _word(path: Path, number: int, line: str) -> tuple[str, str]:
    parts = line.split("\t") if "\t" in line else line.split()
    parts = [part.strip() for part in parts]
    fix = 'write the word, a space, and its tag, e.g. "Berlin B-LOC" or "in O".'
    if len(parts) < 2 or not parts[0]:
        raise DataError(f"{path}, line {number:,}: {line[:60]!r} has no tag.", fix=fix)
    try:
        parted(parts[-1])
    except Unreadable as error:
        raise DataError(f"{path}, line {number:,}: {error.what}.", fix=fix) from None
    return parts[0], parts[-1]
