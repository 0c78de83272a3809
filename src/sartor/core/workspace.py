"""The workspace `.sartor/`: stage results by content, runs, bundles and the store.

    .sartor/
      VERSION            layout version, one integer
      store.db           SQLite tables (see `store`)
      activations/       what frozen backbones computed, pooled (see `activations`)
      states/            the same of every token, at layers that are trained upon
      answers/           what language models answered (see `llm.memory`)
      stages/NAME/KEY/   one stage result; the key covers inputs, settings, code and libraries
      stages/NAME/KEY.json   the SHA-256 of its files
      runs/N/            need.yaml, facts.json, result.json, report.html
      bundles/NAME-ID/   what ships
      deployments/NAME/  what is served under a name, and how it came to be (see `serve.deployment`)
      adapters/NAME-ID/  heads of users' own beside a bundle (see `bundle.adapter`)
      personal/          what became of each user when they were last tried

A stage result is built under a staging name, flushed, then renamed: it is whole or absent. Two
processes on one workspace may build the same result; one of them wins, both read the same bytes.
"""

import json
import os
import re
import shutil
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sartor.core.durable import disk_space, staged_folder, sweep, write_durably
from sartor.core.errors import WorkspaceError
from sartor.core.seals import damage, seal

LAYOUT = 1
FOLDER = ".sartor"


