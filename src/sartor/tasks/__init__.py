"""One folder per task: `spec.py` says what is predicted (no torch), `train.py` how it is learnt."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from sartor.core.protocols import Floats
from sartor.core.registry import Registry
from sartor.core.types import Examples, Roles
from sartor.need.criterion import Criterion


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

    def outputs(self, examples: Examples, declared: Sequence[str] | None) -> list[str]:
        """Names of the model's output units (for classification, the classes, in order)."""
        ...

    def settle(
        self,
        logits: Floats,
        examples: Examples,
        outputs: Sequence[str],
        criteria: Sequence[Criterion],
    ) -> dict[str, Any]:
        """Choose the decision rule on validation rows, towards the criteria.

        Returns:
            JSON values, stored in the bundle and handed to `decode`.
        """
        ...

    def decode(
        self, logits: Floats, outputs: Sequence[str], decision: Mapping[str, Any]
    ) -> list[dict[str, Any]]:
        """Model outputs to answers, one a row, in the response form."""
        ...


TASKS: Registry[Task] = Registry("task", package="sartor.tasks", group="sartor.tasks", part="spec")
TRAINERS: Registry[Any] = Registry(
    "task", package="sartor.tasks", group="sartor.trainers", part="train"
)
