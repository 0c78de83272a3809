"""Checkpoints that survive a kill at any instant, without pickle.

A checkpoint is a folder `step-00000120`: safetensors files, state.json, and a manifest with the
SHA-256 of each. It is written under a staging name, flushed, then renamed; the one before it is
kept until the next is complete. A damaged one is noticed, named, removed, and the one before used.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from sartor.core.durable import staged_folder
from sartor.core.events import Emit, Note, silent
from sartor.core.seals import damage, seal

_KEPT = 2
_PREFIX = "step-"
_STATE = "state.json"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything a run needs to go on as if it had never stopped.

    Args:
        step: Optimiser steps done.
        tensors: Group (model, optimizer, best, …) to name to tensor.
        state: JSON values: random generators, position, history.
    """

    step: int
    tensors: Mapping[str, Mapping[str, Tensor]]
    state: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """The checkpoints of one run, in one folder that no other run writes to.

    Args:
        folder: Created if absent; leftovers of a killed writer are removed.
        emit: Told of damage.
    """

    folder: Path
    emit: Emit = field(default=silent)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for leftover in self.folder.glob(f".{_PREFIX}*"):
            shutil.rmtree(leftover)

    def save(self, snapshot: Snapshot) -> None:
        """Write durably, then drop all but the newest two.

        Raises:
            WorkspaceError: If the disk is full; the checkpoints before stay.
        """
        final = self.folder / f"{_PREFIX}{snapshot.step:08d}"
        with staged_folder(final) as staging:
            for group, tensors in snapshot.tensors.items():
                whole = {name: tensor.contiguous() for name, tensor in tensors.items()}
                save_file(whole, staging / f"{group}.safetensors")
            state = {"step": snapshot.step, **snapshot.state}
            (staging / _STATE).write_text(json.dumps(state), encoding="utf-8")
            seal(staging)
        for old in self._found()[_KEPT:]:
            shutil.rmtree(old)

    def newest(self, most: int | None = None) -> Snapshot | None:
        """The newest intact checkpoint; damaged ones newer than it are removed and reported.

        Args:
            most: Steps it may have done, where the fit is to end there.
        """
        for folder in self._found():
            if most is not None and int(folder.name.removeprefix(_PREFIX)) > most:
                continue
            fault = damage(folder)
            if fault is None:
                return _read(folder)
            text = f"Checkpoint {folder.name} is damaged ({fault}); using the one before."
            self.emit(Note(text, "warning"))
            shutil.rmtree(folder)
        return None

    def clear(self) -> None:
        """Remove every checkpoint, when the run's result is safe."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _found(self) -> list[Path]:
        return sorted(self.folder.glob(f"{_PREFIX}*"), reverse=True)


def flatten_optimizer(
    optimizer: torch.optim.Optimizer, names: Mapping[int, str]
) -> dict[str, Tensor]:
    """The optimizer's tensors as `name/slot`.

    Args:
        optimizer: After at least one step.
        names: Position of a parameter in the optimizer to its dotted name.
    """
    state = optimizer.state_dict()["state"]
    return {
        f"{names[index]}/{slot}": value
        for index, slots in state.items()
        for slot, value in slots.items()
    }


def restore_optimizer(
    optimizer: torch.optim.Optimizer, flat: Mapping[str, Tensor], names: Mapping[int, str]
) -> None:
    """The inverse of `flatten_optimizer`."""
    positions = {name: index for index, name in names.items()}
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in flat.items():
        name, _, slot = key.rpartition("/")
        state.setdefault(positions[name], {})[slot] = value
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def _read(folder: Path) -> Snapshot:
    state = json.loads((folder / _STATE).read_text(encoding="utf-8"))
    tensors = {path.stem: load_file(path) for path in folder.glob("*.safetensors")}
    return Snapshot(state["step"], tensors, state)
