import json
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from sartor.core.durable import write_durably
from sartor.core.workspace import Workspace
from sartor.models.precision import Precision, probe
from sartor.search import machine
from sartor.search.turns import turn
from tests.exports import filled_in
from tests.stories.shop import Here, Said, command, copy_of, open_shop

__all__ = ["filled_in"]


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
def shelf(common: Path) -> Workspace:
    """Holds what stages made in any story."""
    return Workspace.open(common / "shelf")


@pytest.fixture(scope="session")
def arithmetic() -> Precision:
    return probe()


@pytest.fixture(autouse=True)
def found_again(shelf: Workspace, arithmetic: Precision, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine is measured once, and a stage's result made once: its key tells all that it
    depends on, so a story whose shop is new finds what another's came to."""
    anew = Workspace.stage

    def stage(place: Workspace, name: str, key: str, build: Callable[[Path], None]) -> Path:
        def copy(to: Path) -> None:
            shutil.copytree(anew(shelf, name, key, build), to, dirs_exist_ok=True)

        return anew(place, name, key, copy)

    monkeypatch.setattr(Workspace, "stage", stage)
    monkeypatch.setattr(
        machine, "precision", partial(machine.precision, measure=lambda: arithmetic)
    )


@pytest.fixture(scope="session")
def finished(common: Path) -> Finished:
    """One whole run, shared: tests that change its workspace take `shop`."""
    folder, kept = common / "finished", common / "finished.json"
    with turn(common / "finished.lock", lambda: None):
        if not kept.is_file():
            shop = open_shop(folder)
            said = command("run", "need.yaml", "--json", cwd=shop, SARTOR_HOME=str(common / "home"))
            assert said.status == 0, said.err
            write_durably(kept, json.dumps(asdict(said)).encode())
    return Finished(folder, Said(**json.loads(kept.read_bytes())))


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
