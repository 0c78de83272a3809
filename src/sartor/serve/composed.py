"""A product: several bundles that answer in turn, each the rows that reach it, in one pass a part.

A row's way begins at the first part. What follows is decided by the cases of `need.parts` on the
part's answer, until a case gives an answer or leaves the row to a person. A part that does not
answer (it abstains, by its own need) leaves it to a person too.

Words are written last, and only for rows that the decision rule does not leave to a person: they
cost more than all that went before, and change no outcome.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from sartor.bundle import Bundle
from sartor.core.errors import BundleError
from sartor.core.forms import first_fault
from sartor.core.protocols import Floats
from sartor.core.texts import Text
from sartor.core.types import HAND_OFF
from sartor.need.graph import deciding, graph_faults, hands_on, order_of
from sartor.need.parts import Case, Part
from sartor.serve.cache import Cache
from sartor.serve.ways import Step, Way, asked_of, replied_to

if TYPE_CHECKING:
    from sartor.serve.runtime import Runtime

QUOTES = "answer"
"""Key of the answers of a part that quotes what it reads."""
_NO_CASE = "no case of the part {} holds"
_SILENT = "the part {} does not answer"
_Form: TypeAdapter[dict[str, Part]] = TypeAdapter(dict[str, Part])
Decode = Callable[[Floats], list[dict[str, Any]]]
"""(rows, outcomes) confidences to answers."""


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
        self._write(texts, ways, decoded)
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
        """Every row to its end, before any words are written of it; each part is asked once about
        all rows that reach it."""
        ways = [Way() for _ in texts]
        waiting: dict[str, list[int]] = {name: [] for name in self.parts}
        waiting[next(iter(self.parts))] = list(range(len(texts)))
        decide = deciding(self.parts)
        for name, part in self.parts.items():
            rows, runtime = waiting[name], self.runtimes[name]
            asked = [asked_of(part, str(texts[row]), ways[row]) for row in rows]
            answers = iter(runtime.answer(list(chain.from_iterable(asked))))
            for row, some in zip(rows, asked, strict=True):
                way, found = ways[row], list(islice(answers, len(some)))
                ranks = part.ranks is not None
                step = _ranked(name, part, way, found) if ranks else _step(name, runtime, found[0])
                way.steps.append(replace(step, decides=name in decide))
                if (then := self._decide(name, part, way)) is not None:
                    waiting[then].append(row)
        return ways

    def _decide(self, name: str, part: Part, way: Way) -> str | None:
        """The part that goes on; None where the row ends here."""
        step = way.steps[-1]
        # A model whose output is no number is sure of nothing, and finds nothing either.
        goes_on = step.confidence > 0 and hands_on(name, self.parts)
        if step.said is None and not goes_on:
            way.reason = _silence(step)
            return None
        holds = (case for case in part.cases(name) if case.holds(step.said, step.confidence))
        case = next(holds, None)
        if case is None:
            way.reason = _NO_CASE.format(name)
            return None
        if case.go is None:
            _end(case, step, way)
        return case.go

    def _write(
        self, texts: Sequence[Text], ways: Sequence[Way], answers: Sequence[Mapping[str, Any]]
    ) -> None:
        """Say in words what was found of the rows that no person answers."""
        waiting: dict[str, list[int]] = {}
        for row, (way, answer) in enumerate(zip(ways, answers, strict=True)):
            if way.reply and answer["outcome"] != HAND_OFF:
                waiting.setdefault(way.reply, []).append(row)
        for name, rows in waiting.items():
            part, runtime = self.parts[name], self.runtimes[name]
            put = _quoted if runtime.target == QUOTES else replied_to
            asked = [put(part, str(texts[row]), ways[row]) for row in rows]
            for row, answer in zip(rows, runtime.answer(asked), strict=True):
                step, way = _step(name, runtime, answer), ways[row]
                way.steps.append(step)
                if step.said:  # where nothing is written, what was found speaks
                    way.words = step.said


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


def _step(name: str, runtime: "Runtime", answer: Mapping[str, Any]) -> Step:
    brief = runtime.brief(answer)
    if runtime.target == "documents":
        listed = answer["documents"]
        return Step(
            name, answer["answer"], listed[0]["id"], brief.confidence, _words(listed), answer
        )
    words = brief.best
    if runtime.target == QUOTES:
        said = answer[QUOTES]
        return Step(name, said, said or "", brief.confidence, (said or "",), answer)
    if runtime.target == "entities":
        words = ", ".join(str(one["text"]) for one in answer["entities"] or ())
    return Step(name, brief.label, brief.best, brief.confidence, (words,), answer)


def _quoted(part: Part, text: str, way: Way) -> Text:
    """The question, and what is read for a part of it that answers."""
    return asked_of(part, text, way)[0]


def _ranked(name: str, part: Part, way: Way, answers: Sequence[Mapping[str, Any]]) -> Step:
    """The documents of another part in a new order, of equals in that which they had.

    Args:
        name: Of the part.
        part: That puts them in order.
        way: Of the row.
        answers: Of its bundle, one a document.
    """
    assert part.ranks is not None, "asked of parts that rank"
    documents = way.of(part.ranks).answer["documents"]
    likely = [float(answer["probabilities"][part.relevant]) for answer in answers]
    order = sorted(range(len(answers)), key=lambda place: -likely[place])
    listed: list[dict[str, Any]] = [{**documents[place], "score": likely[place]} for place in order]
    first, best = str(listed[0]["id"]), answers[order[0]]
    stands = best["label"] is not None
    answer: dict[str, Any] = {
        "answer": first if stands else None,
        "confidence": listed[0]["score"],
        "documents": listed,
    }
    if not stands:
        answer["reason"] = best["reason"]
    return Step(name, answer["answer"], first, answer["confidence"], _words(listed), answer)


def _words(documents: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    return tuple(str(each.get("text", each["id"])) for each in documents)


def _end(case: Case, step: Step, way: Way) -> None:
    if case.hand_off is not None:
        way.reason = case.hand_off
        return
    given = step if case.answer is None else way.of(case.answer)
    if given.said is None:  # it went on unsure, for another to put its documents in order
        way.reason = _silence(given)
        return
    way.outcome, way.given, way.reply = given.said, given.part, case.reply or ""
    way.words = given.words[0] if case.say is None else case.say


def _silence(step: Step) -> str:
    """Why a part does not answer."""
    return str(step.answer.get("reason") or _SILENT.format(step.part))
