"""What the servers of a deployment say of themselves, each in a small file of its own.

A server writes `servers/NAME.json` beside the deployment's history: which change it serves, what
went wrong with a newer one, and the counts of each model. Files of ended servers are kept for
their counts, the newest of them.
"""

import os
import socket
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from sartor.core.durable import write_durably
from sartor.core.tables import now
from sartor.serve.figures import Compared, Counts, Figures

FRESH_S = 15.0
"""A server that has not reported for so long is gone."""
_PAUSE_S = 0.1
_KEPT, _MOST_BYTES, _LEFTOVER_S = 20, 1_000_000, 3_600
_STRICT = ConfigDict(extra="forbid", strict=True, frozen=True)
_Count = Field(ge=0)


class ModelCounts(BaseModel):
    """See `figures.Counts`."""

    model_config = _STRICT

    requests: int = _Count
    errors: int = _Count
    shed: int = _Count
    seconds: float = _Count
    times: dict[int, int]


class ShadowCounts(BaseModel):
    """See `figures.Compared`."""

    model_config = _STRICT

    live: str
    shadow: str
    agreed: int = _Count
    differed: int = _Count
    dropped: int = _Count
    failed: int = _Count


class Report(BaseModel):
    """One server."""

    model_config = _STRICT

    address: str = Field(max_length=500)
    started: AwareDatetime
    seen: AwareDatetime
    state: Literal["current", "changing", "failed", "stopped"]
    number: int = Field(ge=0)
    """The change that it serves."""
    wanted: int = Field(ge=0)
    """The change that it was told of last."""
    problem: str = Field(default="", max_length=4_000)
    """Why it does not serve that one."""
    models: dict[str, ModelCounts] = {}
    shadows: list[ShadowCounts] = []

    def running(self, at: datetime) -> bool:
        """Whether it was there within the last seconds."""
        return self.state != "stopped" and at - self.seen < timedelta(seconds=FRESH_S)


@dataclass(frozen=True, slots=True)
class Totals:
    """The counts of several servers together."""

    models: Mapping[str, Counts]
    shadows: Mapping[tuple[str, str], Compared]


def new_place(folder: Path) -> Path:
    """Where a starting server reports; what is too old there is removed."""
    folder.mkdir(parents=True, exist_ok=True)
    files = sorted(folder.glob("*.json"), key=_age)
    for old in files[_KEPT:]:
        old.unlink(missing_ok=True)
    for unfinished in folder.glob(".*.json.*"):
        if _age(unfinished) > _LEFTOVER_S:
            unfinished.unlink(missing_ok=True)
    return folder / f"{socket.gethostname()[:100]}-{os.getpid()}-{time.time_ns():x}.json"


def write(place: Path, report: Report) -> None:
    """
    Raises:
        WorkspaceError: If the disk is full.
    """
    write_durably(place, report.model_dump_json().encode())


def counted(figures: Figures) -> tuple[dict[str, ModelCounts], list[ShadowCounts]]:
    """A server's counts as its report has them."""
    models = {
        model: ModelCounts(
            requests=one.requests,
            errors=one.errors,
            shed=one.shed,
            seconds=one.seconds,
            times=dict(one.times),
        )
        for model, one in figures.models.items()
    }
    shadows = [
        ShadowCounts(
            live=live,
            shadow=shadow,
            agreed=one.agreed,
            differed=one.differed,
            dropped=one.dropped,
            failed=one.failed,
        )
        for (live, shadow), one in figures.shadows.items()
    ]
    return models, shadows


def read(folder: Path) -> list[Report]:
    """Every report, the newest server first; files that are none are passed over."""
    found: list[Report] = []
    for place in folder.glob("*.json"):
        try:
            with place.open("rb") as file:
                found.append(Report.model_validate_json(file.read(_MOST_BYTES)))
        except (OSError, ValidationError):
            continue
    return sorted(found, key=lambda report: report.started, reverse=True)


def settled(folder: Path, number: int, patience_s: float) -> list[Report]:
    """Wait until every running server has taken a change or failed to; gives the running ones.

    Args:
        folder: `Deployment.reports`.
        number: Of the change.
        patience_s: Longest wait; the reports then are as they are.
    """
    until = time.monotonic() + patience_s
    while True:
        found = [report for report in read(folder) if report.running(now())]
        done = all(one.wanted >= number and one.state != "changing" for one in found)
        if done or time.monotonic() >= until:
            return found
        time.sleep(_PAUSE_S)


def total(reports: list[Report]) -> Totals:
    models: dict[str, Counts] = {}
    shadows: dict[tuple[str, str], Compared] = {}
    for report in reports:
        for model, one in report.models.items():
            counts = models.setdefault(model, Counts())
            counts.requests += one.requests
            counts.errors += one.errors
            counts.shed += one.shed
            counts.seconds += one.seconds
            counts.times += Counter(one.times)
        for one in report.shadows:
            compared = shadows.setdefault((one.live, one.shadow), Compared())
            compared.agreed += one.agreed
            compared.differed += one.differed
            compared.dropped += one.dropped
            compared.failed += one.failed
    return Totals(models, shadows)


def _age(place: Path) -> float:
    """Seconds since it was written; a file that is gone is as old as can be."""
    try:
        return time.time() - place.stat().st_mtime
    except OSError:
        return float("inf")


def fresh(figures: Figures, before: Report) -> Report:
    """The same report, as of now."""
    models, shadows = counted(figures)
    return before.model_copy(update={"seen": now(), "models": models, "shadows": shadows})
