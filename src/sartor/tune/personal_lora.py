"""Low-rank updates of one user's own, pulled towards the model that all users share.

min over A, B of  Σ_i s_i · −log softmax(f(x_i; W + BA) / T)[y_i],   A and B decayed by λ

Every adapted layer computes (W + BA) x with A: (rank, in) and B: (out, rank); W, the layers without
updates and the head stay as all users share them. At BA = 0 the model is the shared one, so what
decays A and B pulls towards it: AdamW multiplies both by 1 − ηλ in each step of rate η. Where it
converges, no entry of either is larger than 1/λ. And a pull on the factors is one on the rank of
what they change: the least ½(‖A‖² + ‖B‖²) among those whose product is Δ is the sum of Δ's
singular values.

λ is chosen by cross-validation among a grid whose first value is infinite, the shared model itself.

LoRA: Hu et al. 2021, https://arxiv.org/abs/2106.09685; decoupled decay: Loshchilov & Hutter 2019,
https://arxiv.org/abs/1711.05101; what it converges to: Xie & Li 2024,
https://arxiv.org/abs/2404.04454; factors and the trace norm: Srebro, Rennie & Jaakkola 2004,
Maximum-Margin Matrix Factorization.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sartor.core.errors import NothingToTune
from sartor.core.protocols import Floats
from sartor.tasks._encoder.model import TextClassifier
from sartor.tune.batching import Tokens
from sartor.tune.device import computing
from sartor.tune.generators import seeded
from sartor.tune.injected import draw_anew, low_rank
from sartor.tune.loop import Loss, Recipe, Rows, Watch, train
from sartor.tune.methods.lora import Lora
from sartor.tune.reopened import Reading, reopened
from sartor.tune.scoring import score
from sartor.tune.settings import Loop

GRID = (math.inf, 100.0, 10.0, 1.0)
"""λ, strongest first: of two that do equally well the stronger is taken."""
FOLDS = 3
STEPS, BATCH = 100, 8
"""Of every training: its time does not grow with what a user said."""
_RATE = Lora().lr
_SEED = 0
_SAME = 1e-9


@dataclass(frozen=True, slots=True)
class Start:
    """The model that all users share, as its fit left it.

    Args:
        folder: The fit's.
        task: Name in the tasks registry.
        outputs: Of the model.
        prefix: Put before every text.
        max_length: Tokens a text is cut at.
        temperature: The decision rule's, above 0.
    """

    folder: Path
    task: str
    outputs: int
    prefix: str
    max_length: int
    temperature: float


@dataclass(frozen=True, slots=True)
class PersonalLora:
    """A user's updates.

    Args:
        tensors: For each layer `NAME.A` (rank, in) and `NAME.B` (out, rank), the scale folded into
            B; empty where nothing did better than the shared model.
        strength: λ; infinite where the shared model stays.
        losses: λ to mean log-loss of rows that were left out of the training, over the whole grid.
    """

    tensors: Mapping[str, Floats]
    strength: float
    losses: dict[float, float]


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """The shared model with updates that change nothing until they are trained.

    Args:
        model: In eval mode.
        reading: Texts to token ids.
        temperature: See `Start`.
    """

    model: TextClassifier
    reading: Reading
    temperature: float

    @staticmethod
    def open(start: Start) -> "Network":
        """
        Raises:
            NothingToTune: If the fit is no encoder with a head.
            ModelError: If its folder is damaged, or it has other outputs.
        """
        model = reopened(start.folder, start.task, start.outputs)
        reading = Reading.of(start.folder, start.prefix, start.max_length, by_piece=model.by_piece)
        return Network(model, reading, start.temperature)

    def adapt(self, layers: Mapping[str, tuple[int, int]], rank: int) -> None:
        """Put updates beside those of the layers that the model has, by name and widths.

        Args:
            layers: Dotted name to (in, out), as the served graph has them.
            rank: Of the updates.

        Raises:
            NothingToTune: If it has none of them.
        """
        chosen = [
            name
            for name, module in self.model.named_modules()
            if isinstance(module, nn.Linear)
            and layers.get(name) == (module.in_features, module.out_features)
        ]
        if not chosen:
            shown = ", ".join(list(layers)[:3])
            raise NothingToTune(
                f"No layer of the fit is called as one of the bundle's graph ({shown}, …).",
                fix="tune heads: layers without biases of their own cannot be told apart by name.",
            )
        # alpha = rank: an update is BA itself.
        Lora(rank=rank, alpha=float(rank)).beside(self.model, chosen)
        self.model.head.requires_grad_(False)
        self.model.eval()

    def logits(self, texts: Sequence[str]) -> Floats:
        """(texts, outputs) as the model answers now."""
        return self.scored(self.reading.tokens(texts))

    def scored(self, tokens: Tokens) -> Floats:
        """The same of texts that were read."""
        with computing(self.model):
            return score(self.model, tokens)


@dataclass(frozen=True, slots=True, eq=False)
class Told:
    """What one user said of texts, in the network's tokens.

    Args:
        tokens: Of the texts.
        labels: (texts,) in [0, outputs).
        weights: (texts,) how much each counts, above 0.
    """

    tokens: Tokens
    labels: NDArray[np.int64]
    weights: NDArray[np.float64]

    def take(self, rows: NDArray[Any]) -> "Told":
        """Some of them, in order."""
        tokens = Tokens([self.tokens.ids[row] for row in rows], self.tokens.pad)
        return Told(tokens, self.labels[rows], self.weights[rows])


def fit_personal_lora(network: Network, told: Told, grid: Sequence[float] = GRID) -> PersonalLora:
    """Train a user's updates; the strength of the pull is chosen on rows that were left out.

    The same rows give the same updates at the same thread count. When this returns, the network is
    the shared model again.

    Args:
        network: With `adapt` called.
        told: At least two texts.
        grid: Values of λ, strongest first, the first infinite.

    Raises:
        Diverged: If a training produced a loss that is not a number.
    """
    try:
        _begin(network)
        losses = dict(zip(grid, _left_out(network, told, grid), strict=True))
        least = min(losses.values())
        strength = next(value for value in grid if losses[value] <= least + _SAME)
        if math.isinf(strength):
            return PersonalLora({}, strength, losses)
        _train(network, told, strength)
        tensors: dict[str, Floats] = {}
        for name, (down, up) in low_rank(network.model).items():
            tensors[f"{name}.A"], tensors[f"{name}.B"] = down.numpy(), up.numpy()
        return PersonalLora(tensors, strength, losses)
    finally:
        _begin(network)


def _left_out(network: Network, told: Told, grid: Sequence[float]) -> list[float]:
    """For each λ the mean weighted log-loss of rows by updates that did not see them."""
    shared = network.scored(told.tokens)
    count = len(told.labels)
    folds = np.arange(count) % min(FOLDS, count)
    totals = np.zeros(len(grid))
    for fold in range(int(folds.max()) + 1):
        kept, left = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        for at, strength in enumerate(grid):
            if math.isinf(strength):
                logits = shared[left]
            else:
                _train(network, told.take(kept), strength)
                logits = network.scored(told.take(left).tokens)
            totals[at] += _losses(logits, told.take(left), network.temperature)
    return (totals / told.weights.sum()).tolist()


def _losses(logits: Floats, told: Told, temperature: float) -> float:
    each = nn.functional.cross_entropy(
        torch.from_numpy(logits).double() / temperature,
        torch.from_numpy(told.labels),
        reduction="none",
    )
    return float(each.numpy() @ told.weights)


def _begin(network: Network) -> None:
    with seeded(_SEED):
        draw_anew(network.model)


def _train(network: Network, told: Told, strength: float) -> None:
    _begin(network)
    loop = Loop(
        epochs=STEPS,  # an epoch has one step at least
        max_steps=STEPS,
        batch_rows=BATCH,
        weight_decay=strength,
        kept="last",
    )
    # The loss is asked with row numbers, where more than the label is known of a row.
    rows = Rows(told.tokens, np.arange(len(told.labels)))
    first = told.take(np.arange(1))
    recipe = Recipe(
        loop=loop, seed=_SEED, loss=_weighted(told, network.temperature), rate=lambda name: _RATE
    )
    train(network.model, (rows, Rows(first.tokens, first.labels)), recipe, Watch())


def _weighted(told: Told, temperature: float) -> Loss:
    labels = torch.from_numpy(told.labels)
    shares = torch.from_numpy((told.weights / told.weights.mean()).astype(np.float32))

    def loss(logits: Tensor, rows: Tensor) -> Tensor:
        truth, weights = labels.to(rows.device)[rows], shares.to(rows.device)[rows]
        each = nn.functional.cross_entropy(logits.float() / temperature, truth, reduction="none")
        return (weights * each).mean()

    return loss
