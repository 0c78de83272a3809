"""A fit that is killed with SIGKILL, anywhere, ends with the bytes of one that was not."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

FITS = {
    "full": {"epochs": 2, "lr": 1e-3, "batch_rows": 8, "accumulate": 2, "class_weight": "balanced"},
    "lora": {"epochs": 2, "lr": 5e-3, "batch_rows": 8, "lora_dropout": 0.1, "label_smoothing": 0.1},
    # The rank allocator's averages and its choice are in no tensor of the model.
    "adalora": {"epochs": 2, "lr": 1e-2, "batch_rows": 8, "rank": 2, "initial_rank": 4},
    # torch's own generator draws these masks, so its state must be in the checkpoint.
    "full, drawn": {"epochs": 2, "lr": 1e-3, "batch_rows": 8, "masks": "drawn", "layers": [1]},
    # What each of these remembers, or draws, must be in the checkpoint too.
    "full, regularised": {
        "epochs": 2,
        "lr": 1e-3,
        "batch_rows": 8,
        "thaw": 0.6,
        "average": "ema",
        "average_start": 0.2,
        "mixup": 0.3,
        "l2_sp": 0.1,
    },
}
PLAIN = "full"
# A checkpoint flushes about eight files and folders: the fsync counts fall inside the first, the
# second and the third checkpoint of an attempt, and inside the writing of the result.
KILLS = [
    [],
    [["step", 5], ["step", 6]],
    [["fsync", 1]],
    [["fsync", 5], ["fsync", 12]],
    [["fsync", 8], ["fsync", 9], ["step", 6], ["fsync", 17]],
]
# Where the writing is cut is nothing that a method knows of: one meets every schedule, the others
# those that show what their checkpoints hold.
OTHERS = [KILLS[0], KILLS[1], KILLS[-1]]


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """How every fit ended under every schedule of kills; the first schedule has none."""
    scenarios = [
        {"method": name.split(",")[0], "settings": settings, "kills": kills}
        for name, settings in FITS.items()
        for kills in schedules(name)
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.tune.killed", str(tmp_path_factory.mktemp("killed"))],
        input=json.dumps(scenarios),
        capture_output=True,
        text=True,
        timeout=240,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers = map(json.loads, done.stdout.splitlines())
    return {name: [next(answers) for _ in schedules(name)] for name in FITS}


def schedules(name: str) -> list[list[Any]]:
    return KILLS if name == PLAIN else OTHERS


@pytest.mark.parametrize("name", FITS)
def test_a_killed_fit_ends_with_the_bytes_of_one_that_was_not(
    ended: dict[str, list[dict[str, Any]]], name: str
) -> None:
    straight, *others = ended[name]

    for kills, other in zip(schedules(name)[1:], others, strict=True):
        assert len(other["struck"]) == len(kills), f"{kills}: a kill came after the end"
        assert other["hashes"] == straight["hashes"], kills


@pytest.mark.parametrize("name", FITS)
def test_a_killed_fit_goes_on_from_its_last_checkpoint(
    ended: dict[str, list[dict[str, Any]]], name: str
) -> None:
    notes = ended[name][1]["notes"]

    # Killed at steps 5 and 6, with a checkpoint every second step.
    assert [note.split(" of ")[0] for note in notes] == [
        "Resuming at step 4",
        "Resuming at step 4",
    ]
