"""One export of a model for all who ask for it again, as laws do that make a form twice.

That the exporter gives the same bytes each time is shown in `test_export`, which does without this;
another model has another key, so a compressor that trains or chooses otherwise is still found out.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from sartor.core.hashing import file_sha256
from sartor.shrink import export

Exporter = Callable[[Path, str], bytes]


@pytest.fixture(scope="session")
def remembering() -> Exporter:
    made: dict[tuple[object, ...], bytes] = {}
    anew = export.exported

    def exported(folder: Path, task: str) -> bytes:
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        key = (task, *((str(p.relative_to(folder)), file_sha256(p)) for p in files))
        if key not in made:
            made[key] = anew(folder, task)
        return made[key]

    return exported


@pytest.fixture(autouse=True)
def exported_once(remembering: Exporter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "exported", remembering)
