"""Results of fits on disk: written whole, sealed, found again, and made anew where damaged."""

import fcntl
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors.numpy import load_file, save_file

from sartor.core.durable import staged_folder
from sartor.core.events import Emit, Note
from sartor.core.protocols import Fitted, Floats
from sartor.core.seals import damage, seal
from sartor.core.types import PUBLISHED
from sartor.tune.job import Result

_LOGITS = "logits.safetensors"


@contextmanager
def locked(place: Path) -> Iterator[None]:
    """One process at a time in a fit's folder; a second one waits, then finds the result."""
    place.mkdir(parents=True, exist_ok=True)
    with (place / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def intact(folder: Path, emit: Emit) -> bool:
    """Whether there is a result; a damaged one is removed and reported."""
    if not folder.exists():
        return False
    fault = damage(folder)
    if fault is not None:
        emit(Note(f"The result in {folder} is damaged ({fault}); fitting again.", "warning"))
        shutil.rmtree(folder)
    return fault is None


def write_fitted(done: Path, text: Mapping[str, Any], outcome: Result, seconds: float) -> None:
    """Keep a fit's model with its tokenizer, and what was found out.

    Args:
        done: The folder it becomes.
        text: How its model reads texts.
        outcome: Of the fit.
        seconds: That it took.
    """
    fit = {
        "seconds": seconds,
        "history": outcome.history,
        "cut": outcome.cut,
        "findings": outcome.findings,
        # Not part of the key: it decides the last bits only, and a fit is used as it is.
        "threads": torch.get_num_threads(),
    }
    logits = {"validation": outcome.validation_logits, "train": outcome.train_logits}
    with staged_folder(done) as folder:
        cast("Any", outcome.model).save(folder)
        outcome.tokenizer.save(str(folder / "tokenizer.json"))
        if outcome.published is not None:
            outcome.published.save(folder / PUBLISHED)
        save_file(
            {k: np.ascontiguousarray(v, dtype=np.float32) for k, v in logits.items()},
            folder / _LOGITS,
        )
        _write_json(folder / "text.json", text)
        _write_json(folder / "fit.json", fit)
        seal(folder)


def read_fitted(folder: Path) -> Fitted:
    """What `write_fitted` kept."""
    logits = load_file(folder / _LOGITS)
    fit = json.loads((folder / "fit.json").read_text(encoding="utf-8"))
    return Fitted(
        folder,
        logits["validation"],
        logits["train"],
        fit["seconds"],
        tuple(fit["history"]),
        fit["cut"],
    )


def keep_answers(fitted: Path, place: Path) -> None:
    """Keep the logits of a fit whose model goes.

    Args:
        fitted: Folder of the fit.
        place: The folder they come to lie in.
    """
    with staged_folder(place) as folder:
        shutil.copyfile(fitted / _LOGITS, folder / _LOGITS)
        seal(folder)


def read_answers(place: Path) -> Floats:
    """(held rows, outputs), as `keep_answers` kept them."""
    return load_file(place / _LOGITS)["validation"]


def _write_json(path: Path, value: Any) -> None:
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, indent=1)
    path.write_text(text + "\n", encoding="utf-8")
