"""Zero-shot: a text belongs to the label whose name lies nearest, before any label is learnt from.

logits = scale · cos(x − μ, Σ_t e(template_t(label)) − μ),  e the same encoder, μ the mean text

Training labels are not read; validation labels calibrate the temperature, as they do for every
method. Subtracting the mean of a few hundred unlabelled training texts takes out what all texts
share, which else hides what tells them apart: Mu and Viswanath 2018,
https://arxiv.org/abs/1702.01417
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from annotated_types import Gt
from torch import nn
from transformers import PreTrainedModel

from sartor.core.errors import SettingError
from sartor.core.protocols import Floats
from sartor.core.types import Backbone
from sartor.tasks._encoder.model import TextClassifier
from sartor.tune.api import METHODS, Dimension, Reads, Real, is_head, open_tensors
from sartor.tune.frozen import ClosedFit, Frozen, Point
from sartor.tune.similarity import fit_similarity

_SLOT = "{label}"
_ENGLISH = ("{label}", "This text is about {label}.")
_CHINESE = ("{label}", "这段文字是关于{label}的。")
_SAMPLE = 256
"""Training texts whose mean is subtracted: more move it by less than a text differs from it."""
_HAN = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]")
_WORD = re.compile(r"[^\W\d_]{2,}")
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])|[_\-./]+")


@METHODS.add
@dataclass(frozen=True, slots=True)
class ZeroShot:
    """Compares a text with the names of the labels, or what the need says they mean."""

    reads: ClassVar[Reads] = "activations"
    rung: ClassVar[int | None] = 2
    names: ClassVar[Literal[True]] = True

    templates: tuple[str, ...] = ()
    """Sentences with `{label}` in them, averaged; empty for those of the label's language."""
    centre: bool = True
    """Subtract the mean of unlabelled training texts before comparing."""
    scale: Annotated[float, Gt(0)] = 10.0
    """Logits a unit of cosine; calibration on validation rows rescales them."""

    def attach(self, model: nn.Module) -> None:
        open_tensors(model, is_head)

    def fold(self, model: nn.Module) -> None:
        model.requires_grad_(True)

    def rate(self, name: str, depth: int) -> float:
        # Only the laws descend on it; the tuner encodes the labels.
        return 1e-2

    @staticmethod
    def obstacle(
        backbone: Backbone, outputs: Sequence[str], descriptions: Mapping[str, str]
    ) -> str:
        bare = [name for name in outputs if name not in descriptions]
        for name in bare:
            if not _spelt(name):
                return (
                    f"the label {name!r} is no word that a text could be compared with; say under"
                    " data.label_descriptions what it means"
                )
        # Codes such as T1 and T2 tell a reader nothing apart.
        stems = [re.sub(r"\d+", "", name) for name in bare]
        if len(set(stems)) < len(stems):
            return (
                "some labels differ in digits only; say under data.label_descriptions what they"
                " mean"
            )
        return ""

    @staticmethod
    def fit_all(frozen: Frozen, grid: Sequence[Point]) -> list[ClosedFit]:
        if frozen.pairs:
            return [fit_similarity(frozen, point) for point in grid]
        if why := ZeroShot.obstacle(frozen.backbone, frozen.outputs, frozen.descriptions):
            raise SettingError(f"zero_shot cannot be used: {why}.", fix="choose another method.")
        return [_fit(frozen, point) for point in grid]

    @staticmethod
    def portfolio() -> Sequence[Mapping[str, Any]]:
        # Descriptions say more without centring, bare names with it; and a layer below the last
        # was better for bare names in two languages.
        return [{"layers": [n], "centre": centre} for n in (-1, -3) for centre in (True, False)]

    @staticmethod
    def pair_obstacle(outputs: Sequence[str]) -> str:
        if len(outputs) == 2:
            return ""
        return f"one similarity tells two labels apart, and there are {len(outputs)}"

    @staticmethod
    def pair_portfolio() -> Sequence[Mapping[str, Any]]:
        return ZeroShot.portfolio()

    @staticmethod
    def space() -> Mapping[str, Dimension]:
        return {"scale": Real(1.0, 100.0, log=True)}


def _fit(frozen: Frozen, point: Point) -> ClosedFit:
    count = len(frozen.train)
    sample = np.unique(np.linspace(0, count - 1, min(count, _SAMPLE)).astype(int))
    some = frozen.source.features([frozen.train[int(i)] for i in sample], point.layers)
    centre = some.mean(0) if point.method.centre else np.zeros(some.shape[1], np.float32)
    directions = _directions(frozen, point, centre)
    held = frozen.source.features(frozen.validation, point.layers)

    def logits(features: Floats) -> Floats:
        return point.method.scale * (_unit(features - centre) @ directions.T)

    seen = np.full((count, len(directions)), np.nan, np.float32)
    seen[sample] = logits(some)

    def build(encoder: PreTrainedModel) -> nn.Module:
        model = TextClassifier(encoder, len(directions), point.layers, {"kind": "cosine"})
        with torch.no_grad():
            model.head.centre.copy_(torch.from_numpy(centre))
            model.head.directions.copy_(torch.from_numpy(directions))
            model.head.scale.fill_(point.method.scale)
        return model

    return ClosedFit(logits(held), seen, build)


def _directions(frozen: Frozen, point: Point, centre: Floats) -> Floats:
    """(outputs, features) of length 1: the mean direction of what is said of each label."""
    said = [
        sentences(name, frozen.descriptions.get(name, ""), point.method.templates)
        for name in frozen.outputs
    ]
    flat = [sentence for group in said for sentence in group]
    found = _unit(frozen.source.features(flat, point.layers) - centre)
    ends = np.cumsum([len(group) for group in said])[:-1]
    return _unit(np.stack([part.mean(0) for part in np.split(found, ends)])).astype(np.float32)


def sentences(label: str, description: str, templates: Sequence[str]) -> list[str]:
    """What stands for a label: its templates filled in, and its description.

    Raises:
        SettingError: If a template has no place for the label.
    """
    for template in templates:
        if _SLOT not in template:
            raise SettingError(
                f"templates: {template!r} does not say where the label goes.",
                fix=f"write {_SLOT} in it, e.g. 'This text is about {_SLOT}.'.",
            )
    words = _HUMP.sub(" ", label).strip()
    chosen = templates or (_CHINESE if _HAN.search(label) else _ENGLISH)
    filled = [template.replace(_SLOT, words) for template in chosen] if _spelt(label) else []
    return [*filled, *([description] if description else [])]


def in_its_language(label: str) -> str:
    """The sentence about a label, in the label's language."""
    return (_CHINESE if _HAN.search(label) else _ENGLISH)[-1]


def _spelt(label: str) -> bool:
    return bool(_HAN.search(label) or _WORD.search(label))


def _unit(rows: Floats) -> Floats:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)
