"""One folder per task: `spec.py` says what is predicted (no torch), `train.py` how it is learnt.

What is the same for several tasks lies in folders that begin with an underscore: `_target` (the
forms of answers), `_decision` (what rules are made of) and `_encoder` (the models). Nothing outside
a task's folder knows its answers' form: it is asked for through `Task` and `Target`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, Literal, Protocol, cast, runtime_checkable

from sartor.core.likelihood import Truth
from sartor.core.protocols import Floats
from sartor.core.registry import Registry
from sartor.core.texts import Text, parts_of
from sartor.core.types import Examples, Roles
from sartor.core.unfit import Unfit
from sartor.need.criterion import Criterion


class Unreadable(Unfit):
    """A cell, or a request's value, that is no answer of the task."""


class Target(Protocol):
    """The form of a task's answers, in files, in memory and in the store.

    A *text* is the one way to write an answer: equal answers have equal texts.
    """

    @property
    def least(self) -> int:
        """Labels that the rows must have between them, or nothing is told apart."""
        ...

    def read(self, cell: str, declared: Sequence[str] = ()) -> str:
        """A cell, as users write it, to the answer's text.

        Args:
            cell: Not empty.
            declared: The need's labels, where it names them.

        Raises:
            Unreadable: If it is no answer.
        """
        ...

    def value(self, text: str) -> Any:
        """A text to the answer as `Examples.target` holds it."""
        ...

    def text(self, value: Any) -> str:
        """The inverse of `value`."""
        ...

    def columns(self, pattern: str, names: Sequence[str]) -> Mapping[str, str]:
        """Column to label, where a need may name many columns with a mark each; else empty."""
        ...


@runtime_checkable
class Located(Protocol):
    """A form of answers that point into the row's text, the last one where it has several."""

    def read_in(
        self, cell: str, declared: Sequence[str], text: str, usual: Callable[[str], str]
    ) -> str:
        """A cell to the answer's text, for the text's usual form.

        Args:
            cell: As of `Target.read`.
            declared: As of `Target.read`.
            text: As the file has it, which the cell points into.
            usual: A text to its usual form.

        Raises:
            Unreadable: If it is no answer, or points where there is nothing to point at.
        """
        ...


@cache
def _locates(form: type) -> bool:
    """Whether a form is `Located`: every row asks, and protocols take their time to tell."""
    return issubclass(form, Located)


def read_answer(
    target: Target, cell: str, declared: Sequence[str], text: Text, usual: Callable[[str], str]
) -> str:
    """A cell to the answer's text; see `Located` for what it needs the row's text for.

    Raises:
        Unreadable: If it is no answer.
    """
    if not _locates(type(target)):
        return target.read(cell, declared)
    *others, last = parts_of(text)
    try:
        return cast("Located", target).read_in(cell, declared, last, usual)
    except Unreadable as error:
        if any(cell.strip() in other for other in others):
            raise Unreadable(
                f"{error.what}, but in the text before it",
                "the two texts are swapped: name the"
                " column of each in its place, or swap the cells of the row",
            ) from None
        raise


@runtime_checkable
class Parted(Protocol):
    """A form whose cells are read by how the other cells of their column are written."""

    def among(self, cells: Iterable[str], declared: Sequence[str] = ()) -> Target:
        """The same form, for the cells of one column.

        Args:
            cells: Of the column, those that hold something.
            declared: As of `Target.read`.
        """
        ...


def read_among(target: Target, cells: Iterable[str | None], declared: Sequence[str] = ()) -> Target:
    """The form that reads the cells of one column; mostly the form itself."""
    return target.among(filter(None, cells), declared) if isinstance(target, Parted) else target


@runtime_checkable
class Several(Protocol):
    """A form in which a row may have several right answers, any of which will do."""

    def joined(self, texts: Sequence[str]) -> str:
        """What several rows of one input say, in one answer."""
        ...

    def covers(self, said: str, right: str) -> bool:
        """Whether an answer says nothing but what is right, be it not all of it."""
        ...


@runtime_checkable
class Listed(Several, Protocol):
    """A form whose answers stand in a list of their own, such as documents.

    What they are is known from the list, so that none needs a row to be learnt from.
    """

    def of(self, listed: Iterable[str]) -> Target:
        """The same form, which takes what is listed and nothing else."""
        ...


