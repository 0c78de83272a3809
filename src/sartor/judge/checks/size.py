"""Size of what is shipped: every byte of the bundle's folder. Exact, so without an interval."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sartor.core.errors import Fault
from sartor.core.types import TargetKind
from sartor.judge.api import CHECKS, Measurement, Subject
from sartor.judge.limits import limit_fault, needs_bundle
from sartor.need.criterion import Criterion

METRICS: Mapping[str, str] = {"size_mb": "the bundle's files, in units of 1,000,000 bytes"}


@CHECKS.add
@dataclass(frozen=True, slots=True)
class Size:
    """Adds up the files."""

    metrics: Mapping[str, str] = field(default_factory=lambda: METRICS)
    target: TargetKind | None = None

    def fault(self, criterion: Criterion, outputs: Sequence[str]) -> Fault | None:
        return limit_fault(criterion)

    def measure(self, criterion: Criterion, subject: Subject) -> Measurement:
        if subject.folder is None:
            raise needs_bundle(criterion)
        size = folder_bytes(Path(subject.folder)) / 1e6
        return Measurement(size, size, size, 0)


def folder_bytes(folder: Path) -> int:
    """Bytes of all files below `folder`."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