@dataclass(frozen=True, slots=True)
class Run:
    """One run's folder.

    Args:
        number: Counts from 1 in a workspace.
        folder: `runs/NUMBER`.
    """

    number: int
    folder: Path

    def fact(self, name: str, find: Callable[[], Any]) -> Any:
        """A fact about this machine or this moment, found once and replayed on resume.

        Args:
            name: Key in facts.json.
            find: Called when the run has no such fact yet; returns a JSON value.

        Returns:
            The value as JSON gives it back, the first time too (a tuple is a list): a resumed run
            must not see another value than an uninterrupted one.
        """
        known = self._json("facts.json")
        if name not in known:
            self.write_json("facts.json", {**known, name: find()})
            known = self._json("facts.json")
        return known[name]

    def recall(self, name: str) -> Any:
        """The fact that `fact` found under this name before, or None."""
        return self._json("facts.json").get(name)

    def write_json(self, name: str, value: Any) -> None:
        text = json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True) + "\n"
        write_durably(self.folder / name, text.encode("utf-8", "surrogatepass"))

    def read_json(self, name: str) -> Any:
        """Raises `WorkspaceError` when the run has no such file or it is damaged."""
        path = self.folder / name
        try:
            return json.loads(path.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            raise WorkspaceError(
                f"Run {self.number} has no {name}: it did not get that far.",
                fix=f"finish it with `sartor resume {self.number}`.",
            ) from None
        except (ValueError, RecursionError):
            raise self._damaged(path) from None

    def _json(self, name: str) -> dict[str, Any]:
        path = self.folder / name
        found: Any = self.read_json(name) if path.exists() else {}
        if not isinstance(found, dict):
            raise self._damaged(path)
        return found  # type: ignore[reportUnknownVariableType]

    def _damaged(self, path: Path) -> WorkspaceError:
        fix = "remove the run's folder and run the need again."
        return WorkspaceError(f"{path} is damaged.", fix=fix)


@dataclass(frozen=True, slots=True)
class Workspace:
    """A `.sartor/` folder whose layout this version understands."""

    folder: Path

    @staticmethod
    def open(root: Path | str = ".") -> "Workspace":
        """Open `root/.sartor`, creating it when absent.

        What killed processes left half-built is removed.

        Raises:
            WorkspaceError: If it is of a newer version or cannot be written.
        """
        folder = Path(root) / FOLDER
        with _usable(folder):
            folder.mkdir(parents=True, exist_ok=True)
            mark = folder / "VERSION"
            if not mark.exists():
                write_durably(mark, f"{LAYOUT}\n".encode())
                write_durably(folder / ".gitignore", b"*\n")
            found = mark.read_bytes()[:40].decode("ascii", "replace").strip()
        if not re.fullmatch(r"[0-9]{1,9}", found):
            raise WorkspaceError(
                f"{mark} holds {found[:20]!r}, not a layout number: it is damaged.",
                fix=f"write {LAYOUT} into it if a sartor of this version made the folder, or use"
                " another folder with --workspace.",
            )
        if int(found) > LAYOUT:
            raise WorkspaceError(
                f"{folder} has layout {found[:20]!r}; this sartor knows up to {LAYOUT}.",
                fix="upgrade with `pip install -U sartor`, or use another folder with --workspace.",
            )
        sweep(folder)
        return Workspace(folder)

    @property
    def store(self) -> str:
        """What `Store.open` takes: `SARTOR_STORE_URL`, or the path of the workspace's SQLite file.

        No URL of the file: one cannot hold a folder's `?`.
        """
        return os.environ.get("SARTOR_STORE_URL") or str(self.folder / "store.db")

    @property
    def activations(self) -> Path:
        return self.folder / "activations"

    @property
    def states(self) -> Path:
        return self.folder / "states"

    @property
    def answers(self) -> Path:
        return self.folder / "answers"

    @property
    def bundles(self) -> Path:
        return self.folder / "bundles"

    def work(self, key: str) -> Path:
        """Folder for half-done work (checkpoints) of the thing with that key."""
        path = self.folder / "work" / key[:32]
        path.mkdir(parents=True, exist_ok=True)
        return path

    def stage(self, name: str, key: str, build: Callable[[Path], None]) -> Path:
        """The stage result with that key; built when absent, and anew when it is damaged.

        Args:
            name: Stage, e.g. "clean".
            key: Content hash of everything the result depends on.
            build: Fills an empty folder; nothing is kept when it raises.
        """
        final = self.folder / "stages" / name / key[:32]
        seals = final.with_suffix(".json")
        # Those of earlier versions have no seals.
        if final.is_dir() and seals.exists() and damage(final, seals):
            shutil.rmtree(final)
        if not final.is_dir():
            seals.unlink(missing_ok=True)
            with staged_folder(final) as folder:
                build(folder)
            seal(final, seals)
        return final

    def new_run(self) -> Run:
        """Claim the next run number; two processes never get the same one."""
        runs = self.folder / "runs"
        with _usable(self.folder), disk_space(runs):
            runs.mkdir(exist_ok=True)
            number = max(self.run_numbers(), default=0) + 1
            while True:
                try:
                    (runs / str(number)).mkdir()
                    return Run(number, runs / str(number))
                except FileExistsError:
                    number += 1

    def run(self, number: int | None = None) -> Run:
        """An earlier run; the newest when no number is given.

        Raises:
            WorkspaceError: If there is no such run.
        """
        numbers = self.run_numbers()
        if not numbers:
            raise WorkspaceError(
                f"{self.folder} holds no run.", fix="start one with `sartor run need.yaml`."
            )
        wanted = numbers[-1] if number is None else number
        if wanted not in numbers:
            raise WorkspaceError(
                f"{self.folder} holds no run {wanted}.",
                fix=f"use one of {', '.join(map(str, numbers[-10:]))}.",
            )
        return Run(wanted, self.folder / "runs" / str(wanted))

    def run_numbers(self) -> list[int]:
        runs = self.folder / "runs"
        if not runs.is_dir():
            return []
        names = (entry.name for entry in os.scandir(runs))
        return sorted(int(name) for name in names if re.fullmatch(r"[1-9][0-9]{0,8}", name))


@contextmanager
def _usable(folder: Path) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise WorkspaceError(
            f"{folder} cannot be used: {error.strerror or error}.",
            fix="choose a folder you may write to with --workspace.",
        ) from error
