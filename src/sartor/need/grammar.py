"""Text to `Criterion`: a tokenizer and a recursive descent over the grammar in `criterion`."""

import math
import re
from dataclasses import dataclass
from typing import Literal

from sartor.core.errors import Fault, SartorError
from sartor.need.criterion import (
    Bound,
    Combine,
    Compare,
    Comparison,
    Condition,
    Criterion,
    Scalar,
)

_MAX_LENGTH = 500
_MAX_DEPTH = 20
# Full-width signs count as their ASCII twins, outside quotes only; letters stay as they are. Each
# alternative begins with another character and none nests a repetition, so matching is linear.
_TOKEN = re.compile(
    r"""\s*(?:
      (?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[“”](?:[^“”\\]|\\.)*[“”]|[‘’](?:[^‘’\\]|\\.)*[‘’])
    | (?P<number>\d+(?:[.．]\d+)?(?:[eE][+-]?\d+)?)(?P<percent>\s*[%％])?(?![\w])
    | (?P<word>baseline(?=-\s*\d)|[^\W\d][\w.\-/]*|\d+[^\W\d][\w.\-/]*)
    | (?P<op>[>＞<＜=＝!！][=＝]|[≥≤≠=＝>＞<＜+＋\-－−\[［【\]］】(（)），,:：])
    )""",
    re.VERBOSE,
)
_SIGNS = str.maketrans("＝＞＜！：，［］（）＋－−【】．", "=><!:,[]()+--[].") | {
    ord("≥"): ">=",
    ord("≤"): "<=",
    ord("≠"): "!=",
}
_COMPARISONS = (">=", "<=", ">", "<", "==", "!=")


class CriterionSyntaxError(SartorError, ValueError):
    """The text does not follow the grammar; `fix` shows what does."""


@dataclass(frozen=True, slots=True)
class _Token:
    kind: Literal["string", "number", "word", "op", "end"]
    text: str
    value: float
    at: int


def parse_criterion(text: str, *, confidence: float = 0.95, line: int = 0) -> Criterion:
    """Read one criterion.

    Raises:
        CriterionSyntaxError: With the position and an example of the right form.
    """
    if len(text) > _MAX_LENGTH:
        raise CriterionSyntaxError(
            f"a criterion of {len(text):,} characters is longer than {_MAX_LENGTH}.",
            fix="split it into several lines under accept:.",
        )
    return _Parser(text).criterion(confidence, line)


