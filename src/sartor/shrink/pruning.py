"""Which units of an encoder's layers stay: heads or neurons, ranked over all layers at once."""

from collections.abc import Callable, Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn

from sartor.core.likelihood import unknown
from sartor.core.types import Examples
from sartor.shrink.api import Bench
from sartor.shrink.students import Batch, Whole
from sartor.tasks import TASKS
from sartor.tasks._encoder.model import TextClassifier, layer_stack
from sartor.tasks._encoder.sizes import Part

Find = Callable[[nn.Module], Part | None]


def prune(whole: Whole, find: Find, share: float, rows: int, step: int = 1) -> TextClassifier:
    """A copy of the model that keeps a share of its units, the most important ones.

    Args:
        whole: With labels, which the importance is measured by.
        find: A layer to the part whose units go.
        share: Of all units, in (0, 1); each layer keeps at least `step`, or what it has.
        rows: Training rows to look at, drawn by seed.
        step: What a layer keeps is a multiple of this, for the matrix kernels.

    Raises:
        NothingToShrink: If the layers have no such part, or no unit would go.
    """
    parts = _parts(whole, whole.model, find)
    scores = importance(whole, parts, rows)
    counts = shared_out([len(s) for s in scores], _order(scores), share, step)
    if counts == [part.units for part in parts]:
        raise whole.nothing(f"each of {len(parts)} layers has the least that it can have")
    student = deepcopy(whole.model)
    for part, score, count in zip(_parts(whole, student, find), scores, counts, strict=True):
        best = torch.argsort(score, descending=True, stable=True)[:count]
        part.keep(best.sort().values)
    return student


def importance(whole: Whole, parts: Sequence[Part], most: int) -> list[Tensor]:
    """How much the loss would change if a unit were silenced, (units,) for each layer.

    I_u = Σ_rows |Σ_tokens a_u · ∂L/∂a_u|,  a_u what the unit feeds on, scaled to length 1 a layer
    Michel et al. 2019, https://arxiv.org/abs/1905.10650; Molchanov et al. 2017,
    https://arxiv.org/abs/1611.06440

    Args:
        whole: L is the cross-entropy with its labels; of a row without one, with its own answer.
        parts: One a layer.
        most: Training rows to look at, drawn by seed.
    """
    entered: list[Tensor] = [torch.empty(0)] * len(parts)

    def look(index: int) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def hook(_: nn.Module, taken: tuple[Tensor, ...]) -> None:
            taken[0].retain_grad()
            entered[index] = taken[0]

        return hook

    rows = whole.sample(whole.bench.train, most)
    labels = _truth(rows, whole.bench)
    total = [torch.zeros(part.units) for part in parts]
    handles = [p.reader.register_forward_pre_hook(look(i)) for i, p in enumerate(parts)]
    try:
        for batch in whole.batches(rows):
            _loss(whole.model, batch, labels[batch.places]).backward()
            for i, (part, activation) in enumerate(zip(parts, entered, strict=True)):
                assert activation.grad is not None
                felt = (activation.detach() * activation.grad).sum(1)
                total[i] += felt.view(len(felt), part.units, part.width).sum(2).abs().sum(0)
    finally:
        for handle in handles:
            handle.remove()
        whole.model.zero_grad(set_to_none=True)
    return [found / found.norm().clamp(min=1e-12) for found in total]


def shared_out(sizes: Sequence[int], order: Sequence[int], share: float, step: int) -> list[int]:
    """How many units each layer keeps.

    Args:
        sizes: Units of each layer.
        order: The layer of every unit, the most important unit first.
        share: Of all units.
        step: See `prune`.
    """
    wanted = max(1, round(share * sum(sizes)))
    found = [0] * len(sizes)
    for layer in order[:wanted]:
        found[layer] += 1
    return [
        min(size, max(step, round(count / step) * step))
        for size, count in zip(sizes, found, strict=True)
    ]


def _order(scores: Sequence[Tensor]) -> list[int]:
    owners = torch.cat([torch.full((len(s),), i) for i, s in enumerate(scores)])
    return owners[torch.argsort(torch.cat(list(scores)), descending=True, stable=True)].tolist()


def _truth(rows: Examples, bench: Bench) -> Tensor:
    """The rows' truth (see `core.likelihood`), `UNKNOWN` for a row without one."""
    there = [i for i, target in enumerate(rows.target) if target is not None]
    told = TASKS.get(bench.task)().truth(rows.take(there), bench.outputs)
    found = unknown(len(rows), told)
    found[there] = told
    return torch.from_numpy(found)


def _loss(model: TextClassifier, batch: Batch, labels: Tensor) -> Tensor:
    logits = model(batch.ids, batch.mask)
    if labels.is_floating_point() and labels.ndim == 1:
        said = logits[:, 0]
        return (said - torch.where(labels.isnan(), said.detach(), labels)).pow(2).sum()
    if labels.is_floating_point():
        wanted = torch.where(labels < 0, (logits > 0).float(), labels)
        return nn.functional.binary_cross_entropy_with_logits(logits, wanted, reduction="sum")
    if labels.ndim == 3:  # any of some is right
        labels, best = labels[:, 0], logits.argmax(1, keepdim=True)
        right = torch.where((labels < 0).all(1, keepdim=True), best, labels)
        named = logits.log_softmax(1).gather(1, right.clamp(min=0))
        return -named.masked_fill(right < 0, float("-inf")).logsumexp(1).sum()
    wanted = torch.where(labels < 0, logits.argmax(1), labels)
    return nn.functional.cross_entropy(logits, wanted, reduction="sum")


def _parts(whole: Whole, model: TextClassifier, find: Find) -> list[Part]:
    found = [find(layer) for layer in layer_stack(model.encoder) or ()]
    parts = [part for part in found if part is not None]
    if not parts or len(parts) < len(found):
        kind = type(model.encoder).__name__
        raise whole.nothing(f"{kind} keeps them under no known name")
    return parts
