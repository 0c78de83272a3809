import json
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.stories.shop import Here, Said, command, copy_of, open_shop


@dataclass(frozen=True, slots=True)
class Finished:
    """A shop whose need was run once by the command line."""

    folder: Path
    said: Said

    @property
    def bundle(self) -> Path:
        (found,) = (self.folder / ".sartor" / "bundles").iterdir()
        return found


@pytest.fixture(autouse=True)
def quiet_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No hub, no user's store, and the signal handlers and threads as they were."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("SARTOR_HOME", str(tmp_path / "home"))
    handler, threads = signal.getsignal(signal.SIGTERM), torch.get_num_threads()
    yield
    signal.signal(signal.SIGTERM, handler)
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """One whole run, shared: tests that change its workspace take `shop`."""
    folder = open_shop(tmp_path_factory.mktemp("shop"))
    home = str(tmp_path_factory.mktemp("home"))
    said = command("run", "need.yaml", "--json", cwd=folder, SARTOR_HOME=home)
    assert said.status == 0, said.err
    return Finished(folder, said)


@pytest.fixture
def shop(finished: Finished, tmp_path: Path) -> Finished:
    """A copy of the finished shop that a test may change."""
    folder = copy_of(finished.folder, tmp_path / "shop")
    need = folder / ".sartor" / "runs" / "1" / "need.json"
    kept = json.loads(need.read_text()) | {"root": str(folder)}
    need.write_text(json.dumps(kept))
    return Finished(folder, finished.said)


@pytest.fixture
def new_shop(tmp_path: Path) -> Path:
    """Before any run."""
    return open_shop(tmp_path / "shop")


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, capsys: Any, tmp_path: Path) -> Here:
    return Here(monkeypatch, capsys, tmp_path / "shop")
