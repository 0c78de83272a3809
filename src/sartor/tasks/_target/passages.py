"""Right answers to a question, as parts of its context, however a file writes them.

    two years                                       what stands once in the context
    {"text": "two years", "start": 31}              and where, if it stands there more than once
    ["two years", "2 years"]                        several, any of which is right
    {"text": ["two years"], "answer_start": [31]}   as SQuAD has them
    []                                              the context does not answer: a known answer

`start` counts characters (code points) from 0; `answer_start` is another name of it. A part begins
and ends where pieces do (`core.pieces`). The text of an answer is a JSON list of lists; its value a
tuple of `Passage`, the first of which is learnt.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from sartor.core.pieces import cut_piece, pieces
from sartor.core.spans import Passage
from sartor.tasks import Unreadable
from sartor.tasks._target.cells import whole_number

_MOST_CHARS = 1_000_000
_MOST_ANSWERS = 100
_SHOWN = 60
_STARTS = ("start", "answer_start")
_FORM = 'write the answer as it stands in the context, e.g. {"text": "two years", "start": 31}'
_COUNT = "count characters from 0 in the context as the file has it"
LEFT_OUT = "…"
"""Stands for the words of an answer that is stored without its context, by its place alone."""
_PLACE = re.compile(rf'(\[\[\d+, \d+, )"{LEFT_OUT}"\]\]')

Told = tuple[str, int | None]
"""What an answer says, and where it begins, if that is said."""


@dataclass(frozen=True, slots=True)
class Passages:
    """See above."""

    least: int = 0

    def read(self, cell: str, declared: Sequence[str] = ()) -> str:
        """As `read_in`, without the context: every answer must say where it begins.

        Raises:
            Unreadable: If it is no answer, or does not say so.
        """
        found: list[Passage] = []
        for text, start in told_in(cell):
            if start is None:
                raise Unreadable(f"{text!r:.60} does not say where it begins", _FORM)
            found.append(Passage(start, start + len(text), text))
        return self.text(found)

    def read_in(
        self, cell: str, declared: Sequence[str], text: str, usual: Callable[[str], str]
    ) -> str:
        """As `read`, for the context that the answers are parts of: see `tasks.Located`."""
        return self.text([_placed(said, start, text, usual) for said, start in told_in(cell)])

    def value(self, text: str) -> tuple[Passage, ...]:
        return tuple(Passage(start, end, said) for start, end, said in json.loads(text or "[]"))

    def text(self, value: Sequence[Any]) -> str:
        passages = dict.fromkeys((int(start), int(end), str(said)) for start, end, said in value)
        return json.dumps(list(passages), ensure_ascii=False)

    def columns(self, pattern: str, names: Sequence[str]) -> Mapping[str, str]:
        return {}

    def joined(self, texts: Sequence[str]) -> str:
        """The answers of several rows of one question, in their order."""
        return self.text([passage for text in texts for passage in self.value(text)])

    def covers(self, said: str, right: str) -> bool:
        """Whether one of the right answers is given, or rightly none."""
        wanted, found = self.value(right), self.value(said)
        same = {_plainly(passage.text) for passage in wanted}
        return not wanted if not found else all(_plainly(each.text) in same for each in found)


def same_place(said: str, right: str) -> bool:
    """Whether an answer whose words were left out stands where the right one does; both as texts,
    of any form."""
    place = _PLACE.fullmatch(said)
    return place is not None and right.startswith(place[1])


def told_in(cell: str) -> list[Told]:
    """The answers of a cell, each with where it begins, if that is said.

    Raises:
        Unreadable: If it is no answer.
    """
    if len(cell) > _MOST_CHARS:
        raise Unreadable(
            f"the cell is {len(cell):,} characters long", "check that the column holds answers"
        )
    cell = cell.strip()
    found = _parsed(cell)
    if isinstance(found, Mapping):
        return _of_mapping(cast("Mapping[str, Any]", found))
    if not isinstance(found, list):
        return [(_checked(cell), None)]
    listed = cast("list[Any]", found)
    if len(listed) > _MOST_ANSWERS:
        raise Unreadable(f"the cell lists {len(listed):,} answers", "keep the best of them")
    answers: list[Told] = []
    for each in listed:
        answers += _of_item(each)
    return list(dict.fromkeys(answers))


def _parsed(cell: str) -> object:
    """A JSON list or mapping; anything else is the answer itself, "[sic] so" too."""
    if cell[:1] not in ("[", "{"):
        return cell
    try:
        return json.loads(cell)
    except (ValueError, RecursionError):
        return cell


def _of_item(each: Any) -> list[Told]:
    if isinstance(each, str):
        return [(_checked(each), None)]
    if isinstance(each, Mapping):
        return _of_mapping(cast("Mapping[str, Any]", each))
    if isinstance(each, list) and len(parts := cast("list[Any]", each)) == 3:
        # As `text` writes it: start, end and what stands there.
        start, end, said = parts
        if isinstance(said, str) and whole_number(start) is not None and end == start + len(said):
            return [(_checked(said), whole_number(start))]
    raise Unreadable(f"{str(each)[:_SHOWN]!r} is no answer", _FORM)


def _of_mapping(given: Mapping[str, Any]) -> list[Told]:
    texts = given.get("text")
    starts = next((given[name] for name in _STARTS if name in given), None)
    if isinstance(texts, list):
        said = cast("list[Any]", texts)
        places: list[Any] = [None] * len(said) if starts is None else _listed(starts)
        if len(places) != len(said):
            raise Unreadable(
                f"there are {len(said):,} answers and {len(places):,} starts", "give each one start"
            )
        return [_told(text, start) for text, start in zip(said, places, strict=True)]
    if not isinstance(texts, str):
        raise Unreadable(f"{str(dict(given))[:_SHOWN]!r} is no answer", _FORM)
    return [_told(texts, starts)]


def _listed(value: Any) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else [value]


def _told(text: Any, start: Any) -> Told:
    if not isinstance(text, str):
        raise Unreadable(f"{str(text)[:_SHOWN]!r} is no answer", _FORM)
    if start is not None and (whole_number(start) is None or int(start) < 0):
        raise Unreadable(f"{text!r:.60} is said to begin at {start!r:.20}", _COUNT)
    return _checked(text), whole_number(start)


def _checked(text: str) -> str:
    if not text.strip():
        raise Unreadable("an answer is empty", "write [] where the context does not answer")
    return text


def _placed(said: str, start: int | None, context: str, usual: Callable[[str], str]) -> Passage:
    """Where an answer stands once the context has its usual form."""
    plain, answer = usual(context), _checked(usual(said))
    if start is None:
        return _only(answer, plain)
    if context[start : start + len(said)] != said:
        near = context[max(0, start - 10) : start + len(said) + 10].strip() or "nothing"
        raise Unreadable(
            f"{said!r:.60} does not stand at {start} of the context, where {near!r:.80} stands",
            _COUNT if said in context else "copy the answer from the context, and count again",
        )
    start += len(said) - len(said.lstrip())
    # What stands before is measured with a letter behind it, which keeps its last space.
    begin = len(usual(context[:start] + "x")) - 1
    if plain[begin : begin + len(answer)] != answer:
        raise Unreadable(
            f"{said!r:.60} at {start} is no whole part of the context", "copy it from the context"
        )
    return _whole_pieces(Passage(begin, begin + len(answer), answer), plain)


def _only(said: str, context: str) -> Passage:
    """The one place where an answer stands in whole pieces."""
    places = [match.start() for match in re.finditer(f"(?={re.escape(said)})", context)]
    if not places:
        folded = said.casefold() in context.casefold()
        raise Unreadable(
            f"the answer {said!r:.60} does not stand in the context",
            "write it with the context's own capitals"
            if folded
            else "copy the answer from the context, or write [] where the context does not answer",
        )
    found = [Passage(start, start + len(said), said) for start in places]
    there = pieces(context)
    whole = [each for each in found if cut_piece(each.start, each.end, there) is None]
    if len(whole) > 1:
        raise Unreadable(
            f"the answer {said!r:.60} stands {len(whole)} times in the context, first at"
            f" {whole[0].start} and {whole[1].start}",
            f'say which: {{"text": …, "start": {whole[0].start}}}, or name a column answer_start',
        )
    return whole[0] if whole else _whole_pieces(found[0], context)


def _whole_pieces(passage: Passage, context: str) -> Passage:
    cut = cut_piece(passage.start, passage.end, pieces(context))
    if cut is not None:
        raise Unreadable(
            f"the answer {passage.text!r:.60} cuts {context[cut[0] : cut[1]]!r:.60} in two",
            "let it begin and end at the edge of a word, a number or a character",
        )
    if not pieces(passage.text):
        raise Unreadable("an answer is empty", "write [] where the context does not answer")
    return passage


def _plainly(text: str) -> str:
    return " ".join(text.casefold().split())
