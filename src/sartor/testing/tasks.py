"""What every task must obey, as functions that raise AssertionError; parametrise them over `TASKS`.

A task brings what only it knows: examples with every output among them (`Sample`). The laws make
logits of them, settle, decode and read back.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sartor.core.errors import DataError, Diverged
from sartor.core.likelihood import NO_PIECE, Truth, form, marks
from sartor.core.pieces import pieces
from sartor.core.protocols import Floats
from sartor.core.replies import HEAD, Said, as_numbers
from sartor.core.texts import parts_of
from sartor.core.types import Examples
from sartor.core.windows import LEAD
from sartor.need.criterion import Criterion
from sartor.tasks import TASKS, TRAINERS, Composed, Task, Written

_SURE = 8.0
"""Log-odds of a model that has no doubt."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Examples of a task, and how its users write their answers.

    Args:
        task: Name in the registry.
        examples: At least 40, with every output several times.
        cells: What a file may hold in the column of the answers, to the answer as the examples
            would hold it.
    """

    task: str
    examples: Examples
    cells: Sequence[tuple[str, Any]]

    def made(self) -> tuple[Task, list[str]]:
        """The task, and its outputs on these examples."""
        task = TASKS.get(self.task)()
        return task, task.outputs(self.examples, None)


def sure_logits(task: Task, examples: Examples, outputs: Sequence[str]) -> Floats:
    """(rows, outputs), or (rows, pieces, outputs), of a model that is right without doubt."""
    truth = task.truth(examples, outputs)
    if (kind := form(truth)) == "number":
        return truth[:, None].astype(np.float32)
    if kind == "span":
        return _sure_of_places(truth, [len(pieces(parts_of(text)[-1])) for text in examples.texts])
    if kind != "pieces":
        return ((2 * marks(truth, len(outputs)) - 1) * _SURE).astype(np.float32)
    found = ((2 * np.eye(len(outputs))[np.maximum(truth, 0)] - 1) * _SURE).astype(np.float32)
    found[truth == NO_PIECE] = 0.0
    return found


def _sure_of_places(truth: Truth, counts: Sequence[int]) -> Floats:
    """(rows, places, 2): the first right answer of each row, 0 behind its last place."""
    found = np.zeros((len(truth), LEAD + max(counts), 2), np.float32)
    for row, count in enumerate(counts):
        found[row, : LEAD + count] = -_SURE
        found[row, truth[row, :, 0], [0, 1]] = _SURE
    return found


def doubtful_logits(task: Task, examples: Examples, outputs: Sequence[str]) -> Floats:
    """(rows, outputs) of a model that is often wrong; the same each time."""
    sure = sure_logits(task, examples, outputs)
    noise = np.random.default_rng(0).normal(0.0, 1.5 * sure.std(), sure.shape)
    return (sure + noise * (sure != 0)).astype(np.float32)


def check_answers_have_one_text(sample: Sample) -> None:
    """`value` and `text` are inverses, reading a text gives it back, and cells read as they say."""
    target = sample.made()[0].target
    for answer in sample.examples.target:
        text = target.text(answer)
        assert target.value(text) == answer, f"{answer!r} is written {text!r}, which is another"
        assert target.read(text) == text, f"{text!r} does not read as itself"
    for cell, answer in sample.cells:
        found = target.value(target.read(cell))
        assert found == answer, f"the cell {cell!r} reads as {found!r}, not {answer!r}"


def check_sure_answers_are_right(sample: Sample) -> None:
    """What a model without doubt says is the truth, with nearly all of the probability."""
    task, outputs = sample.made()
    logits = sure_logits(task, sample.examples, outputs)
    decision = task.settle(logits, sample.examples, outputs, ())
    answers = task.decode(logits, outputs, decision, sample.examples.texts)
    assert len(answers) == len(sample.examples)
    for answer, target in zip(answers, sample.examples.target, strict=True):
        brief = task.brief(answer)
        assert brief.label == brief.best == task.target.text(target), f"{answer} is not {target!r}"
        assert brief.confidence >= 0.9
        assert task.likelihood(answer, target) > 0.9


def check_settling_is_repeated(sample: Sample) -> None:
    """The same rows give the same decision, in JSON values that survive a round trip; that more
    test rows are to come changes nothing, and that fewer are may."""
    task, outputs = sample.made()
    logits = doubtful_logits(task, sample.examples, outputs)
    criteria = (Criterion("accuracy >= 0.5", "accuracy", ">=", 0.5),)
    one = task.settle(logits, sample.examples, outputs, criteria)
    two = task.settle(logits.copy(), sample.examples, outputs, criteria)
    assert one == two
    assert one == task.settle(logits, sample.examples, outputs, criteria, len(logits) + 1)
    fewer = task.settle(logits, sample.examples, outputs, criteria, 1)
    assert fewer.keys() == one.keys()
    again = json.loads(json.dumps(one, allow_nan=False))
    assert task.decode(logits, outputs, again, sample.examples.texts) == task.decode(
        logits, outputs, one, sample.examples.texts
    )


def check_broken_logits_stay_in_their_row(sample: Sample) -> None:
    """A row that is no number is not answered, the others as ever; settling on it is refused."""
    task, outputs = sample.made()
    logits = doubtful_logits(task, sample.examples, outputs)
    decision = task.settle(logits, sample.examples, outputs, ())
    whole = task.decode(logits, outputs, decision, sample.examples.texts)
    for broken in (np.nan, np.inf, -np.inf):
        hurt = logits.copy()
        hurt[1, 0] = broken
        answers = task.decode(hurt, outputs, decision, sample.examples.texts)
        assert [*answers[:1], *answers[2:]] == [*whole[:1], *whole[2:]]
        assert task.brief(answers[1]).label is None, f"{broken} was answered: {answers[1]}"
        assert answers[1]["reason"]
        json.dumps(answers, allow_nan=False)
        try:
            task.settle(hurt, sample.examples, outputs, ())
        except Diverged:
            continue
        raise AssertionError(f"a decision was settled on {broken}")


def check_answers_fit_their_schema(sample: Sample) -> None:
    """Every answer, a broken one too, is of the form that the task states."""
    task, outputs = sample.made()
    logits = doubtful_logits(task, sample.examples, outputs)
    hurt = logits.copy()
    hurt[0] = np.nan
    schema = task.schema(outputs)
    decision = task.settle(logits, sample.examples, outputs, ())
    for answer in (
        *task.decode(logits, outputs, decision, sample.examples.texts),
        *task.decode(hurt, outputs, decision, sample.examples.texts),
    ):
        _check_schema(answer, schema, "answer")


def check_strange_targets_are_refused(sample: Sample) -> None:
    """A target that is no output is refused with the near miss, not met with an IndexError.

    A number is none of a list, so none is strange.
    """
    task, outputs = sample.made()
    if form(task.truth(sample.examples, outputs)) == "number":
        return
    told = ""
    try:
        task.truth(sample.examples, outputs[1:])
    except DataError as error:
        told = error.what
    assert outputs[0] in told, f"{outputs[0]!r} was not missed: {told!r}"


def check_both_halves_are_there(sample: Sample) -> None:
    """The training half is found under the same name and has what a fit asks of it."""
    trainer: Any = TRAINERS.get(sample.task)()
    for name in ("resolve", "build", "weights", "loss", "open", "close"):
        assert callable(getattr(trainer, name, None)), f"the trainer has no {name}"


def check_replies_are_read_back(sample: Sample) -> None:
    """Of answers that are written: what a model says is what is answered, row by row."""
    task, outputs = sample.made()
    said = [Said(task.target.text(reply), -0.1, 3, True) for reply in sample.examples.target]
    numbers = as_numbers(said)
    decision = task.settle(numbers, sample.examples, outputs, ())
    answers = task.decode(numbers, outputs, decision)
    for answer, target in zip(answers, sample.examples.target, strict=True):
        brief = task.brief(answer)
        assert brief.label == brief.best == task.target.text(target), f"{answer} is not {target!r}"
        assert task.likelihood(answer, target) == 1
        _check_schema(answer, task.schema(outputs), "answer")
    json.dumps(answers, allow_nan=False)


def check_a_broken_reply_stays_in_its_row(sample: Sample) -> None:
    """Of answers that are written: a row that is no text is not answered, the others as ever."""
    task, outputs = sample.made()
    said = [Said(task.target.text(reply), -0.1, 3, True) for reply in sample.examples.target]
    numbers = as_numbers(said)
    whole = task.decode(numbers, outputs, {})
    for place, broken in ((0, np.nan), (HEAD, np.inf), (HEAD, float(0xD800)), (HEAD, 2.0**22)):
        hurt = numbers.copy()
        hurt[1, place] = broken
        answers = task.decode(hurt, outputs, {})
        assert [*answers[:1], *answers[2:]] == [*whole[:1], *whole[2:]]
        assert task.brief(answers[1]).label is None, f"{broken} was answered: {answers[1]}"
        assert answers[1]["reason"]
        _check_schema(answers[1], task.schema(outputs), "answer")
        try:
            task.settle(hurt, sample.examples, outputs, ())
        except Diverged:
            continue
        raise AssertionError(f"a decision was settled on {broken}")


def laws_of(task: str) -> tuple[Callable[[Sample], None], ...]:
    """Those that hold for a task's form of answers."""
    target = TASKS.get(task)().target
    if isinstance(target, Composed):
        return COMPOSED_LAWS
    return WRITTEN_LAWS if isinstance(target, Written) else LAWS


