"""Events drawn on stderr: a line for each finished stage, a bar for the one that runs."""

import json
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from sartor.core.events import (
    CandidateTried,
    Emit,
    Event,
    Note,
    StageDone,
    StageProgress,
    StageStarted,
    silent,
)

_STAGE_WIDTH = 9
_QUIET_SECONDS = 10.0
"""Without a terminal a running stage speaks at most this often."""


def console() -> Console:
    """Progress and messages: stderr, so that stdout holds data only."""
    return Console(stderr=True, highlight=False)


def write_json(value: Any) -> None:
    """One JSON object on one line of stdout."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, default=str) + "\n")
    sys.stdout.flush()


@contextmanager
def drawing(*, quiet: bool = False) -> Generator[Emit]:
    """An `emit` that draws until the block ends."""
    if quiet:
        yield silent
        return
    screen = console()
    if not screen.is_terminal:
        yield _Plain(screen)
        return
    progress = Progress(
        TextColumn(" {task.fields[stage]:<" + str(_STAGE_WIDTH) + "}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[detail]}"),
        console=screen,
        transient=True,
    )
    with progress:
        yield _Bars(progress)


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f}/s" if speed and speed >= 1 else "")


def _line(event: Event) -> Text | None:
    if isinstance(event, StageDone):
        return Text(f" {event.stage:<{_STAGE_WIDTH}} {event.summary}")
    if isinstance(event, Note):
        style = "yellow" if event.level == "warning" else "dim"
        return Text(f" {'':<{_STAGE_WIDTH}} {event.text}", style=style)
    if isinstance(event, CandidateTried):
        scores = " · ".join(f"{name} {value:.3g}" for name, value in event.scores.items())
        text = f"{event.label}: {scores} · chance of meeting the need {event.chance:.0%}"
        why = f", {event.why}" if event.why else ""
        return Text(f" {'climb':<{_STAGE_WIDTH}} {text} ({event.seconds:.0f} s{why})")
    return None


class _Plain:
    """For logs and pipes: whole lines, no control characters."""

    def __init__(self, screen: Console) -> None:
        self.screen, self.last = screen, time.monotonic()

    def __call__(self, event: Event) -> None:
        line = _line(event)
        if line is None and isinstance(event, StageProgress):
            if time.monotonic() - self.last < _QUIET_SECONDS:
                return
            of = f"/{event.total:,}" if event.total else ""
            line = Text(
                f" {event.stage:<{_STAGE_WIDTH}} {event.done:,}{of} {event.detail}".rstrip()
            )
        if line is not None:
            self.last = time.monotonic()
            self.screen.print(line, soft_wrap=True)


class _Bars:
    """For terminals: one bar a running stage, which gives way to its line."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.tasks: dict[str, Any] = {}

    def __call__(self, event: Event) -> None:
        if isinstance(event, StageStarted):
            self._end(event.stage)
            self._task(event.stage, event.total)
        elif isinstance(event, StageProgress):
            task = self._task(event.stage, event.total)
            total = event.total or None
            self.progress.update(task, completed=event.done, total=total, detail=event.detail)
        elif isinstance(event, StageDone):
            self._end(event.stage)
        elif isinstance(event, CandidateTried):
            self._end("tune")  # the next candidate's steps count from nought again
        if (line := _line(event)) is not None:
            self.progress.console.print(line, soft_wrap=True)

    def _end(self, stage: str) -> None:
        if stage in self.tasks:
            self.progress.remove_task(self.tasks.pop(stage))

    def _task(self, stage: str, total: int) -> Any:
        if stage not in self.tasks:
            self.tasks[stage] = self.progress.add_task(
                "", total=total or None, stage=stage, detail=""
            )
        return self.tasks[stage]
