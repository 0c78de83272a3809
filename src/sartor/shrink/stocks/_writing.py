"""What the forms of models that write share."""

import json
from collections.abc import Sequence
from math import exp
from pathlib import Path
from typing import Any

from torch import Tensor

from sartor.core.errors import ModelError
from sartor.core.replies import as_said
from sartor.core.types import PUBLISHED
from sartor.shrink.stock import Answered
from sartor.tasks._encoder.files import plain_config, write_json


def needs_published(fit: Path) -> Path:
    """The folder with a model's own tokenizer.

    Raises:
        ModelError: If an earlier version left the fit, and there is none.
    """
    if not (fit / PUBLISHED).is_dir():
        raise ModelError(
            f"{fit} was left by an earlier version, which did not keep the model's own tokenizer.",
            fix=again(fit),
        )
    return fit / PUBLISHED


def again(fit: Path) -> str:
    """How a fit is made anew."""
    return f"delete {fit} and run its need again."


def write_config(config: Any, folder: Path) -> None:
    """Write config.json so that version 4 of transformers reads it too.

    Version 5 puts the base of rotary positions into a mapping of its own; version 4 looks for it
    beside the other numbers, and takes another one where it is not there.
    """
    path = folder / "config.json"
    found = json.loads(path.read_text(encoding="utf-8"))
    found.pop("_name_or_path", None)
    rope = plain_config(config).get("rope_parameters")
    if isinstance(rope, dict) and isinstance(theta := rope.get("rope_theta"), int | float):
        found["rope_theta"] = theta
        if (kind := rope.get("rope_type", "default")) != "default":
            rest = {key: value for key, value in rope.items() if key != "rope_theta"}
            found["rope_scaling"] = {**rest, "rope_type": kind}
    write_json(path, found)


def log_p_of(logits: Tensor, tokens: Tensor) -> tuple[float, int]:
    """ln p of tokens, and how many they are.

    Args:
        logits: (tokens, vocabulary), each before its token.
        tokens: (tokens,) ids.
    """
    shares = logits.float().log_softmax(-1).gather(1, tokens[:, None])
    return float(shares.sum()), len(tokens)


def furthest(found: Sequence[tuple[float, int]], answered: Answered) -> float:
    """Largest difference of how likely a model and the bundle find what the bundle wrote: of the
    geometric mean of its tokens' probabilities.

    Args:
        found: ln p of each text, and its tokens.
        answered: Says the same of the bundle.

    Raises:
        ModelError: If they do not cut a text into as many tokens.
    """
    most = 0.0
    for (log_p, tokens), row in zip(found, answered.logits, strict=True):
        said = as_said(row)
        if said is None or said.right_tokens != tokens:
            counts = f"{tokens} tokens, and the bundle {said.right_tokens if said else 'none'}"
            raise ModelError(
                f"The exported tokenizer cuts a text into {counts}.",
                fix="serve the bundle itself.",
            )
        ours, theirs = exp(said.right_log_p / tokens), exp(log_p / tokens)
        most = max(most, abs(ours - theirs))
    return most
