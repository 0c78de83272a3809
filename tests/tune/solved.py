"""Candidates that are solved in closed form on activations of a tiny backbone."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sartor.core.types import Candidate
from sartor.models.encode import EncodeSettings, TextEncoder
from sartor.models.precision import Precision
from sartor.tune.fit import TuneOptions, Tuner
from tests.tune.killed import tiny_backbone

_LENGTH = 64


def tuner_of(work: Path, task: str, outputs: Sequence[str], **options: Any) -> Tuner:
    """
    Args:
        work: An empty folder.
        task: Of the rows.
        outputs: Of the task.
        options: Further ones of `TuneOptions`.
    """
    backbone = tiny_backbone(work / "tiny")
    settings = EncodeSettings(max_length=_LENGTH)
    source = TextEncoder(backbone, None, precision=Precision(), settings=settings)
    told = TuneOptions(task=task, max_length=_LENGTH, **options)
    return Tuner({"tiny": backbone}, lambda _: source, work / "fits", outputs, told)


def candidate(method: str, **settings: Any) -> Candidate:
    return Candidate("tiny", "0" * 64, method, settings, seed=1)
