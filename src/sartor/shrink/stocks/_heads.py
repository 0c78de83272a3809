"""What lies behind the mean of an encoder: a head as steps, its files, its rule in words.

`_predict.py`, which lies in every such folder, goes by these files.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from inspect import signature
from pathlib import Path
from shutil import copyfile
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from sartor.core.protocols import Floats
from sartor.models.loading import quiet
from sartor.shrink.stock import Told, no_class, write_encoder_tokenizer
from sartor.shrink.stocks import _predict
from sartor.shrink.stocks._modules import Step, linear, write_encoder
from sartor.tasks._decision.logits import softmax
from sartor.tasks._encoder import heads

INSTEAD = "lora, full, top_layers or head"
"""Methods whose models such a folder holds."""
PREDICT, HEAD, WEIGHTS = "predict.py", "head.json", "head.safetensors"


@dataclass(frozen=True, slots=True)
class Head:
    """What lies behind the mean.

    Args:
        steps: One after the other.
        besides: Tensors that are needed before them, by name.
    """

    steps: Sequence[Step]
    besides: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])


def steps_of(head: nn.Module) -> list[Step]:
    """What the head computes, one step after the other.

    Raises:
        ModelError: If it is of a kind that is not known here.
    """
    if isinstance(head, heads.Linear):
        return [linear(head.weight, head.bias)]
    if isinstance(head, heads.Hidden):
        inner, outer = head.inner, head.outer
        return [
            linear(inner.weight, inner.bias),
            Step("gelu", {}),
            linear(outer.weight, outer.bias),
        ]
    if isinstance(head, heads.Cosine):
        none = torch.zeros(head.out_features)
        return [
            Step("shift", {"bias": -head.centre}),
            Step("normalize", {}),
            linear(head.scale * head.directions, none),
        ]
    raise no_class(f"an encoder under a {type(head).__name__} head", INSTEAD)


def write_encoder_and_head(
    model: Any, head: Head, fit: Path, told: Told, folder: Path, about: Mapping[str, Any]
) -> None:
    """Write what `AutoModel` and `AutoTokenizer` load, the head, and the script that uses both.

    Args:
        model: Has an encoder and the layers that are read of it.
        head: See `steps_of`.
        fit: Holds tokenizer.json.
        told: Of the bundle.
        folder: To write to.
        about: What else head.json says: `answers`, and what is read where it is not one text.

    Raises:
        ModelError: If no class of transformers holds the encoder.
    """
    if "sizes" in json.loads((fit / "classifier.json").read_text(encoding="utf-8")):
        raise no_class(
            "an encoder whose layers differ in heads or neurons (pruned)", instead=INSTEAD
        )
    segments = getattr(model, "separator", None) is not None
    with quiet():
        write_encoder(model.encoder, folder, told.outputs)
        write_encoder_tokenizer(fit, told.max_length, folder, segments=segments)
    pooled = "add_pooling_layer" in signature(type(model.encoder)).parameters
    said = {
        "prefix": told.prefix,
        "max_length": told.max_length,
        "layers": list(model.layers),
        "without_pooler": {"add_pooling_layer": False} if pooled else {},
        "head": [
            {"kind": step.kind, **({"name": str(at)} if step.tensors else {})}
            for at, step in enumerate(head.steps)
        ],
        "outputs": list(told.outputs),
        **about,
        "decision": dict(told.decision),
    }
    tensors = {
        f"{at}.{name}": tensor.contiguous()
        for at, step in enumerate(head.steps)
        for name, tensor in step.tensors.items()
    }
    tensors |= {name: tensor.contiguous() for name, tensor in head.besides.items()}
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    text = json.dumps(said, indent=1, ensure_ascii=False)
    (folder / HEAD).write_text(text + "\n", encoding="utf-8")
    copyfile(_predict.__file__, folder / PREDICT)


def labels_apart(ours: Floats, theirs: Floats, rule: Mapping[str, Any]) -> float:
    """Largest difference of a label's probability, of two (texts, outputs) logits."""
    temperature = rule.get("temperature", 1.0)
    shares = (softmax(each / temperature) for each in (ours, theirs))
    return float(np.abs(np.subtract(*shares)).max())


def rule_of_label(rule: Mapping[str, Any]) -> list[str]:
    """The decision rule of one label among several in words, for the card."""
    how = rule.get("rule", "mode")
    lines = [f"p = softmax(logits / {rule.get('temperature', 1.0):.6g})"]
    if how == "mode":
        weights = stated(rule.get("weights", {}), 1.0)
        lines.append(f"best = the label with the largest weight · p; weights {weights}")
    else:
        cuts = f", parted at {list(rule['cuts'])}" if how == "cuts" else ""
        shown = "mean place" if how == "cuts" else how
        lines.append(f"best = the {shown} of the levels by p{cuts}")
    least = rule.get("abstain_below", 0.0)
    return [*lines, f"no label where p of best is below {least:.6g}"]


def rule_section(rule: Sequence[str], told: Told, what: str) -> list[str]:
    """Lines of the card: the decision rule, and what is done to a text before.

    Args:
        rule: In words.
        told: Of the bundle.
        what: Is cut, with its verb.
    """
    return [
        "## Decision rule",
        "",
        "No library applies it by itself; `predict.py` does.",
        "",
        *(f"- {line}" for line in rule),
        f"- `{told.prefix}` is put before every text" if told.prefix else "- no prefix",
        f"- {what} cut after {told.max_length:,} tokens"
        + (", where the bundle reads on in windows" if told.windows else ""),
    ]


def stated(found: Mapping[str, float], usual: float) -> str:
    """Numbers by name, those that are as usual left out."""
    other = {name: round(value, 6) for name, value in found.items() if value != usual}
    return str(other) if other else f"are all {usual:g}"
