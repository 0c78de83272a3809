"""A product: several bundles that answer in turn, each the rows that reach it, in one pass a part.

A row's way begins at the first part. What follows is decided by the cases of `need.parts` on the
part's answer, until a case gives an answer or leaves the row to a person. A part that does not
answer (it abstains, by its own need) leaves it to a person too.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from sartor.bundle import Bundle
from sartor.core.errors import BundleError
from sartor.core.forms import first_fault
from sartor.core.protocols import Floats
from sartor.core.texts import Text
from sartor.core.types import HAND_OFF
from sartor.llm.conversation import conversation_of
from sartor.need.parts import HISTORY, TEXT, Case, Part, graph_faults, order_of
from sartor.serve.cache import Cache

if TYPE_CHECKING:
    from sartor.serve.runtime import Runtime

_LEAST = 1e-6
"""Confidence of an outcome that was found: none at all says that a person answers."""
_NO_CASE = "no case of the part {} holds"
_SILENT = "the part {} does not answer"
_Form: TypeAdapter[dict[str, Part]] = TypeAdapter(dict[str, Part])
Decode = Callable[[Floats], list[dict[str, Any]]]
"""(rows, outcomes) confidences to answers."""


@dataclass(frozen=True, slots=True)
class Step:
    """One part's answer on a row's way.

    Args:
        part: Its name.
        said: The label, the document's id or the labelled parts, as a text; None where it abstains.
        best: What it would have said.
        confidence: In `best`, 0 to 1.
        words: `said` as a person reads it: of a document what it says.
        answer: In the part's own response form.
        decides: Whether the outcome hangs on it: by its cases, or since another part reads it.
    """

    part: str
    said: str | None
    best: str
    confidence: float
    words: str
    answer: Mapping[str, Any]
    decides: bool = True


@dataclass(slots=True)
class Way:
    """How a row went, and where it ended."""

    steps: list[Step] = field(default_factory=list[Step])
    outcome: str = HAND_OFF
    words: str = ""
    reason: str = ""
    given: str = ""
    """The part whose answer is the outcome."""

    @property
    def confidence(self) -> float:
        """That the outcome is right: that all are on which it hangs."""
        sure = [s.confidence for s in self.steps if s.decides or s.part == self.given]
        return max(float(np.prod(sure)), _LEAST)

    def of(self, part: str) -> Step:
        """The answer of a part that it has passed."""
        return next(step for step in self.steps if step.part == part)

    def told(self, answer: Mapping[str, Any]) -> dict[str, Any]:
        """A decoded answer with the way there."""
        found = dict(answer)
        if found["outcome"] != HAND_OFF:
            found["say"] = self.words
        elif self.reason:
            found["reason"] = self.reason
        found["path"] = [
            {
                "part": step.part,
                "best": step.best,
                "confidence": float(f"{step.confidence:.6g}"),
                "answer": dict(step.answer),
            }
            for step in self.steps
        ]
        return found


@dataclass(frozen=True)
class Product:
    """Safe to share between threads.

    Args:
        parts: By name, in the order in which rows reach them.
        runtimes: Name to what answers for the part.
        outputs: The outcomes there are.
    """

    parts: Mapping[str, Part]
    runtimes: "Mapping[str, Runtime]"
    outputs: Sequence[str]

    def logits(self, texts: Sequence[Text]) -> Floats:
        """(texts, outcomes): how likely the one that was found is right, else 0."""
        return self.scores(self.walk(texts))

    def answers(self, texts: Sequence[Text], decode: Decode) -> list[dict[str, Any]]:
        """One answer a text, with the way there.

        Args:
            texts: Each a text or a conversation; see `llm.conversation`.
            decode: Applies the decision rule.
        """
        ways = self.walk(texts)
        decoded = decode(self.scores(ways))
        return [way.told(answer) for way, answer in zip(ways, decoded, strict=True)]

    def scores(self, ways: Sequence[Way]) -> Floats:
        """(ways, outcomes) as `logits`."""
        place = {name: i for i, name in enumerate(self.outputs)}
        found = np.zeros((len(ways), len(self.outputs)), np.float32)
        for row, way in enumerate(ways):
            if way.outcome != HAND_OFF:
                found[row, place[way.outcome]] = way.confidence
        return found

    def walk(self, texts: Sequence[Text]) -> list[Way]:
        """Every row to its end; each part is asked once about all rows that reach it."""
        ways = [Way() for _ in texts]
        waiting: dict[str, list[int]] = {name: [] for name in self.parts}
        waiting[next(iter(self.parts))] = list(range(len(texts)))
        read = {part.reads for part in self.parts.values()}
        for name, part in self.parts.items():
            rows, runtime = waiting[name], self.runtimes[name]
            asked = [_read(part, str(texts[row]), ways[row]) for row in rows]
            for row, answer in zip(rows, runtime.answer(asked), strict=True):
                way = ways[row]
                step = _step(name, runtime, answer)
                decides = name in read or len(part.then) > 1
                way.steps.append(replace(step, decides=decides))
                if (then := _decide(name, part, way)) is not None:
                    waiting[then].append(row)
        return ways


def open_product(bundle: Bundle, threads: int, cache: Cache | None = None) -> Product:
    """The parts of a product, ready to answer.

    Args:
        bundle: Verified, and its parts with it.
        threads: Of one pass of a part.
        cache: Says how much memory answers may take; the parts share it alike.

    Raises:
        BundleError: If the decision does not describe the parts, or one cannot be run.
    """
    place = bundle.folder / "manifest.json"
    wrong = "build the bundle again with `sartor run`."
    try:
        parts = _Form.validate_python(bundle.manifest.decision.get("parts"))
    except ValidationError as error:
        raise BundleError(
            f"{place} does not describe its parts: {first_fault(error)}.", fix=wrong
        ) from None
    if faults := graph_faults(parts):
        raise BundleError(f"{place}: {faults[0].what}.", fix=wrong)
    found = {name: bundle.part(name) for name in parts}
    for name, part in found.items():
        if part.manifest.id != parts[name].bundle:
            raise BundleError(
                f"{part.folder} is not the part that {place} names: {part.manifest.id[:12]}.",
                fix=wrong,
            )
    each = None if cache is None else cache.megabytes / len(parts)
    return assemble(parts, found, bundle.manifest.outputs, threads, each)


def assemble(
    parts: Mapping[str, Part],
    bundles: Mapping[str, Bundle],
    outputs: Sequence[str],
    threads: int,
    cache_mb: float | None = None,
) -> Product:
    """A product of verified bundles; one that is two parts is loaded once.

    Args:
        parts: Without `graph_faults`.
        bundles: Part to bundle.
        outputs: The outcomes there are.
        threads: Of one pass of a part.
        cache_mb: Memory for the answers of a part.

    Raises:
        BundleError: If a bundle cannot be run.
    """
    from sartor.serve.runtime import start

    loaded: dict[str, Runtime] = {}
    for bundle in bundles.values():
        if bundle.manifest.id not in loaded:
            loaded[bundle.manifest.id] = start(bundle, threads=threads, cache_mb=cache_mb)
    return Product(
        {name: parts[name] for name in order_of(parts)},
        {name: loaded[bundle.manifest.id] for name, bundle in bundles.items()},
        outputs,
    )


def _read(part: Part, text: str, way: Way) -> str:
    """What a part reads of a row."""
    if part.reads not in (TEXT, HISTORY):
        return way.of(part.reads).words
    messages = conversation_of(text)
    if part.reads == TEXT:
        return messages[-1].content
    return "\n".join(each.content for each in messages if each.role == "user")


def _step(name: str, runtime: "Runtime", answer: Mapping[str, Any]) -> Step:
    brief = runtime.brief(answer)
    if runtime.target == "documents":
        first = answer["documents"][0]
        words = str(first.get("text", first["id"]))
        return Step(name, answer["answer"], first["id"], brief.confidence, words, answer)
    words = brief.best
    if runtime.target == "entities":
        words = ", ".join(str(one["text"]) for one in answer["entities"] or ())
    return Step(name, brief.label, brief.best, brief.confidence, words, answer)


def _decide(name: str, part: Part, way: Way) -> str | None:
    """The part that goes on; None where the row ends here."""
    step = way.steps[-1]
    if step.said is None:
        way.reason = str(step.answer.get("reason") or _SILENT.format(name))
        return None
    holds = (case for case in part.cases(name) if case.holds(step.said, step.confidence))
    case = next(holds, None)
    if case is None:
        way.reason = _NO_CASE.format(name)
        return None
    if case.go is None:
        _end(case, step, way)
    return case.go


def _end(case: Case, step: Step, way: Way) -> None:
    if case.hand_off is not None:
        way.reason = case.hand_off
        return
    given = step if case.answer is None else way.of(case.answer)
    # A part on the way has answered, or the row would not be here.
    assert given.said is not None
    way.outcome, way.given = given.said, given.part
    way.words = given.words if case.say is None else case.say
