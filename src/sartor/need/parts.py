"""The parts of a product: which bundle answers, what it reads, and what follows from its answer.

    parts:
      intent:
        need: intent.yaml                 # or bundle: a folder
        then:
          - {when: [refund, order], go: answers}
          - {when: thanks, say: You are welcome.}
          - {when: complaint, hand_off: a complaint}
          - {answer: intent}
      answers:
        bundle: ../answers-3f2a
        reads: history

The first part reads every row. Of a part's cases the first that holds decides; a part without any
answers for the product. This is all there is: nothing is evaluated, and every row ends at an
answer or at a person. That is checked here as far as the file alone can tell, and by `label_faults`
once the bundles' labels are known.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from sartor.core.errors import Fault
from sartor.core.near import near_miss
from sartor.need.document import Tree, is_mapping, line_of, short

TEXT, HISTORY = "text", "history"
"""What a part may read besides another part's answer: the last thing that was said, or all that the
user said."""
MOST_PARTS = 20
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,39}")
_ENDS = ("go", "answer", "say", "hand_off")
_OF_THE_FILE = frozenset({"line"})
_STRICT = ConfigDict(
    extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
)


def _as_tuple(value: object) -> object:
    return (value,) if isinstance(value, str) else value


_Words = Annotated[str, Field(min_length=1, max_length=2_000)]
_Share = Annotated[float, Field(gt=0, le=1)]
Labels = Annotated[
    tuple[Annotated[str, Field(min_length=1, max_length=500)], ...],
    BeforeValidator(_as_tuple),
    Field(min_length=1, max_length=1_000),
]


class Case(BaseModel):
    """What follows where its conditions hold; one of `go`, `answer`, `say` and `hand_off`."""

    model_config = _STRICT

    when: Labels | None = None
    """Labels of the part, one of which is its answer; any where left out."""
    below: _Share | None = None
    """Holds where the part is less sure than this."""
    above: _Share | None = None
    """Holds where the part is at least as sure as this."""
    go: str | None = None
    """The part that goes on."""
    answer: str | None = None
    """The part whose answer is the product's: this one, or one that every row here has passed."""
    say: _Words | None = None
    """Words that stand for this part's answer, which is the product's."""
    hand_off: _Words | None = None
    """Why a person should answer."""
    line: int = Field(default=0, exclude=True)

    @property
    def closes(self) -> bool:
        """Whether its labels are decided, however sure the part is."""
        return self.below is None and self.above is None

    def holds(self, label: str | None, confidence: float) -> bool:
        """Whether it decides for an answer.

        Args:
            label: The part's answer.
            confidence: How sure the part is of it, 0 to 1.
        """
        if self.when is not None and label not in self.when:
            return False
        if self.below is not None and confidence >= self.below:
            return False
        return self.above is None or confidence >= self.above


class Part(BaseModel):
    """One bundle of a product."""

    model_config = _STRICT

    bundle: str | None = Field(default=None, min_length=1, max_length=1_000)
    """A bundle's folder, relative to the need file."""
    need: str | None = Field(default=None, min_length=1, max_length=1_000)
    """A need file, relative to this one; it is run first where the workspace holds no run of it."""
    reads: str = TEXT
    """`text`, the last thing that was said; `history`, all that the user said; or a part whose
    answer is read."""
    then: tuple[Case, ...] = Field(default=(), max_length=200)
    """What follows, by its answer; it answers for the product where left out."""
    line: int = Field(default=0, exclude=True)

    def cases(self, name: str) -> tuple[Case, ...]:
        """What follows; `name` is the part's own."""
        return self.then or (Case(answer=name, line=self.line),)

    def leads_to(self) -> list[str]:
        """The parts that may go on, each once."""
        return list(dict.fromkeys(case.go for case in self.then if case.go is not None))


Parts = Mapping[str, Part]


