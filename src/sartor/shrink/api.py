"""What a compressor is: it makes a form of a model smaller or faster; parity then says its cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, get_args

from sartor.core.events import Emit
from sartor.core.protocols import Fitted, Floats
from sartor.core.registry import Registry
from sartor.core.texts import Text
from sartor.core.types import Examples
from sartor.llm.translated import ENCODER
from sartor.shrink.parity import Parity

GRAPH, TOKENIZER, FIT = "model.onnx", "tokenizer.json", "fit"
LENGTH = "max_length"
"""A file that holds the number of tokens a form cuts a text at, in decimal digits."""
Eased = Literal["size", "speed"]
"""What a compressor makes less of: bytes, or time (and with it cost)."""
Place = Literal["layers", "heads", "neurons", "weights", "tokens", "graph", "numbers", "texts"]
"""What a compressor changes; composed ones follow one another in this order, one for each place."""
PLACES: tuple[Place, ...] = get_args(Place)


@dataclass(frozen=True, slots=True)
class Form:
    """A model as files.

    Args:
        graph: input_ids, attention_mask → logits, as ONNX; of two texts that are read apart also
            other_ids and other_mask.
        tokenizer: Its tokenizer.json.
        fit: Folder that the task's `train.load` reads: the same model in torch. None where only the
            graph is at hand: a bundle, a joined model, or a form whose graph alone was changed.
        encoder: Of an encoder-decoder, the graph that reads a text; `graph` then writes.
        max_length: Tokens a text is cut at; None where nothing but the bundle says it.
    """

    graph: Path
    tokenizer: Path
    fit: Path | None = None
    encoder: Path | None = None
    max_length: int | None = None

    @property
    def graphs(self) -> list[Path]:
        """Those there are."""
        return [self.graph, *([] if self.encoder is None else [self.encoder])]

    def left_in(self, folder: Path) -> "Form":
        """The form that a compressor of this one left in `folder`.

        A tokenizer that it did not write is unchanged; weights that it did not write are stale.
        """
        tokenizer, fit, length = folder / TOKENIZER, folder / FIT, folder / LENGTH
        return Form(
            folder / GRAPH,
            tokenizer if tokenizer.exists() else self.tokenizer,
            fit if fit.exists() else None,
            None if self.encoder is None else folder / ENCODER,
            int(length.read_text("ascii")) if length.exists() else self.max_length,
        )


class Retrain(Protocol):
    """Goes on training the model that a folder holds: a `Fit` that starts there."""

    def __call__(
        self, start: Path, settings: Mapping[str, Any], teacher: Floats | None = None
    ) -> Fitted:
        """Train all weights on the training rows; validation rows choose the epoch.

        Args:
            start: Folder that the task's `train.load` reads, with a tokenizer.json; it stays as it
                is.
            settings: Those of full fine-tuning that differ from its defaults; with a teacher also
                `temperature` and `teacher_share`; `int8` trains as quantised products compute.
            teacher: (training rows, outputs) logits to learn from beside the labels, or in their
                place where the rows have none; what the teacher's head reads may follow them,
                (training rows, outputs + features). None learns from the labels alone.

        Returns:
            The trained model; `cut` where the run's time ended it before it was whole.
        """
        ...


class Answers(Protocol):
    """How a form answers, through the serving runtime."""

    def __call__(self, form: Form, texts: Sequence[Text]) -> Floats:
        """(texts, outputs) logits."""
        ...


class Compares(Protocol):
    """How a form answers the validation rows, beside the fitted model."""

    def __call__(self, form: Form) -> Parity:
        """What the form lost."""
        ...


@dataclass(frozen=True, slots=True)
class Bench:
    """What a compressor may use beside the form itself.

    Args:
        task: Name in the tasks registry.
        outputs: Names of the model's outputs, in order.
        max_length: Tokens a text is cut at, but for a form that says otherwise.
        prefix: Put before every text.
        train: Rows to calibrate on and to learn from.
        validation: Rows that choose among settings. Parity is measured on them afterwards.
        answers: See `Answers`.
        retrain: See `Retrain`; None where nothing can be trained.
        seed: Seeds everything drawn.
        emit: Progress.
        compares: See `Compares`; None where there is nothing to compare with.
        whole: Whether a text is answered piece by piece, or read to its end in windows, so that
            none may be cut sooner.
    """

    task: str
    outputs: tuple[str, ...]
    max_length: int
    prefix: str
    train: Examples
    validation: Examples
    answers: Answers
    retrain: Retrain | None
    seed: int
    emit: Emit
    compares: Compares | None = None
    whole: bool = False


class Compressor(Protocol):
    """One file in `shrink/compressors/`. Its dataclass fields are its settings."""

    eases: ClassVar[tuple[Eased, ...]]
    """What it is tried for."""
    trains: ClassVar[bool]
    """Whether it needs `Form.fit` and `Bench.retrain`, and so takes minutes."""
    place: ClassVar[Place]
    """Where it stands among others."""

    def compress(self, source: Form, target: Path, bench: Bench) -> None:
        """Write a changed form of `source` into the empty folder `target`; `source` stays.

        Writes `GRAPH` always, `ENCODER` where the form has one, `TOKENIZER` where the tokenizer
        changed, `FIT` where the weights in torch were changed alike, and `LENGTH` where a text is
        cut sooner.

        Raises:
            NothingToShrink: If the form holds nothing this compressor works on. A compressor never
                passes a form through unchanged.
        """
        ...


COMPRESSORS: Registry[Compressor] = Registry(
    "compressor", package="sartor.shrink.compressors", group="sartor.compressors"
)
