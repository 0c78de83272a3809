"""Where things are in an encoder: the parts of a transformer layer, under the names that
architectures give them.

A method that works on any linear layer needs none of this; one that needs the keys, or what follows
the feed-forward layer, says so here and learns whether the encoder has it.
"""

from collections.abc import Iterator
from typing import Literal

from torch import nn

from sartor.core.errors import NothingToTune

Part = Literal[
    "attention", "key", "value", "after_attention", "after_feedforward", "norms", "last_norm"
]

_NAMES: dict[Part, tuple[str, ...]] = {
    # BERT, RoBERTa, XLM-R, ELECTRA; DistilBERT; MPNet; ModernBERT.
    "attention": ("attention.self",),
    "key": ("attention.self.key", "attention.k_lin", "attention.attn.k"),
    "value": ("attention.self.value", "attention.v_lin", "attention.attn.v"),
    "after_attention": (
        "attention.output.dense",
        "attention.out_lin",
        "attention.attn.o",
        "attn.Wo",
    ),
    "after_feedforward": ("output.dense", "ffn.lin2", "mlp.Wo"),
    "norms": (
        "attention.output.LayerNorm",
        "output.LayerNorm",
        "sa_layer_norm",
        "output_layer_norm",
        "attention.LayerNorm",
        "attn_norm",
        "mlp_norm",
    ),
    # Of layers that normalise after the sum; ModernBERT's and GPT's normalise before.
    "last_norm": ("output.LayerNorm", "output_layer_norm"),
}
"""A part to its dotted names below a layer; an architecture has one of them, or several norms."""


_WORDS: dict[Part, str] = {
    "attention": "self-attention",
    "key": "projection to keys",
    "value": "projection to values",
    "after_attention": "linear layer after the attention",
    "after_feedforward": "second linear layer of the feed-forward part",
    "norms": "normalisation",
    "last_norm": "normalisation after the feed-forward part",
}


def find(model: nn.Module, part: Part) -> list[str]:
    """Dotted names, below `model`, of a part in every layer of its encoder.

    Raises:
        NothingToTune: If the encoder has none that is known.
    """
    found = [
        f"{layer}.{name}"
        for layer, module in _layers(model)
        for name in _NAMES[part]
        if _has(module, name)
    ]
    if not found:
        kind = type(model.get_submodule("encoder")).__name__
        raise NothingToTune(
            f"no layer of {kind} has a {_WORDS[part]} under a name that is known.",
            fix="choose another method: `--method lora` fits every encoder with linear layers.",
        )
    return found


def open_added(model: nn.Module, *more: str) -> None:
    """Train the head and the tensors whose dotted names contain one of `more`; nothing else."""
    for name, tensor in model.named_parameters():
        tensor.requires_grad_(name.startswith("head.") or any(part in name for part in more))


def _layers(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for stack, module in model.get_submodule("encoder").named_modules(prefix="encoder"):
        if isinstance(module, nn.ModuleList):
            yield from ((f"{stack}.{i}", layer) for i, layer in enumerate(module))


def _has(layer: nn.Module, name: str) -> bool:
    try:
        layer.get_submodule(name)
    except AttributeError:
        return False
    return True
