"""What a served bundle uses is that of fresh serving processes, and of nothing else."""

import os
import subprocess
import sys

import pytest

from sartor.core.errors import BundleError, SettingError
from sartor.serve.timing import Load
from sartor.serve.using import measure, peak_memory_mib

SHORT = Load(requests=40, threads=1, processes=2, warm_up=2)


def test_each_fresh_process_gives_a_positive_time_and_they_share_the_most_memory(bundle):
    found = measure(bundle.folder, ["money back", "hello weather"], SHORT)
    assert len(found.cpu_seconds) == len(found.busy_seconds) == 2
    assert found.busy_memory_mib >= found.memory_mib
    assert all(0 < cpu < 5 for cpu in (*found.cpu_seconds, *found.busy_seconds))
    # An interpreter with ONNX Runtime; nothing of the trainer.
    assert 30 < found.memory_mib < 400


def test_the_key_of_the_users_own_server_is_not_asked_for(bundle, monkeypatch):
    monkeypatch.setenv("SARTOR_API_KEY", "0123456789abcdef0123456789abcdef")
    assert measure(bundle.folder, ["hello"], Load(5, 1, 1, 1)).cpu > 0
    assert os.environ["SARTOR_API_KEY"]


def test_a_bundle_that_cannot_be_served_is_named(bundle):
    graph = bundle.folder / "model.onnx"
    with pytest.raises(SettingError, match="Nothing to measure"):
        measure(bundle.folder, [], SHORT)
    graph.write_bytes(b"x" + graph.read_bytes()[1:])
    with pytest.raises(BundleError, match=r"model\.onnx"):
        measure(bundle.folder, ["hello"], SHORT)


def test_a_process_that_ends_at_once_tells_why(bundle):
    with pytest.raises(BundleError, match="could not be measured in a fresh serving process") as it:
        measure(bundle.folder, ["hello"], Load(5, -1, 1, 1))
    assert "sartor serve" in it.value.fix


def test_the_memory_of_a_process_is_not_that_of_its_parent():
    """`ru_maxrss` of a child begins with its parent's; the peak that is read here does not."""
    held = bytearray(b"x" * 300 * 1024**2)
    code = "from sartor.serve.using import peak_memory_mib as p; print(p())"
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert peak_memory_mib() > len(held) / 1024**2
    assert float(said) < 200
