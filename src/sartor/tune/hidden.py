"""Heads with one hidden layer: many trained at once, as one network with an axis of problems.

logits_p = W₂ₚ · dropout(gelu(W₁ₚ x + b₁ₚ)) + b₂ₚ,   p = problem

Problems share the rows and differ in strength, class weights, dropout, learning rate and seed. Each
product is one batched matrix product; a sum of losses leaves every problem its own gradient. A
problem keeps the weights of its best epoch on the validation rows and ends when they are old.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sartor.core.likelihood import Truth, form
from sartor.core.protocols import Floats
from sartor.tune.heads import HeadData, Scale, read_layers, refuse_one_label

_BATCH = 64
"""Rows in a step."""
_EPOCHS = 60
_PATIENCE = 6
"""Epochs without a better validation loss before a problem ends."""
_TOGETHER = 16
"""Problems trained side by side: memory grows with them, speed no longer does."""


@dataclass(frozen=True, slots=True)
class HiddenSetting:
    """One point of the grid.

    Args:
        layers: Hidden states to read, counted from 0.
        average: Whether their mean is read instead of each beside the others.
        hidden: Width of the hidden layer.
        C: Inverse L2 strength of both weight matrices, on standardised features.
        dropout: Share of hidden units set to zero in a step.
        lr: Learning rate of AdamW.
        weights: Weight of each class in the loss.
        seed: Of the first weights, the order of rows and the dropout.
    """

    layers: tuple[int, ...]
    average: bool
    hidden: int
    C: float
    dropout: float
    lr: float
    weights: tuple[float, ...]
    seed: int


@dataclass(frozen=True, slots=True)
class HiddenFit:
    """Two linear layers on raw activations.

    Args:
        inner: (hidden, features) and (hidden,).
        outer: (outputs, hidden) and (outputs,).
        validation_logits: (validation rows, outputs).
        train_logits: (training rows, outputs).
    """

    inner: tuple[Floats, Floats]
    outer: tuple[Floats, Floats]
    validation_logits: Floats
    train_logits: Floats


def fit_hidden(data: HeadData, held: Truth, grid: Sequence[HiddenSetting]) -> list[HiddenFit]:
    """Train every setting, in the grid's order.

    Args:
        data: Rows.
        held: The truth of the validation rows, in the form of `data.labels`: they say when to stop.
        grid: Settings that share layers and width are trained together.

    Raises:
        DataError: If fewer than two classes have training rows.
        SettingError: If the features are not finite.
    """
    refuse_one_label(data.labels)
    found: dict[HiddenSetting, HiddenFit] = {}
    groups: dict[tuple[tuple[int, ...], bool, int], list[HiddenSetting]] = {}
    for setting in dict.fromkeys(grid):
        groups.setdefault((setting.layers, setting.average, setting.hidden), []).append(setting)
    for (layers, average, _), group in groups.items():
        train = read_layers(data.train(layers), len(layers), average)
        scale = Scale.of(train)
        x = torch.from_numpy(scale.apply(train))
        del train
        held_out = read_layers(data.validation(layers), len(layers), average)
        x_held = torch.from_numpy(scale.apply(held_out))
        unit = _Unit.of(data.labels)
        truth = torch.from_numpy(unit.apply(data.labels)), torch.from_numpy(unit.apply(held))
        rows = _Rows(x, truth[0], x_held, truth[1], data.outputs)
        for start in range(0, len(group), _TOGETHER):
            part = group[start : start + _TOGETHER]
            for setting, best in zip(part, _train(rows, part), strict=True):
                found[setting] = _folded(unit.undone(best), scale, setting, rows)
    return [found[setting] for setting in grid]


@dataclass(frozen=True, slots=True)
class _Unit:
    """The mean and the deviation of numbers, in which they are learnt; of labels 0 and 1."""

    mean: float = 0.0
    deviation: float = 1.0

    @staticmethod
    def of(truth: Truth) -> "_Unit":
        if form(truth) != "number":
            return _Unit()
        wide = np.asarray(truth, np.float64)
        return _Unit(float(wide.mean()), float(wide.std()) or 1.0)

    def apply(self, truth: Truth) -> Truth:
        if form(truth) != "number":
            return truth
        return ((truth - self.mean) / self.deviation).astype(np.float32)

    def undone(self, best: Sequence[Tensor]) -> list[Tensor]:
        """The weights whose answers are in the numbers' own unit."""
        inner, shift, outer, offset = best
        return [inner, shift, outer * self.deviation, offset * self.deviation + self.mean]


@dataclass(frozen=True, slots=True)
class _Rows:
    x: Tensor
    labels: Tensor
    x_held: Tensor
    held: Tensor
    outputs: int


