"""How a fitted model lies on disk: its numbers, and the shape that they are to be read in."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from safetensors.torch import save_file
from torch import nn
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel
from transformers.initialization import no_init_weights

WEIGHTS, SHAPE = "model.safetensors", "classifier.json"


def write_model(model: nn.Module, folder: Path, shape: Mapping[str, Any]) -> None:
    """Write `WEIGHTS` and `SHAPE`.

    Args:
        model: All of its parameters and buffers are written.
        folder: Made where it does not exist.
        shape: What the model is made of anew before its numbers are read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: value.contiguous() for name, value in model.state_dict().items()}
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    text = json.dumps(shape, indent=1, sort_keys=True) + "\n"
    (folder / SHAPE).write_text(text, encoding="utf-8")


def plain_config(config: PreTrainedConfig) -> dict[str, Any]:
    """A configuration without where the model lay on this machine.

    That is nobody's business, and never the same bytes.
    """
    found = config.to_dict()
    found.pop("_name_or_path", None)
    return found


def from_plain(
    values: Mapping[str, Any], architectures: Mapping[type[PreTrainedConfig], Any]
) -> PreTrainedModel:
    """The architecture that a plain configuration describes, its numbers not yet read.

    Args:
        values: From `plain_config`.
        architectures: One for each kind of configuration.

    Raises:
        KeyError, ValueError: If there is none of that kind.
    """
    own = dict(values)
    config = AutoConfig.for_model(own.pop("model_type"), **own)
    with no_init_weights():
        return cast("PreTrainedModel", architectures[type(config)](config))
