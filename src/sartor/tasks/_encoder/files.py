"""How a fitted model lies on disk: its numbers, and the shape that they are to be read in."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

from huggingface_hub.errors import StrictDataclassError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel
from transformers.initialization import no_init_weights

from sartor.core.errors import ModelError

WEIGHTS, SHAPE = "model.safetensors", "classifier.json"
_FAULTS = (OSError, KeyError, TypeError, ValueError, RuntimeError, StrictDataclassError)
"""What reading a model raises where its files do not fit one another."""
_Model = TypeVar("_Model", bound=nn.Module)


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
    write_json(folder / SHAPE, shape)


def read_model(
    folder: Path, make: Callable[[Mapping[str, Any], Mapping[str, Tensor]], _Model]
) -> _Model:
    """What `write_model` wrote, in eval mode.

    Args:
        folder: Holds the model.
        make: A shape and its numbers to the model that has them.

    Raises:
        ModelError: If a file is missing or does not fit the others.
    """
    try:
        shape = json.loads((folder / SHAPE).read_text(encoding="utf-8"))
        return make(shape, load_file(folder / WEIGHTS)).eval()
    except ModelError:
        raise
    except _FAULTS as error:
        raise ModelError(
            f"{folder} does not hold a saved text classifier: {error}.",
            fix="train it again: `sartor run` rebuilds what is missing.",
        ) from error


def write_json(path: Path, value: object) -> None:
    """Keys in order, so that the same values are the same bytes."""
    path.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf-8")


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
