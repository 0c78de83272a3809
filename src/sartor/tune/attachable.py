"""Whether a method can be attached to a backbone, asked before anything is loaded or trained.

The backbone is built from its configuration on torch's meta device: layers with names and shapes
but no weights. The method is attached to that, and a batch of shapes goes through.
"""

from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from sartor.core.errors import ModelError, NothingToTune, SettingError
from sartor.core.types import Backbone, Candidate
from sartor.models.loading import empty_model
from sartor.tune.settings import read_settings

_FAULTS = (RuntimeError, TypeError, ValueError, AttributeError, LookupError)
"""What a forward pass raises whose layers do not fit one another."""


def why_not(backbone: Backbone, candidate: Candidate, task: str) -> str | None:
    """Why a candidate's method cannot be attached to a backbone; None where it can.

    Args:
        backbone: Only its folder's config.json is read.
        candidate: Its method and settings are tried.
        task: Name in the tasks registry.

    Raises:
        UnknownName: If there is no such method or task.
    """
    try:
        settings = read_settings(candidate.settings, task=task, method=candidate.method)
        with torch.device("meta"), torch.random.fork_rng(devices=[]):
            model = cast("nn.Module", settings.task.build(empty_model(Path(backbone.path)), 2))
            # What cannot be run without weights at all says nothing about the method.
            runs = _fault(model.eval()) is None
            settings.method.attach(model)
            fault = _fault(model.eval()) if runs else None
    except (NothingToTune, SettingError, ModelError) as error:
        return error.what
    if fault is not None:
        kind = type(cast("Any", model).encoder).__name__
        return f"method {candidate.method!r} does not fit {kind}: {fault}."
    return None


def _fault(model: nn.Module) -> str | None:
    """What a batch of shapes meets on its way, on the meta device."""
    ids = torch.ones(2, 8, dtype=torch.long)
    try:
        with torch.no_grad():
            model(ids, torch.ones_like(ids))
    except _FAULTS as error:
        return str(error) or type(error).__name__
    return None
