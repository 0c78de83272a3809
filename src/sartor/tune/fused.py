"""Linear models over columns: alone, or beside a text's activations with a penalty of their own.

min over W, b of  Σ_i w_i · −log softmax(W_t u_i + W_c c_i + b)[y_i] + ½‖W_c‖²/C + ½‖W_t‖²/C_t

u the standardised activations, hundreds of numbers of which each says little; c the columns as they
are encoded, few and each telling. One strength for both would silence the columns or let the
activations learn the rows by heart. Scaling a feature by s divides the penalty on its weight by s².
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, models
from torch import nn

from sartor.core.errors import SettingError
from sartor.core.protocols import Floats
from sartor.core.texts import Text, cells_of, flat
from sartor.tune.frozen import Frozen
from sartor.tune.heads import HeadData, HeadFit, HeadSetting, fit_heads
from sartor.tune.logistic import Doubles


@dataclass(frozen=True, slots=True)
class Strength:
    """One point of a grid.

    Args:
        C: Inverse strength of the penalty on columns.
        weights: Weight of each class in the loss.
        text: Inverse strength of that on a text's activations; 0 where none are read.
        layers: Hidden states to read.
    """

    C: float
    weights: tuple[float, ...]
    text: float = 0.0
    layers: tuple[int, ...] = (0,)


def fit_linear(frozen: Frozen, grid: Sequence[Strength]) -> list[HeadFit]:
    """Fit every point, in the grid's order; the columns' weights come last.

    Raises:
        DataError: If fewer than two classes have training rows.
        SettingError: If the rows have no columns.
    """
    train, held = table_of(frozen, frozen.train), table_of(frozen, frozen.validation)
    found: dict[int, HeadFit] = {}
    groups: dict[float, list[int]] = {}
    for i, point in enumerate(grid):
        groups.setdefault(point.text / point.C, []).append(i)
    for ratio, places in groups.items():
        data = HeadData(
            train=lambda layers, ratio=ratio: _beside(frozen, frozen.train, layers, train, ratio),
            validation=lambda layers, ratio=ratio: _beside(
                frozen, frozen.validation, layers, held, ratio
            ),
            labels=frozen.labels,
            outputs=len(frozen.outputs),
            rescale=lambda own, ratio=ratio: _rescaled(own, train.shape[1], ratio),
        )
        settings = [HeadSetting(grid[i].layers, grid[i].C, grid[i].weights) for i in places]
        found |= dict(zip(places, fit_heads(data, settings), strict=True))
    return [found[i] for i in range(len(grid))]


def table_of(frozen: Frozen, rows: Sequence[Text]) -> Floats:
    """(rows, features) of their columns.

    Raises:
        SettingError: If they have none.
    """
    cells = cells_of(rows)
    if frozen.code is None or len(cells) != len(rows):
        raise SettingError(
            "the rows have no columns, and the method reads nothing else.",
            fix="name columns under data.columns of a need with task: tabular_text.",
        )
    return frozen.code.encode(cells)


def fill(model: Any, weight: Floats, bias: Floats) -> nn.Module:
    """Put fitted weights into a model of `tasks.tabular_text.model`."""
    with torch.no_grad():
        features = model.columns.weight.shape[1]
        if weight.shape[1] > features:
            model.head.weight.copy_(torch.from_numpy(weight[:, :-features]))
        model.columns.weight.copy_(torch.from_numpy(weight[:, -features:]))
        model.columns.bias.copy_(torch.from_numpy(bias))
    return model.eval()


def wordless() -> Tokenizer:
    """The tokenizer of a model that reads no text: it knows one word, and none uses it."""
    return Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))


def _beside(
    frozen: Frozen, rows: Sequence[Text], layers: Sequence[int], table: Floats, ratio: float
) -> Floats:
    if not ratio:
        return table
    return np.hstack([frozen.source.features(flat(rows), layers), table])


def _rescaled(own: Doubles, features: int, ratio: float) -> Doubles:
    """Columns count as they are encoded; activations as standardised ones times √ratio."""
    scaled = own / np.sqrt(ratio) if ratio else own.copy()
    scaled[len(own) - features :] = 1.0
    return scaled
