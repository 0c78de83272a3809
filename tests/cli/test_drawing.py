"""What a user sees while they wait, in a terminal and in a pipe."""

import os
import pty
import re
import subprocess
import sys
from io import StringIO

import pytest
from rich.console import Console
from rich.progress import Progress

from sartor.cli.drawing import _Bars, drawing
from sartor.core.events import CandidateTried, Note, StageDone, StageProgress, StageStarted

EVENTS = (
    StageStarted("encode", 100, "texts"),
    StageProgress("encode", 50, 100, "退款 [b]"),
    StageDone("encode", "100 texts, 20/s"),
    StageProgress("tune", 30, 30, "loss 0.1"),
    CandidateTried("lora, tiny (rank=8)", {"recall[label=退款] >= 0.9": 0.91}, 0.83, 4.2),
    Note("careful", "warning"),
)

_DRAWN = """
import time
from sartor.cli.drawing import drawing
from sartor.core.events import *
with drawing() as emit:
    emit(StageStarted("encode", 100, "texts"))
    emit(StageProgress("encode", 50, 100))
    time.sleep(0.5)  # bars are drawn ten times a second
    emit(Note("careful", "warning"))
    emit(StageDone("encode", "100 texts"))
"""


def on_a_terminal(**environment: str) -> str:
    """Everything that the script draws when stderr is a terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", _DRAWN],
        stderr=theirs,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "TERM": "xterm",
            "COLUMNS": "120",
        }
        | environment,
    )
    os.close(theirs)
    seen = b""
    while True:
        try:
            piece = os.read(ours, 4096)
        except OSError:  # how Linux ends a terminal that nobody holds any more
            break
        if not piece:
            break
        seen += piece
    os.close(ours)
    assert process.wait(timeout=30) == 0
    return seen.decode()


def test_in_a_pipe_there_are_whole_lines_and_no_control_characters(
    capsys: pytest.CaptureFixture[str],
):
    with drawing() as emit:
        for event in EVENTS:
            emit(event)
    out, errors = capsys.readouterr()
    assert out == ""
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", errors)
    assert errors.splitlines() == [
        " encode    100 texts, 20/s",
        " climb     lora, tiny (rank=8): recall[label=退款] >= 0.9 0.91 · chance of meeting the"
        " need 83% (4 s)",
        "           careful",
    ]


def test_quiet_draws_nothing(capsys: pytest.CaptureFixture[str]):
    with drawing(quiet=True) as emit:
        for event in EVENTS:
            emit(event)
    assert capsys.readouterr() == ("", "")


def test_a_terminal_gets_bars_and_colours_unless_no_color_is_set():
    colour = re.compile(r"\x1b\[[0-9;]*3[0-9]")
    plain = on_a_terminal(NO_COLOR="1")
    assert "careful" in plain
    assert "50/100" in plain
    assert not colour.search(plain)
    assert colour.search(on_a_terminal(NO_COLOR=""))


def test_a_stage_that_begins_again_counts_from_nought_and_a_tried_candidate_ends_its_steps():
    screen = Console(file=StringIO(), force_terminal=True, width=100)
    bars = _Bars(progress := Progress(console=screen))
    bars(StageProgress("encode", 70, 100))
    bars(StageStarted("encode", 60))
    assert [(t.completed, t.total) for t in progress.tasks] == [(0, 60)]
    bars(StageProgress("tune", 30, 30))
    bars(CandidateTried("lora", {}, 0.1, 1.0))
    bars(StageDone("encode", "done"))
    assert list(progress.tasks) == []