WRITTEN_LAWS = (
    check_answers_have_one_text,
    check_replies_are_read_back,
    check_a_broken_reply_stays_in_its_row,
)
"""Of tasks whose answers are written."""
LAWS = (
    check_answers_have_one_text,
    check_sure_answers_are_right,
    check_settling_is_repeated,
    check_broken_logits_stay_in_their_row,
    check_answers_fit_their_schema,
    check_strange_targets_are_refused,
    check_both_halves_are_there,
)
COMPOSED_LAWS = tuple(law for law in LAWS if law is not check_both_halves_are_there)
"""Of a product, which has nothing to learn."""


_KINDS: dict[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "number": (int, float),
    "integer": int,
    "boolean": bool,
    "null": type(None),
}


def _check_schema(value: Any, schema: Any, place: str) -> None:
    """The part of JSON Schema that tasks use."""
    if "anyOf" in schema:
        fits = [option for option in schema["anyOf"] if _fits(value, option, place)]
        assert fits, f"{place} is {value!r}, which is none of {schema['anyOf']}"
    if "enum" in schema:
        assert value in schema["enum"], f"{place} is {value!r}, not among {schema['enum']}"
    kind = schema.get("type")
    if kind is not None:
        assert isinstance(value, _KINDS[kind]), f"{place} is {value!r}, not of type {kind}"
    if kind == "object" and "properties" in schema:
        missing = [name for name in schema.get("required", ()) if name not in value]
        assert not missing, f"{place} lacks {missing}"
        for name, part in value.items():
            assert name in schema["properties"], f"{place} has {name!r}, which its schema has not"
            _check_schema(part, schema["properties"][name], f"{place}.{name}")
    if kind == "array":
        for index, part in enumerate(value):
            _check_schema(part, schema["items"], f"{place}.{index}")
    if kind == "number":
        assert schema.get("minimum", value) <= value <= schema.get("maximum", value), place


def _fits(value: Any, schema: Any, place: str) -> bool:
    try:
        _check_schema(value, schema, place)
    except AssertionError:
        return False
    return True
