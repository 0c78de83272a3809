"""One export of a model for all who ask for it again, as laws do that make a form twice.

That the exporter gives the same bytes each time is shown in `shrink.test_export`, which does
without this; another model has another key, so a compressor that trains or chooses otherwise is
still found out.
"""

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
from torch.onnx._internal.exporter import _registration

from sartor.core.durable import write_durably
from sartor.core.hashing import digest, file_sha256
from sartor.shrink import export

Exporter = Callable[[Path, str], bytes]


@pytest.fixture(scope="session")
def remembering(common: Path) -> Exporter:
    anew = export.exported

    def exported(folder: Path, task: str) -> bytes:
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        key = digest(task, [[str(p.relative_to(folder)), file_sha256(p)] for p in files])
        kept = common / "exports" / f"{key}.onnx"
        if not kept.is_file():
            kept.parent.mkdir(exist_ok=True)
            write_durably(kept, anew(folder, task))
        return kept.read_bytes()

    return exported


@pytest.fixture(autouse=True)
def exported_once(remembering: Exporter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "exported", remembering)


@pytest.fixture(scope="session", autouse=True)
def operators_listed_once() -> Iterator[None]:
    """torch's exporter lists its thousands of operators anew for every graph, half a second each
    time; nothing here adds one."""
    with pytest.MonkeyPatch.context() as patch:
        listed = staticmethod(cache(_registration.ONNXRegistry.from_torchlib))
        patch.setattr(_registration.ONNXRegistry, "from_torchlib", listed)
        yield
