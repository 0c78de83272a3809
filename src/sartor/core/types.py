"""The words that stages share: columns, examples, backbones, candidates, what answering takes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Literal

from sartor.core.hashing import digest
from sartor.core.texts import Cells, Text

Modality = Literal["text", "number", "category", "image", "audio", "video", "group", "id"]
TargetKind = Literal[
    "label",
    "level",
    "labels",
    "documents",
    "number",
    "spans",
    "answer",
    "boxes",
    "text",
    "image",
    "outcome",
]
"""Form of what is predicted; a level is a label of a list whose order means something, an answer a
part of the last text of a row, an outcome what a product of several bundles answers."""


USER = "user"
"""Role of the column whose rows, in the order of time, are one history."""
ITEM, SKILL = "item", "skill"
"""Roles of what a row asks its user, and of what that is about."""
VALUE = "value"
"""Key of a number in an answer."""
ANSWER_KEYS = ("label", "labels", VALUE, "entities", "documents", "answer", "outcome")
"""What `answer_key` may give."""
HAND_OFF = "hand_off"
"""The outcome of a row that a person is to answer."""
TARGET_TOKENIZER = "target_tokenizer.json"
"""Beside tokenizer.json where a model cuts what it writes otherwise than what it reads."""
PUBLISHED = "published"
"""Folder in the fit of a model that writes: tokenizers and chat template as they were published,
control tokens included."""


def answer_key(kind: TargetKind) -> str:
    """Under which key an answer, or a correction, holds what is predicted."""
    return {"level": "label", "number": VALUE, "spans": "entities"}.get(kind, kind)


def by_piece(kind: TargetKind) -> bool:
    """Whether an answer points into a text, so that a model answers about its pieces."""
    return kind in ("spans", "answer")


def one_label(kind: TargetKind) -> bool:
    """Whether an answer is one label of a list, in an order or in none."""
    return kind in ("label", "level")


@dataclass(frozen=True, slots=True)
class Roles:
    """What a task reads: role name (a key under `data:` in the need) to kind of column.

    Args:
        inputs: Texts, in the order in which they are read.
        targets: What is answered.
        optional: Inputs that a need may leave out.
        columns: Whether it reads columns too, those that `data.columns` lists.
        parts: Whether other bundles answer, those that `parts` lists.
    """

    inputs: Mapping[str, Modality]
    targets: Mapping[str, TargetKind]
    optional: tuple[str, ...] = ()
    columns: bool = False
    parts: bool = False

    @property
    def holds(self) -> Literal["texts", "columns", "items", "answers"]:
        """What a row is: texts, columns with a text or without, or a user's history, of items or
        of answers to them."""
        if USER in self.inputs:
            return "answers" if ITEM in self.inputs else "items"
        return "columns" if self.columns else "texts"

    @property
    def target_kind(self) -> TargetKind:
        """The form of what is answered: there is one target."""
        (kind,) = self.targets.values()
        return kind

    def names(self) -> list[str]:
        return [*self.inputs, *self.targets]

    def required(self) -> list[str]:
        """Keys that a need must have under `data:`."""
        listed = [name for name in self.names() if name not in self.optional]
        return [*listed, *(["columns"] if self.columns else [])]


@dataclass(frozen=True, slots=True)
class Examples:
    """Rows as parallel columns.

    Args:
        ids: Stable content ids, one a row: equal inputs have equal ids, in every run.
        inputs: Role to column, e.g. {"text": (…)}; every column as long as `ids`.
        target: The answer of each row, in the task's form (a label is a `str`); empty when unknown.
        extra: Other columns of the user's file by their own name: slices, baseline, group, time.
    """

    ids: tuple[str, ...]
    inputs: Mapping[str, tuple[Any, ...]]
    target: tuple[Any, ...] = ()
    extra: Mapping[str, tuple[Any, ...]] = field(default_factory=dict[str, tuple[Any, ...]])

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def texts(self) -> tuple[Text, ...]:
        """What a model reads of each row: the one text, or those of all inputs side by side."""
        columns = tuple(self.inputs.values())
        return columns[0] if len(columns) == 1 else tuple(zip(*columns, strict=True))

    def take(self, indices: Sequence[int]) -> "Examples":
        """The rows at `indices`, in that order."""

        def pick(column: tuple[Any, ...]) -> tuple[Any, ...]:
            return tuple(column[i] for i in indices)

        return Examples(
            ids=pick(self.ids),
            inputs={k: pick(v) for k, v in self.inputs.items()},
            target=pick(self.target) if self.target else (),
            extra={k: pick(v) for k, v in self.extra.items()},
        )

    def rows(self) -> Iterator[dict[str, Any]]:
        """The inputs of each row as the mapping that a `Predictor` takes; columns by name."""
        names = list(self.inputs)
        for values in zip(*self.inputs.values(), strict=True):
            row: dict[str, Any] = {}
            for name, value in zip(names, values, strict=True):
                row |= value.values() if isinstance(value, Cells) else {name: value}
            yield row

    def fingerprint(self) -> str:
        """Content hash of ids and targets; the order of the rows does not count."""
        return digest(sorted(zip(self.ids, map(str, self.target or self.ids), strict=True)))


@dataclass(frozen=True, slots=True)
class Backbone:
    """A pretrained model that a candidate starts from.

    Args:
        name: What the user writes: starter name, hub id or folder, and @N for its first N layers.
        source: "starter", "hub", "folder", or "llm" for a language model that is only asked: its
            path is a URL, and what it is made of is unknown (0).
        path: Folder with config.json, model.safetensors and tokenizer.json, ready to load.
        sha256: Of everything that decides what it makes of a text: weights, configuration,
            tokenizer and prefix; where `whole`, `drawn` or `pieces` is set, a hash of that and
            those.
        licence: SPDX id, or "unknown".
        languages: BCP-47 codes it was trained on; ("*",) for many.
        parameters: Number of weights.
        layers: Transformer layers.
        width: Hidden size.
        prefix: Put before every text, e.g. "query: ".
        passage: Put before every document that texts are compared with, in the prefix's place.
        max_length: Longest input in tokens.
        whole: The backbone of which this one is the first layers; None for one that is whole.
            Their activations are the same, so they are kept under the whole one.
        drawn: Seed that the weights are drawn with instead of being read: a control that knows
            nothing. None for a pretrained one.
        weights_sha256: Of the weights' file(s) alone: to tell where a model came from.
        pieces: Whether its tokenizer reads a text piece by piece (see `core.pieces`), so that no
            token stands in two of them.
    """

    name: str
    source: Literal["starter", "hub", "folder", "llm"]
    path: str
    sha256: str
    licence: str
    languages: tuple[str, ...]
    parameters: int
    layers: int
    width: int
    prefix: str = ""
    passage: str = ""
    max_length: int = 512
    modality: Modality = "text"
    whole: "Backbone | None" = None
    drawn: int | None = None
    weights_sha256: str = ""
    pieces: bool = False


@dataclass(frozen=True, slots=True)
class Candidate:
    """Backbone × method × settings × seed.

    Args:
        backbone: `Backbone.name`.
        backbone_sha256: `Backbone.sha256`, so that the candidate's key changes with the model.
        method: Name in the methods registry.
        settings: The method's and the loop's settings, JSON values only.
        seed: Seeds everything random in the fit.
    """

    backbone: str
    backbone_sha256: str
    method: str
    settings: Mapping[str, Any]
    seed: int

    @property
    def key(self) -> str:
        """Content hash, 64 hex digits."""
        return digest(self.backbone_sha256, self.method, dict(self.settings), self.seed)

    def label(self) -> str:
        shown = " ".join(f"{k}={v}" for k, v in self.settings.items())
        return f"{self.method}, {self.backbone}" + (f" ({shown})" if shown else "")


@dataclass(frozen=True, slots=True)
class Use:
    """What answering takes on the machine that measured.

    Args:
        cpu_seconds: Processor seconds of a request, user and system, in each fresh process.
        memory_mib: Most memory that one of them had resident, in MiB of 1,048,576 bytes.
        threads: Of one forward pass.
        busy_seconds: As `cpu_seconds`, where several requests are always at hand, so that they are
            answered in batches; where it is empty, a request is taken to cost the same.
        busy_memory_mib: As `memory_mib`, then.
    """

    cpu_seconds: tuple[float, ...]
    memory_mib: float
    threads: int = 1
    busy_seconds: tuple[float, ...] = ()
    busy_memory_mib: float = 0.0

    @property
    def cpu(self) -> float:
        """Of the median process."""
        return float(median(self.cpu_seconds))
