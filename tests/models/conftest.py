from pathlib import Path

import pytest

from sartor.core.types import Backbone
from sartor.models.catalogue import find_backbone
from sartor.models.store import store
from tests.tiny import make_tiny_bert

REAL_STORE = store()
"""The user's own, read before the tests are given one that is empty."""


@pytest.fixture(autouse=True)
def own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Digests and converted starters go where the test's other files go."""
    monkeypatch.setenv("SARTOR_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path / "home"


@pytest.fixture
def tiny(tmp_path: Path) -> Backbone:
    return find_backbone(str(make_tiny_bert(tmp_path / "tiny")))