def read_parts(section: Tree) -> tuple[dict[str, Any], list[Fault]]:
    """What a need file holds under `parts`, each with its line, without the keys that do not exist.

    Args:
        section: Mapping of name to part, as the YAML reader gave it.
    """
    found: dict[str, Any] = {}
    faults: list[Fault] = []
    for name, given in section.items():
        if not is_mapping(given):
            fix = f"write `{name}:` and indent its keys below it."
            line = line_of(section, (name,))
            faults.append(Fault(line, f"parts.{name} is {short(given)}, not a mapping", fix))
            continue
        part = _known(given, Part, faults)
        cases: Any = given.get("then")
        if "then" in given:
            listed = [cases] if is_mapping(cases) else cases
            part["then"] = tuple(_case(one, given, place, faults) for place, one in _each(listed))
        found[str(name)] = {**part, "line": line_of(section, (name,))}
    return found, faults


def _each(listed: Any) -> list[tuple[int, Any]]:
    return list(enumerate(listed)) if isinstance(listed, list) else [(0, listed)]  # pyright: ignore[reportUnknownArgumentType,reportUnknownVariableType]


def _case(given: Any, part: Tree, place: int, faults: list[Fault]) -> Any:
    line = line_of(part, ("then", place)) or line_of(part, ("then",))
    if not is_mapping(given):
        what = f"a case under then is {short(given)}, not a mapping"
        faults.append(Fault(line, what, "write e.g. - {when: refund, go: answers}."))
        return {"line": line, "hand_off": "-"}
    return {**_known(given, Case, faults), "line": line_of(part["then"], (place,)) or line}


def _known(section: Tree, kind: type[Part] | type[Case], faults: list[Fault]) -> dict[str, Any]:
    """The keys of a section that exist."""
    keys = [key for key in kind.model_fields if key not in _OF_THE_FILE]
    for key in section:
        if key not in keys:
            line = line_of(section, (key,))
            faults.append(Fault(line, f"unknown key {key!r}", near_miss(str(key), keys)))
    return {key: value for key, value in section.items() if key in keys}


def graph_faults(parts: Parts) -> list[Fault]:
    """What is wrong with a product whatever its bundles answer: names, loops, parts out of reach.

    Args:
        parts: In the order of the file; the first reads every row.
    """
    if not parts or len(parts) > MOST_PARTS:
        return [Fault(0, f"{len(parts)} parts are not 1 to {MOST_PARTS}", "list the bundles.")]
    faults = [fault for name in parts for fault in _faults_of(name, parts)]
    if faults:
        return faults
    if (loop := _loop(parts)) is not None:
        what = f"the parts lead back to {loop[0]!r}: {' → '.join([*loop, loop[0]])}"
        fix = f"end one of them with an answer or hand_off instead of go: {loop[0]}."
        return [Fault(parts[loop[-1]].line, what, fix)]
    order = order_of(parts)
    unreached = [
        Fault(
            part.line,
            f"no row ever reaches the part {name!r}",
            f"let a case of another part go there, or take {name} out.",
        )
        for name, part in parts.items()
        if name not in order
    ]
    return unreached or list(_not_passed(parts))


def order_of(parts: Parts) -> list[str]:
    """The parts that rows reach, each behind all that lead to it; of a graph without loops."""
    done: list[str] = []

    def visit(name: str) -> None:
        if name not in done:
            for other in reversed(parts[name].leads_to()):
                visit(other)
            done.append(name)

    visit(next(iter(parts)))
    return done[::-1]


def _faults_of(name: str, parts: Parts) -> Iterator[Fault]:
    """Of a part by itself, and of the names that it uses."""
    part = parts[name]
    if not _NAME.fullmatch(name) or name in (TEXT, HISTORY):
        fix = f"use a letter, then letters, digits, - and _; not {TEXT} or {HISTORY}."
        yield Fault(part.line, f"{name[:80]!r} cannot be the name of a part", fix)
    if (part.bundle is None) == (part.need is None):
        both = "both a bundle and a need" if part.bundle else "neither a bundle nor a need"
        yield Fault(part.line, f"the part {name!r} names {both}", "name one of them.")
    if part.reads not in (TEXT, HISTORY, *parts):
        yield Fault(
            part.line,
            f"the part {name!r} reads {part.reads!r:.80}, which is no part",
            near_miss(part.reads, [TEXT, HISTORY, *parts]),
        )
    decided: Case | None = None
    for case in part.then:
        if decided is not None:
            what = f"the case is never reached: that on line {decided.line} decides for every row"
            yield Fault(case.line, what, "put the case without conditions last.")
        elif case.when is None and case.closes:
            decided = case
        yield from _faults_in(case, name, parts)


