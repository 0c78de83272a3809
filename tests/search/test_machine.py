"""What is measured once: a busy machine must not make every result anew."""

from pathlib import Path

import pytest

from sartor.core.workspace import Workspace
from sartor.models.precision import Precision
from sartor.search.machine import precision


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
