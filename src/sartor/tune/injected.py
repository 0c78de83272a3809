"""peft's layers in a model, and out of it again: what the methods that use peft share."""

from fnmatch import fnmatch
from typing import Any

from torch import Tensor, nn

from sartor.core.errors import NothingToTune
from sartor.tune.api import is_head

ADAPTER = "sartor"
"""The adapter's name, in peft's sense; it is part of its tensors' names."""


def choose_linears(model: nn.Module, where: str) -> list[str]:
    """Dotted names of the encoder's linear layers that match a glob.

    Args:
        model: Has an `encoder`.
        where: Glob over module names below the encoder.

    Raises:
        NothingToTune: If none does.
    """
    inside = model.get_submodule("encoder").named_modules(prefix="encoder")
    linears = [name for name, module in inside if isinstance(module, nn.Linear)]
    chosen = [n for n in linears if fnmatch(n.removeprefix("encoder."), where)]
    if not chosen:
        shown = ", ".join(n.removeprefix("encoder.") for n in linears[:12])
        raise NothingToTune(
            f"where={where!r} matches none of the encoder's {len(linears)} linear layers.",
            fix=f"choose among {shown or '(this encoder has none)'}.",
        )
    return chosen


def inject(model: nn.Module, config: Any) -> None:
    """Put the layers of a peft configuration into the model; they and the head train."""
    from peft import inject_adapter_in_model

    inject_adapter_in_model(config, model, ADAPTER)
    # Injection freezes everything else; the head has no pretrained weights to lean on.
    for name, tensor in model.named_parameters():
        if is_head(name):
            tensor.requires_grad_(True)


def low_rank(model: nn.Module) -> dict[str, tuple[Tensor, Tensor]]:
    """Dotted name of each layer with a LoRA to A (rank, in) and B (out, rank), the scale folded
    into B; copies."""
    from peft.tuners.lora import LoraLayer

    found: dict[str, tuple[Tensor, Tensor]] = {}
    for name, layer in model.named_modules():
        if isinstance(layer, LoraLayer):
            down: Any = layer.lora_A[ADAPTER]
            up: Any = layer.lora_B[ADAPTER]
            scaled = up.weight.detach() * layer.scaling[ADAPTER]
            found[name] = down.weight.detach().clone(), scaled
    return found


def draw_anew(model: nn.Module) -> None:
    """Every LoRA as it began: A drawn from torch's generator, B zero."""
    from peft.tuners.lora import LoraLayer

    for layer in model.modules():
        if isinstance(layer, LoraLayer):
            layer.reset_lora_parameters(ADAPTER, init_lora_weights=True)


def merge(model: nn.Module) -> None:
    """Fold every peft layer into the plain layer it stands beside."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    adapted = [(n, m) for n, m in model.named_modules() if isinstance(m, BaseTunerLayer)]
    for name, layer in adapted:
        layer.merge()
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, layer.get_base_layer())
    if hasattr(model, "peft_config"):
        del model.peft_config
    model.requires_grad_(True)