def _faults_in(case: Case, name: str, parts: Parts) -> Iterator[Fault]:
    said = [end for end in _ENDS if getattr(case, end) is not None]
    if len(said) != 1:
        told = " and ".join(said) or "nothing"
        what = f"a case of {name!r} says {told}: one of {', '.join(_ENDS)} is wanted"
        yield Fault(case.line, what, "write e.g. {when: refund, go: answers}.")
    for key in ("go", "answer"):
        other = getattr(case, key)
        if other is not None and other not in parts:
            what = f"{key}: no part is called {other!r:.80}"
            yield Fault(case.line, what, near_miss(str(other), parts))
    if case.below is not None and case.above is not None and case.below <= case.above:
        what = f"nothing is below {case.below:g} and above {case.above:g}"
        yield Fault(case.line, what, "leave one of them out.")


def _loop(parts: Parts) -> list[str] | None:
    """Parts that lead to one another, the last to the first; None where there are none."""
    whole: set[str] = set()

    def visit(name: str, way: list[str]) -> list[str] | None:
        if name in way:
            return way[way.index(name) :]
        if name in whole:
            return None
        for other in parts[name].leads_to():
            if (found := visit(other, [*way, name])) is not None:
                return found
        whole.add(name)
        return None

    return next((loop for name in parts if (loop := visit(name, [])) is not None), None)


def _not_passed(parts: Parts) -> Iterator[Fault]:
    """Answers that are used where a row may not have them."""
    passed: dict[str, set[str]] = {}
    order = order_of(parts)
    for name in order:
        ways = [passed[other] | {other} for other in order if name in parts[other].leads_to()]
        passed[name] = {other for other in order if ways and all(other in way for way in ways)}
        part = parts[name]
        used = [("reads", part.reads, part.line, passed[name] | {TEXT, HISTORY})]
        used += [
            ("answer", case.answer, case.line, passed[name] | {name})
            for case in part.then
            if case.answer is not None
        ]
        for key, other, line, there in used:
            if other not in there:
                yield Fault(
                    line,
                    f"{key}: not every row that reaches {name!r} has an answer of {other!r}",
                    f"name one of {', '.join(sorted(there))}.",
                )


def label_faults(parts: Parts, labels: Mapping[str, Sequence[str] | None]) -> list[Fault]:
    """What is wrong with a product once it is known what its parts answer.

    Args:
        parts: Without `graph_faults`.
        labels: Part to the labels that it chooses among; None where its answer is none of a list.
    """
    return [fault for name in parts for fault in _decided(name, parts[name], labels[name])]


def _decided(name: str, part: Part, labels: Sequence[str] | None) -> Iterator[Fault]:
    decided: dict[str, int] = {}
    whole = False
    for case in part.cases(name):
        for label in case.when or ():
            if labels is None:
                what = f"when: the part {name!r} does not choose among labels"
                yield Fault(case.line, what, "leave `when` out; below and above do hold for it.")
                break
            if label not in labels:
                what = f"when: the part {name!r} has no label {label!r:.80}"
                yield Fault(case.line, what, near_miss(label, labels))
            elif label in decided:
                what = f"when: {label!r} is decided by the case on line {decided[label]} already"
                yield Fault(case.line, what, "take it out of one of the two.")
            elif case.closes:
                decided[label] = case.line
        whole = whole or (case.when is None and case.closes)
    left = [label for label in labels or () if label not in decided]
    if whole or (labels is not None and not left):
        return
    shown = ", ".join(left[:5]) + (" …" if len(left) > 5 else "")
    which = f" where the answer is {shown}" if left else ""
    fix = "add a last case without conditions, e.g. - {hand_off: nothing answers this}."
    yield Fault(part.line, f"the part {name!r} leaves a case open{which}", fix)
