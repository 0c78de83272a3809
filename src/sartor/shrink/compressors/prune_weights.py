"""Sets the weights that matter least to zero, one by one; the matrices keep their shape.

Wanda removes, of each output, the weights with the smallest |W_oi| · ‖x_i‖, x_i over training
tokens (Sun et al. 2023, https://arxiv.org/abs/2306.11695); magnitude those with the smallest |W_oi|
(Han et al. 2015, https://arxiv.org/abs/1506.02626).

By itself it eases nothing, so no search tries it; it is there to be asked for by name. A graph
stores zeros like other numbers, and no kernel of the runtime skips them. As ONNX's sparse
initializers a weight takes 12 bytes instead of 4 (an int64 index beside it), so they pay above two
thirds of zeros only, and are made dense when the graph is loaded. What gets smaller is the graph
once it is zipped, for its way over a network.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn

from sartor.shrink.api import COMPRESSORS, Bench, Eased, Form, Place
from sartor.shrink.students import Whole, answers, write_form


@COMPRESSORS.add
@dataclass(frozen=True, slots=True)
class PruneWeights:
    """Zeroes a share of each output's weights, in every linear layer of the encoder."""

    eases: ClassVar[tuple[Eased, ...]] = ()
    trains: ClassVar[bool] = False
    place: ClassVar[Place] = "weights"

    sparsity: Annotated[float, Gt(0), Lt(1)] = 0.5
    """Share of an output's weights that go."""
    by: Literal["wanda", "magnitude"] = "wanda"
    """What a weight is measured by."""
    rows: Annotated[int, Ge(1)] = 256
    """Training rows that inputs are measured on, drawn by seed."""

    def compress(self, source: Form, target: Path, bench: Bench) -> None:
        whole = Whole.read("prune_weights", source, bench)
        layers = [m for m in whole.model.encoder.modules() if isinstance(m, nn.Linear)]
        norms = _norms(whole, layers, self.rows) if self.by == "wanda" else [1.0] * len(layers)
        gone = 0
        for layer, norm in zip(layers, norms, strict=True):
            count = int(self.sparsity * layer.in_features)
            worth = layer.weight.detach().abs() * norm
            least = torch.argsort(worth, dim=1, stable=True)[:, :count]
            gone += int(layer.weight.gather(1, least).count_nonzero())
            with torch.no_grad():
                layer.weight.scatter_(1, least, 0.0)
        if not gone:
            raise whole.nothing(
                f"a share of {self.sparsity} is no weight of any layer that is not zero already"
            )
        write_form(whole.model, source, target, bench.task)


def _norms(whole: Whole, layers: list[nn.Linear], most: int) -> list[Tensor]:
    """(in,) of each layer: length of an input over the tokens of some training rows."""
    batches = whole.batches(whole.sample(whole.bench.train, most))
    total = {layer: torch.zeros(layer.in_features, dtype=torch.float64) for layer in layers}
    masks: list[Tensor] = []

    def look(layer: nn.Linear) -> Callable[..., None]:
        def hook(_: nn.Module, taken: tuple[Any, ...]) -> None:
            total[layer] += (taken[0].double() * masks[0].unsqueeze(-1)).pow(2).sum((0, 1))

        return hook

    handles = [layer.register_forward_pre_hook(look(layer)) for layer in layers]
    try:
        for batch in batches:
            masks[:] = [batch.mask]
            answers(whole.model, [batch])
    finally:
        for handle in handles:
            handle.remove()
    return [found.sqrt().float() for found in total.values()]
