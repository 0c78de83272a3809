"""What is measured once: a busy machine must not make every result anew."""

from pathlib import Path

import pytest

from sartor.core.workspace import Workspace
from sartor.models.precision import Precision
from sartor.search import machine
from sartor.search.machine import precision, processor


def test_the_precision_that_was_measured_first_holds_in_the_workspace(tmp_path: Path):
    place = Workspace.open(tmp_path)
    first = precision(place, lambda: Precision("bfloat16", 100.0, 300.0))
    again = precision(place, lambda: Precision("float32", 90.0, 95.0))
    assert again == first == Precision("bfloat16", 100.0, 300.0)
    elsewhere = precision(Workspace.open(tmp_path / "b"), lambda: Precision("float32", 1.0, 1.0))
    assert elsewhere.dtype == "float32"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff"])
def test_a_damaged_record_is_measured_again(tmp_path: Path, content: bytes):
    place = Workspace.open(tmp_path)
    (place.folder / "machine.json").write_bytes(content)
    assert precision(place, lambda: Precision("float32", 5.0, 1.0)).fp32_gflops == 5.0
    assert precision(place, lambda: Precision("bfloat16", 1.0, 5.0)).fp32_gflops == 5.0


def test_a_workspace_that_wakes_up_on_another_processor_measures_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    place = Workspace.open(tmp_path)
    core = "processor : {}\nmodel name : EPYC\ncpu MHz : {}\nflags : fma {}\n"
    for number, flags in enumerate(("avx2 avx512_bf16", "avx2")):
        (tmp_path / flags).write_text(core.format(0, 2400, flags) + core.format(1, 2500, flags))
        found = processor(tmp_path / flags)
        assert found == f"model name : EPYC\nflags : fma {flags}"
        monkeypatch.setattr(machine, "processor", lambda found=found: found)
        measured = Precision("float32", float(number), 1.0)
        assert precision(place, lambda measured=measured: measured) == measured
    assert processor(tmp_path / "absent") == processor(tmp_path / "absent too")
