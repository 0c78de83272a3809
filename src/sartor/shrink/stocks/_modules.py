"""An encoder, and what sentence-transformers goes on with from its mean over the tokens."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedModel

from sartor.tasks._encoder.files import write_json

_MODULE = "sentence_transformers.models."
_IDENTITY, _GELU = "torch.nn.modules.linear.Identity", "torch.nn.modules.activation.GELU"


@dataclass(frozen=True, slots=True)
class Step:
    """One operation behind the mean: linear, shift, gelu or normalize.

    Args:
        kind: Which.
        tensors: Of it, by their name behind the dot.
    """

    kind: str
    tensors: Mapping[str, Tensor]


def linear(weight: Tensor, bias: Tensor) -> Step:
    """x to W x + b, with W (out, in)."""
    return Step("linear", {"weight": weight.detach(), "bias": bias.detach()})


def name_outputs(config: Any, outputs: Sequence[str]) -> None:
    """Write names of outputs into a configuration."""
    config.id2label = dict(enumerate(outputs))
    config.label2id = {name: index for index, name in enumerate(outputs)}


def write_encoder(
    encoder: PreTrainedModel, folder: Path, outputs: Sequence[str] | None = None
) -> None:
    """Write weights and configuration as `AutoModel` loads them.

    Args:
        encoder: Its configuration is changed.
        folder: To write to.
        outputs: Names of what a head makes of it; None where there is no such head.
    """
    config: Any = encoder.config
    if outputs is not None:
        name_outputs(config, outputs)
    # Where the backbone lay on this machine is nobody's business.
    config._name_or_path = ""
    encoder.save_pretrained(folder)


def write_modules(
    folder: Path,
    max_length: int,
    prompts: Mapping[str, str],
    usual: str | None,
    steps: Sequence[Step],
) -> None:
    """Write what sentence-transformers reads, in the form that versions from 2 on know.

    Args:
        folder: With an encoder in it.
        max_length: Tokens a text is cut at.
        prompts: Put before texts, by name.
        usual: The one that is put there unless another is asked for; None for none.
        steps: Behind the mean over the tokens.
    """
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": max_length})
    named = {"prompts": dict(prompts), "default_prompt_name": usual}
    write_json(folder / "config_sentence_transformers.json", named)
    kinds = ["Transformer", "Pooling"]
    width = json.loads((folder / "config.json").read_text(encoding="utf-8"))["hidden_size"]
    pooling = {"word_embedding_dimension": width, "pooling_mode_mean_tokens": True}
    (folder / "1_Pooling").mkdir()
    write_json(folder / "1_Pooling" / "config.json", pooling)
    for step, following in zip(steps, [*steps[1:], None], strict=True):
        if step.kind == "gelu":
            continue  # the activation of the layer before
        kinds.append("Normalize" if step.kind == "normalize" else "Dense")
        place = folder / f"{len(kinds) - 1}_{kinds[-1]}"
        place.mkdir()
        if step.kind != "normalize":
            curved = following is not None and following.kind == "gelu"
            _write_dense(place, step, _GELU if curved else _IDENTITY)
    names = ["", *(f"{at}_{kind}" for at, kind in enumerate(kinds) if at)]
    modules = [
        {"idx": at, "name": str(at), "path": path, "type": _MODULE + kind}
        for at, (path, kind) in enumerate(zip(names, kinds, strict=True))
    ]
    write_json(folder / "modules.json", modules)


def _write_dense(place: Path, step: Step, activation: str) -> None:
    bias = step.tensors["bias"]
    weight = step.tensors.get("weight", torch.eye(len(bias)))
    shape = {
        "in_features": weight.shape[1],
        "out_features": weight.shape[0],
        "bias": True,
        "activation_function": activation,
    }
    write_json(place / "config.json", shape)
    tensors = {"linear.weight": weight.contiguous(), "linear.bias": bias.contiguous()}
    save_file(tensors, place / "model.safetensors", metadata={"format": "pt"})