def agrees(target: Target, said: str, right: str) -> bool:
    """Whether an answer is no mistake; both as texts."""
    return target.covers(said, right) if isinstance(target, Several) else said == right


@runtime_checkable
class Written(Protocol):
    """The form of answers that are written, not chosen: no list of labels holds them, and a text
    may have several right ones."""

    written: ClassVar[Literal[True]]

    @property
    def turns(self) -> bool:
        """Whether what is answered may be a conversation; else it is a text like any other."""
        ...


@runtime_checkable
class Composed(Protocol):
    """The form of a product's answers: other bundles find them, and nothing is learnt but when to
    leave a row to a person."""

    composed: ClassVar[Literal[True]]


@dataclass(frozen=True, slots=True)
class Brief:
    """An answer in brief: what is counted, compared and stored of it.

    Args:
        label: Text of the answer; None where there is none.
        best: Text of the answer that would have been given.
        confidence: Probability that the model gives to `best`, 0 to 1.
    """

    label: str | None
    best: str
    confidence: float


class Task(Protocol):
    """The torch-free half: schema, decoding and how decisions are fitted to the criteria."""

    @property
    def roles(self) -> Roles:
        """Which columns the task reads and what it predicts.

        Several inputs of texts are read side by side, in their order (`core.texts`); how a model
        reads them, the training half says: `reads` and `on` for heads on cached activations,
        `build` for what is trained.
        """
        ...

    @property
    def target(self) -> Target:
        """The form of its answers."""
        ...

    def outputs(self, examples: Examples, declared: Sequence[str] | None) -> list[str]:
        """Names of the model's output units (for classification, the classes, in order)."""
        ...

    def labels(self, outputs: Sequence[str]) -> list[str]:
        """The labels that an answer may hold; mostly the outputs, none of a number."""
        ...

    def truth(self, examples: Examples, outputs: Sequence[str]) -> Truth:
        """The targets as arrays; their form says which likelihood it is (see `core.likelihood`).

        Raises:
            DataError: If a row's target is not among the outputs.
        """
        ...

    def settle(
        self,
        logits: Floats,
        examples: Examples,
        outputs: Sequence[str],
        criteria: Sequence[Criterion],
        test_rows: int = 0,
    ) -> dict[str, Any]:
        """Choose the decision rule on validation rows, towards the criteria.

        Args:
            logits: Of the rows.
            examples: Validation rows with their targets.
            outputs: Names of the model's outputs.
            criteria: Of the need.
            test_rows: Rows that the criteria will be proven on; 0 for as many as these.

        Returns:
            JSON values, stored in the bundle and handed to `decode`.
        """
        ...

    def decode(
        self,
        logits: Floats,
        outputs: Sequence[str],
        decision: Mapping[str, Any],
        texts: Sequence[Text] = (),
    ) -> list[dict[str, Any]]:
        """Model outputs to answers, one a row, in the response form.

        Args:
            logits: (rows, outputs), or (rows, pieces, outputs) of a task that answers about pieces.
            outputs: Their names.
            decision: From `settle`.
            texts: That were read, one a row; only what points into them needs them.
        """
        ...

    def brief(self, answer: Mapping[str, Any]) -> Brief:
        """An answer in brief."""
        ...

    def likelihood(self, answer: Mapping[str, Any], target: Any) -> float:
        """Probability that an answer gives to the truth, 0 to 1; a geometric mean over outputs
        where there are several."""
        ...

    def schema(self, outputs: Sequence[str]) -> dict[str, Any]:
        """JSON Schema of an answer in the response form."""
        ...

    def starters(self, proven: float, label: str) -> list[str]:
        """Criteria to begin a need with, as YAML items; those to think about are comments.

        Args:
            proven: Share, 0 to 1, that the test rows could prove.
            label: The rarest label, as YAML writes it.
        """
        ...


TASKS: Registry[Task] = Registry("task", package="sartor.tasks", group="sartor.tasks", part="spec")
TRAINERS: Registry[Any] = Registry(
    "task", package="sartor.tasks", group="sartor.trainers", part="train"
)