def _train(rows: _Rows, group: Sequence[HiddenSetting]) -> list[list[Tensor]]:
    """The best weights of each setting: inner, inner bias, outer, outer bias; rows on the left."""
    draws = [torch.Generator().manual_seed(setting.seed) for setting in group]
    tensors = [t.requires_grad_() for t in _fresh(rows, group, draws)]
    best = [t.detach().clone() for t in tensors]
    lowest, age = torch.full((len(group),), torch.inf), torch.zeros(len(group))
    weights = torch.tensor([s.weights for s in group])
    # Of several labels a row, each label weighs its own rows (`_losses`), and rows are alike; rows
    # with numbers are too.
    alike = rows.labels.ndim == 2 or rows.labels.is_floating_point()
    by_row = weights.new_ones(len(group), len(rows.x)) if alike else weights[:, rows.labels]
    # AdamW's decay would be the same for all: the penalty is in the loss, by its own strength.
    mass = torch.tensor([s.C for s in group]) * by_row.sum(1)
    pace = torch.tensor([s.lr for s in group])
    optimizer = _Adam(tensors, pace)
    for _ in range(_EPOCHS):
        order = torch.stack([torch.randperm(len(rows.x), generator=draw) for draw in draws])
        for start in range(0, len(rows.x), _BATCH):
            chosen = order[:, start : start + _BATCH]
            masks = _masks(group, draws, chosen.shape[1])
            logits = _forward(rows.x[chosen], tensors, masks)
            losses = _losses(logits, rows.labels[chosen], weights)
            scale = torch.gather(by_row, 1, chosen) / by_row.mean(1, keepdim=True)
            squares = tensors[0].pow(2).sum((1, 2)) + tensors[2].pow(2).sum((1, 2))
            loss = (losses * scale).mean(1) + 0.5 * squares / mass
            optimizer.step(torch.autograd.grad(loss.sum(), tensors))
        with torch.no_grad():
            wide = rows.x_held.expand(len(group), -1, -1)
            held = rows.held.expand(len(group), *rows.held.shape)
            now = _losses(_forward(wide, tensors), held).mean(1)
        better = (now < lowest) & (age < _PATIENCE)
        lowest = torch.where(better, now, lowest)
        # A problem that has ended stays ended, however its neighbours go on.
        age = torch.where(better, 0.0, age + 1)
        for kept, tensor in zip(best, tensors, strict=True):
            kept[better] = tensor.detach()[better]
        if (age >= _PATIENCE).all():
            break
    return [[t[i] for t in best] for i in range(len(group))]


class _Adam:
    """Adam (Kingma and Ba 2015, https://arxiv.org/abs/1412.6980) with a rate for each problem."""

    def __init__(self, tensors: Sequence[Tensor], pace: Tensor) -> None:
        self.tensors, self.pace, self.steps = tensors, pace, 0
        self.means = [torch.zeros_like(t) for t in tensors]
        self.squares = [torch.zeros_like(t) for t in tensors]

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor]) -> None:
        self.steps += 1
        first, second = 1 - 0.9**self.steps, 1 - 0.999**self.steps
        state = zip(self.tensors, gradients, self.means, self.squares, strict=True)
        for tensor, gradient, mean, square in state:
            mean.lerp_(gradient, 0.1)
            square.lerp_(gradient * gradient, 0.001)
            move = (mean / first) / ((square / second).sqrt() + 1e-8)
            tensor -= self.pace.reshape(-1, *[1] * (tensor.ndim - 1)) * move


def _fresh(
    rows: _Rows, group: Sequence[HiddenSetting], draws: Sequence[torch.Generator]
) -> list[Tensor]:
    features, hidden = rows.x.shape[1], group[0].hidden
    inner = [torch.randn(features, hidden, generator=d) / features**0.5 for d in draws]
    outer = [torch.randn(hidden, rows.outputs, generator=d) / hidden**0.5 for d in draws]
    none = torch.zeros(len(group), 1, hidden), torch.zeros(len(group), 1, rows.outputs)
    return [torch.stack(inner), none[0], torch.stack(outer), none[1]]


def _masks(group: Sequence[HiddenSetting], draws: Sequence[torch.Generator], rows: int) -> Tensor:
    kept = [
        (torch.rand(rows, s.hidden, generator=draw) >= s.dropout) / (1 - s.dropout)
        for s, draw in zip(group, draws, strict=True)
    ]
    return torch.stack(kept)


def _forward(x: Tensor, tensors: Sequence[Tensor], masks: Tensor | None = None) -> Tensor:
    """(problems, rows, outputs) of x, (problems, rows, features)."""
    inner, shift, outer, offset = tensors
    found = torch.nn.functional.gelu(torch.baddbmm(shift, x, inner))
    return torch.baddbmm(offset, found if masks is None else found * masks, outer)


def _losses(logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
    """(problems, rows) log-loss; of several labels a row, its sum over labels.

    Args:
        logits: (problems, rows, outputs).
        labels: (problems, rows) class indices, or (problems, rows, outputs) 0 or 1; or (problems,
            rows) numbers, whose loss is half the squared error.
        weights: (problems, outputs) of the rows with a label, where there are several.
    """
    if labels.ndim == 3:
        wide = None if weights is None else weights[:, None, :]
        return torch.nn.functional.binary_cross_entropy_with_logits(
            logits, labels, pos_weight=wide, reduction="none"
        ).sum(-1)
    if labels.is_floating_point():
        return (logits[..., 0] - labels).pow(2) / 2
    shares = logits.log_softmax(-1)
    return -shares.gather(-1, labels.unsqueeze(-1)).squeeze(-1)


def _folded(best: Sequence[Tensor], scale: Scale, setting: HiddenSetting, rows: _Rows) -> HiddenFit:
    with torch.no_grad():
        wide = [t.unsqueeze(0) for t in best]
        held, train = (_forward(x.unsqueeze(0), wide)[0].numpy() for x in (rows.x_held, rows.x))
    inner, shift, outer, offset = (t.numpy() for t in best)
    folded, moved = scale.fold(inner.T.astype(np.float64), shift[0].astype(np.float64))
    if setting.average:
        count = len(setting.layers)
        folded = np.tile(folded / np.float32(count), (1, count))
    return HiddenFit((folded, moved), (np.ascontiguousarray(outer.T), offset[0]), held, train)