def fault_of(error: CriterionSyntaxError, line: int) -> Fault:
    return Fault(line, error.what, error.fix)


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            rest = text[at:].lstrip()
            raise CriterionSyntaxError(
                f"{text!r}: {rest[0]!r} at character {len(text) - len(rest) + 1} is not"
                " part of a criterion.",
                fix="write e.g. accuracy >= 0.80 or recall[label=refund] >= 0.9; quote labels"
                " that hold spaces or signs.",
            )
        if match["string"] is not None:
            inner = re.sub(r"\\(.)", r"\1", match["string"][1:-1])
            found.append(_Token("string", inner, 0.0, match.start("string")))
        elif match["number"] is not None:
            value = float(match["number"].translate(_SIGNS)) / (100 if match["percent"] else 1)
            if not math.isfinite(value):
                raise CriterionSyntaxError(
                    f"{text!r}: {match['number']} is too large a number.",
                    fix="write a number that can be reached.",
                )
            found.append(_Token("number", match["number"], value, match.start("number")))
        elif match["word"] is not None:
            found.append(_Token("word", match["word"], 0.0, match.start("word")))
        else:
            op = match["op"].translate(_SIGNS)
            found.append(_Token("op", op, 0.0, match.start("op")))
        at = match.end()
    found.append(_Token("end", "", 0.0, len(text)))
    return found


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text.strip()
        self.tokens = _tokens(self.text)
        self.at = 0

    def criterion(self, confidence: float, line: int) -> Criterion:
        metric = self._word("a metric, e.g. accuracy")
        parameters: list[tuple[str, Scalar | Bound]] = []
        where: Condition | None = None
        if self._take("["):
            while True:
                if self._peek_is("where"):
                    if where is not None:
                        raise self._wrong("one where (join conditions with and)")
                    self.at += 1
                    self._expect(":", "a colon after where")
                    where = self._condition(0)
                else:
                    parameters.append(self._parameter({name for name, _ in parameters}))
                if not self._take(","):
                    break
            self._expect("]", "a closing bracket")
        comparison = self._comparison()
        relative, threshold = self._target()
        if self._next().kind != "end":
            raise self._wrong("the end of the criterion")
        return Criterion(
            text=self.text,
            metric=metric,
            comparison=comparison,
            threshold=threshold,
            relative_to=relative,
            parameters=tuple(parameters),
            where=where,
            confidence=confidence,
            line=line,
        )

    def _target(self) -> tuple[Literal["", "baseline"], float]:
        if self._peek_is("baseline"):
            self.at += 1
            sign = 1 if self._take("+") else -1 if self._take("-") else 0
            return "baseline", sign * self._number() if sign else 0.0
        sign = -1 if self._take("-") else 1
        return "", sign * self._number()

    def _parameter(self, taken: set[str]) -> tuple[str, Scalar | Bound]:
        if self._next().text in taken:
            raise self._wrong("a parameter that is not there yet")
        name = self._word("a parameter, e.g. label=refund")
        if self._take("="):
            return name, self._value()
        return name, Bound(self._comparison(), self._number())

    def _condition(self, depth: int) -> Condition:
        parts = [self._conjunction(depth)]
        while self._keyword("or"):
            parts.append(self._conjunction(depth))
        return parts[0] if len(parts) == 1 else Combine("or", tuple(parts))

    def _conjunction(self, depth: int) -> Condition:
        parts = [self._clause(depth)]
        while self._keyword("and"):
            parts.append(self._clause(depth))
        return parts[0] if len(parts) == 1 else Combine("and", tuple(parts))

    def _clause(self, depth: int) -> Condition:
        if depth > _MAX_DEPTH:
            raise self._wrong(f"at most {_MAX_DEPTH} levels of brackets")
        if self._keyword("not"):
            return Combine("not", (self._clause(depth + 1),))
        if self._take("("):
            inner = self._condition(depth + 1)
            self._expect(")", "a closing bracket")
            return inner
        token = self._next()
        if token.kind not in ("word", "string"):
            raise self._wrong("a column")
        self.at += 1
        negated = self._keyword("not")
        if negated or self._peek_is("in"):
            if not self._keyword("in"):
                raise self._wrong("in")
            return Compare(token.text, "!=" if negated else "==", self._values())
        return Compare(token.text, self._comparison(), self._value())

    def _values(self) -> tuple[Scalar, ...]:
        self._expect("(", "an opening bracket")
        values = [self._value()]
        while self._take(","):
            values.append(self._value())
        self._expect(")", "a closing bracket")
        return tuple(values)

    def _value(self) -> Scalar:
        sign = self._take("-")
        token = self._next()
        if token.kind == "number":
            self.at += 1
            return -token.value if sign else token.value
        if token.kind in ("word", "string") and not sign:
            self.at += 1
            return token.text
        raise self._wrong("a value")

    def _comparison(self) -> Comparison:
        token = self._next()
        text = "==" if token.text == "=" else token.text
        if token.kind != "op" or text not in _COMPARISONS:
            raise self._wrong("a comparison (>=, <=, >, <, ==, !=)")
        self.at += 1
        return text

    def _number(self) -> float:
        token = self._next()
        if token.kind != "number":
            raise self._wrong("a number")
        self.at += 1
        return token.value

    def _word(self, what: str) -> str:
        token = self._next()
        if token.kind != "word":
            raise self._wrong(what)
        self.at += 1
        return token.text

    def _next(self) -> _Token:
        return self.tokens[self.at]

    def _take(self, op: str) -> bool:
        token = self._next()
        found = token.kind == "op" and token.text == op
        self.at += found
        return found

    def _expect(self, op: str, what: str) -> None:
        if not self._take(op):
            raise self._wrong(what)

    def _peek_is(self, word: str) -> bool:
        token = self._next()
        return token.kind == "word" and token.text == word

    def _keyword(self, word: str) -> bool:
        found = self._peek_is(word)
        self.at += found
        return found

    def _wrong(self, wanted: str) -> CriterionSyntaxError:
        token = self._next()
        found = repr(token.text) if token.kind != "end" else "the end"
        return CriterionSyntaxError(
            f"{self.text!r}: expected {wanted} at character {token.at + 1}, found {found}.",
            fix="write metric[parameter=value] >= number, e.g. recall[label=refund] >= 0.9"
            ' or accuracy[where: lang == "zh"] >= 0.8.',
        )
