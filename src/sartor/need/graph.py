"""Whether a product's parts lead every row to an end, and which of them an outcome hangs on.

`graph_faults` sees what the file alone can tell, `label_faults` what the bundles' labels do.
"""

import re
from collections.abc import Iterator, Mapping, Sequence

from sartor.core.errors import Fault
from sartor.core.near import near_miss
from sartor.need.parts import HISTORY, TEXT, Case, Part, Parts

MOST_PARTS = 20
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,39}")
_ENDS = ("go", "answer", "say", "hand_off")


def graph_faults(parts: Parts) -> list[Fault]:
    """What is wrong with a product whatever its bundles answer: names, loops, parts out of reach.

    Args:
        parts: In the order of the file; the first reads every row.
    """
    if not parts or len(parts) > MOST_PARTS:
        return [Fault(0, f"{len(parts)} parts are not 1 to {MOST_PARTS}", "list the bundles.")]
    faults = [fault for name in parts for fault in _faults_of(name, parts)]
    faults += _faults_of_writers(parts)
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


def writers(parts: Parts) -> set[str]:
    """The parts that write what is said."""
    return {case.reply for part in parts.values() for case in part.then if case.reply is not None}


def deciding(parts: Parts) -> set[str]:
    """The parts on whose answers outcomes hang: by their cases, or since another part reads them.

    One that writes finds no outcome, and one that puts documents in order is sure by itself.
    """
    finding = [n for n, p in parts.items() if p.relevant is None and n not in writers(parts)]
    read = {other for name in finding for other in parts[name].read_parts()}
    return {name for name, part in parts.items() if name in read or len(part.then) > 1}


def hands_on(name: str, parts: Parts) -> bool:
    """Whether a part finds documents only for another to put in order: unsure or not, they go on.

    Args:
        name: Of the part.
        parts: Without `graph_faults`.
    """
    then = parts[name].then
    alone = then[0].go if len(then) == 1 and then[0].when is None and then[0].closes else None
    return alone is not None and parts[alone].ranks == name


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
    yield from _faults_in_reading(name, parts)
    decided: Case | None = None
    for case in part.then:
        if decided is not None:
            what = f"the case is never reached: that on line {decided.line} decides for every row"
            yield Fault(case.line, what, "put the case without conditions last.")
        elif case.when is None and case.closes:
            decided = case
        yield from _faults_in(case, name, parts)


def _faults_in_reading(name: str, parts: Parts) -> Iterator[Fault]:
    """Of what a part reads: names, and documents that there cannot be."""
    part = parts[name]
    for other in part.reads:
        if other not in (TEXT, HISTORY, *parts):
            what = f"the part {name!r} reads {other!r:.80}, which is no part"
            yield Fault(part.line, what, near_miss(other, [TEXT, HISTORY, *parts]))
    if len(set(part.reads)) < len(part.reads):
        what = f"the part {name!r} reads the same twice: {', '.join(part.reads)}"
        yield Fault(part.line, what, "take one of them out.")
    if part.relevant is not None and (len(part.reads), len(part.read_parts())) != (2, 1):
        what = f"relevant: {name!r} puts documents in order, and reads {', '.join(part.reads)}"
        fix = "let it read what was said and the part that finds them, e.g. reads: [text, answers]."
        yield Fault(part.line, what, fix)
    elif part.documents is not None and not part.read_parts():
        what = f"documents: {name!r} reads none, but {', '.join(part.reads)}"
        yield Fault(part.line, what, "take it out, or let it read a part that finds documents.")


def _faults_in(case: Case, name: str, parts: Parts) -> Iterator[Fault]:
    said = [end for end in _ENDS if getattr(case, end) is not None]
    if len(said) != 1:
        told = " and ".join(said) or "nothing"
        what = f"a case of {name!r} says {told}: one of {', '.join(_ENDS)} is wanted"
        yield Fault(case.line, what, "write e.g. {when: refund, go: answers}.")
    if case.reply is not None and case.answer is None:
        what = f"a case of {name!r} says reply without answer: words are said of an answer"
        yield Fault(case.line, what, f"write e.g. {{answer: {name}, reply: {case.reply:.80}}}.")
    for key in ("go", "answer", "reply"):
        other = getattr(case, key)
        if other is not None and other not in parts:
            what = f"{key}: no part is called {other!r:.80}"
            yield Fault(case.line, what, near_miss(str(other), parts))
    if case.below is not None and case.above is not None and case.below <= case.above:
        what = f"nothing is below {case.below:g} and above {case.above:g}"
        yield Fault(case.line, what, "leave one of them out.")


def _faults_of_writers(parts: Parts) -> Iterator[Fault]:
    """Of parts that write what is said: they come last, and find nothing."""
    found = writers(parts)
    for name, part in parts.items():
        if name in found and part.then:
            what = f"the part {name!r} writes what is said, and nothing follows from that"
            yield Fault(part.line, what, f"take its `then` out: the case with reply: {name} ends.")
        for other in set(part.reads) & found:
            what = f"the part {name!r} reads {other!r}, which writes when all is decided"
            yield Fault(part.line, what, "read what was found, not what is said of it.")
        for case in part.then:
            for key in ("go", "answer"):
                if (other := getattr(case, key)) in found:
                    what = f"{key}: the part {other!r} writes, and words are no outcome"
                    fix = f"name the part that finds the outcome: {{answer: …, reply: {other}}}."
                    yield Fault(case.line, what, fix)


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
        there = passed[name] | {TEXT, HISTORY}
        used = [("reads", other, part.line, there) for other in part.reads]
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
