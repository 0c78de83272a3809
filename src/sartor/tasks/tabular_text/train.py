"""The training half of columns and a text.

All its models are closed forms: a linear layer over the columns, one over the columns and what a
frozen encoder makes of the text, and boosted trees over the columns. Which of them a method fits,
it says itself; this half rebuilds what was saved.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from sartor.tasks import TRAINERS
from sartor.tasks._encoder import model as one_text
from sartor.tasks._encoder.files import read_model
from sartor.tasks.tabular_text import trees
from sartor.tasks.tabular_text.model import ALONE, BESIDE, ColumnsClassifier, FusedClassifier
from sartor.tasks.text_classification.train import TextClassification


def load(folder: Path) -> nn.Module:
    """Rebuild what was saved, in eval mode.

    Raises:
        ModelError: If a file is missing or does not fit the others.
    """

    def make(shape: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> nn.Module:
        if shape["kind"] == trees.KIND:
            return trees.rebuild(shape, tensors)
        if shape["kind"] == ALONE:
            model: nn.Module = ColumnsClassifier(shape["features"], shape["outputs"])
        elif shape["kind"] == BESIDE:
            encoder = one_text.read_encoder(folder)
            model = FusedClassifier(encoder, shape["outputs"], shape["layers"], shape["features"])
        else:
            raise ValueError(f"no model of columns is called {shape['kind']!r}")
        model.load_state_dict(tensors)
        return model

    return read_model(folder, make)


@TRAINERS.add
@dataclass(frozen=True, slots=True)
class TabularText(TextClassification):
    """What the task adds to every method's settings: those of text classification."""
