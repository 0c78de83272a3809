"""Processes that something else slowed down are outnumbered, not left out."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle

import numpy as np
import pytest

from sartor.bundle import Bundle
from sartor.judge.limits import over_processes
from sartor.serve import timing
from sartor.serve.timing import Load

QUIET, SLOWED = [10.0, 11.0, 12.0], [17.0, 18.0, 19.0]


def _given(monkeypatch: pytest.MonkeyPatch, taken: Iterator[list[float]]) -> None:
    monkeypatch.setattr(timing, "_one_process", lambda *_: next(taken))


def test_one_process_in_six_that_was_slowed_brings_six_more(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
):
    _given(monkeypatch, cycle([*[QUIET] * 4, SLOWED, QUIET]))
    found = timing.measure(bundle.folder, ["money"], Load(requests=3))
    assert found.shape == (12, 3)
    assert (found == SLOWED).all(1).sum() == 2
    tails = np.percentile(found, 95, axis=1)
    measured = over_processes(tails, "")
    assert (measured.low, measured.high, measured.n) == (*[np.percentile(QUIET, 95)] * 2, 12)


def test_even_processes_and_sparing_loads_stay_as_many(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
):
    _given(monkeypatch, cycle([QUIET, [12.0, 13.0, 14.0]]))
    assert timing.measure(bundle.folder, ["money"], Load(requests=3)).shape == (6, 3)
    _given(monkeypatch, cycle([QUIET, SLOWED]))
    sparing = replace(Load().sparing(), requests=3)
    assert timing.measure(bundle.folder, ["money"], sparing).shape == (6, 3)
