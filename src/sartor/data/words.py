"""Words and their tags, as corpora hold them, to a text and its labelled parts.

Words are put together with a space between them, and with none where one of the two is of a script
that has none: Han, Kana and their punctuation. Of a file that gives every character a tag, "2 0 0 3
年" is 2003年. A label then stands where its words do.
"""

import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Sequence

import polars as pl

from sartor.core.spans import Span
from sartor.data.labels import LabelFault, refuse
from sartor.data.table import FILE, ROW, Columns, Table, texts_of
from sartor.tasks import Located, Unreadable
from sartor.tasks._target.tags import begins_alike, is_tag, runs, strings_of

_CLOSE = re.compile(
    "[\u2e80-\u30ff\u3100-\u312f\u31a0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\ufe30-\ufe4f"
    "\uff00-\uffef\U00020000-\U0003ffff]"
)
_HAN_OR_KANA = re.compile(
    "[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)


def are_characters(rows: Iterable[Sequence[str]]) -> bool:
    """Whether all words of a corpus are single characters, and some of them Han or Kana."""
    found = {word for words in rows for word in words}
    single = all(len(unicodedata.normalize("NFC", word)) == 1 for word in found)
    return single and any(map(_HAN_OR_KANA.match, found))


def text_of(words: Sequence[str], apart: Collection[int] | None = None) -> tuple[str, list[int]]:
    """Words as a text, and where each of them begins.

    Args:
        words: None of them empty.
        apart: Places of those that a space may stand before; all when None.

    Raises:
        Unreadable: If a word is empty or holds a space.
    """
    parts, starts, length = list[str](), list[int](), 0
    for at, word in enumerate(words):
        if not word or any(character.isspace() for character in word):
            raise Unreadable(f"word {at + 1} is {word!r:.60}", "write words without spaces")
        spaced = at > 0 and not _CLOSE.match(words[at - 1][-1]) and not _CLOSE.match(word[0])
        spaced = spaced and (apart is None or at in apart)
        parts.append(f" {word}" if spaced else word)
        starts.append(length + spaced)
        length += len(parts[-1])
    return "".join(parts), starts


def labelled(
    words: Sequence[str], tags: Sequence[str], *, characters: bool = False
) -> tuple[str, list[Span]]:
    """Words and their tags to a text and its labelled parts.

    Args:
        words: Of one text.
        tags: One a word.
        characters: See `are_characters`, of the corpus.

    Raises:
        Unreadable: If there are not as many tags as words, or they form no entities.
    """
    if len(words) != len(tags):
        raise Unreadable(
            f"there are {len(words):,} words and {len(tags):,} tags", "give every word one tag"
        )
    parts = list(runs(tags))
    # Where a part begins or ends a space may stay: none may cut a run of letters or digits in two.
    borders = {at for first, end, _ in parts for at in (first, end)}
    text, starts = text_of(words, borders if characters else None)
    ends = [start + len(word) for start, word in zip(starts, words, strict=True)]
    return text, [Span(starts[first], ends[end - 1], label) for first, end, label in parts]


def join_words(table: Table, columns: Columns) -> Table:
    """The table with texts and labelled parts in the place of lists of words and of tags.

    As it is, where the label's column holds no lists of tags.

    Raises:
        DataError: With file and row, if words and tags do not fit each other.
    """
    found = _pairs(table, columns)
    if found is None:
        return table
    refuse(list(word_faults(table, columns)))
    files = table.frame[FILE].to_list()
    words: dict[str, list[list[str]]] = {}
    for file, pair in zip(files, found, strict=True):
        words.setdefault(file, []).extend([pair[0]] if pair else [])
    single = {file: are_characters(rows) for file, rows in words.items()}
    rows = [
        None if pair is None else labelled(*pair, characters=single[file])
        for file, pair in zip(files, found, strict=True)
    ]
    texts = [None if row is None else row[0] for row in rows]
    labels = [None if row is None else columns.target.text(row[1]) for row in rows]
    frame = table.frame.with_columns(
        pl.Series(columns.text, texts, dtype=pl.String),
        pl.Series(columns.label, labels, dtype=pl.String),
    )
    return Table(frame, table.sources)


def word_faults(table: Table, columns: Columns) -> Iterator[LabelFault]:
    """Every row whose words and tags do not fit each other, or that lacks the one or the other."""
    found = _pairs(table, columns)
    if found is None:
        return
    places = list(zip(table.frame[FILE].to_list(), table.frame[ROW].to_list(), strict=True))
    wrong = False
    for row, pair in enumerate(found):
        try:
            if pair is None:
                _refuse_no_list(table, columns, row)
            else:
                labelled(*pair)
        except Unreadable as error:
            wrong = True
            yield LabelFault("", (places[row],), error.what, error.fix)
    tagged = [row for row, pair in enumerate(found) if pair is not None]
    tags = [pair[1] for pair in found if pair is not None]
    # Which of two ways is the usual one cannot be told while tags are missing.
    if not wrong and (odd := begins_alike(tags)) is not None:
        yield LabelFault("", (places[tagged[odd]],), MIXED, MIXED_FIX)


def _refuse_no_list(table: Table, columns: Columns, row: int) -> None:
    """Refuse a cell that is filled and no list where other rows hold one; missing ones are dropped.

    Raises:
        Unreadable: Naming its column.
    """
    cells = {name: table.frame[name][row] for name in (columns.text, columns.label)}
    if all(cell and str(cell).strip() for cell in cells.values()):
        name = next(name for name, cell in cells.items() if strings_of(str(cell)) is None)
        raise Unreadable(
            f"column {name!r} is {str(cells[name])[:60]!r}, and in other rows a list of words with"
            " a tag each",
            "write both columns as JSON lists, or leave the row out",
        )


MIXED = "an entity begins with I- here, and elsewhere with B-"
MIXED_FIX = "let every entity begin with B-, or write B- only between two of one label"


def _pairs(table: Table, columns: Columns) -> list[tuple[list[str], list[str]] | None] | None:
    """The words and tags of each row, None for one that lacks them; None where there are none."""
    names = {columns.text, columns.label}
    located = isinstance(columns.target, Located) and len(columns.words) == 1
    if not located or not names <= set(table.columns):
        return None
    cells = texts_of(table.frame[columns.label])
    tags = [None if cell is None else strings_of(cell) for cell in cells]
    some = [each for each in tags if each]
    if not some or not all(is_tag(tag) for tag in some[0]):
        return None
    words = [None if c is None else strings_of(c) for c in texts_of(table.frame[columns.text])]
    return [
        None if word is None or tag is None else (word, tag)
        for word, tag in zip(words, tags, strict=True)
    ]
