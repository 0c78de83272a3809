"""Real processes that run what was shipped, with the pinned distributions and no others."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import httpx
import pytest

from sartor.bundle import Bundle, record_verdicts, write_bundle
from sartor.llm.prompt import FILE, Prompt
from sartor.serve.runtime import load
from tests.serve.conftest import bundle, make_bundle, manifest_of, parts

__all__ = ["bundle", "make_bundle", "parts"]

KEY = "a-key-of-32-characters-for-tests"
TEXTS = ["money back", "tax bill", "hello weather", "nothing known"]


def make_environment(folder: Path, pins: Sequence[str]) -> Path:
    """A virtual environment that holds what was pinned and nothing else; its `bin` is returned.

    The distributions are links to those installed here: `pip install -r` without an index.
    """
    venv.create(folder, symlinks=True, with_pip=False)
    (site,) = (folder / "lib").glob("python*/site-packages")
    for pin in pins:
        name, _, wanted = pin.partition("==")
        found = distribution(name)
        assert found.version == wanted
        for top in {file.parts[0] for file in found.files or ()} - {"..", "__pycache__"}:
            if not (site / top).exists():
                (site / top).symlink_to(Path(str(found.locate_file(top))))
    return folder / "bin"


def pip_install(environment: Path, words: Sequence[str], where: Path) -> None:
    """Run `pip install` with these words, as a shipped folder says it, without a network.

    Args:
        environment: The `bin` of a virtual environment.
        words: What follows `pip install`.
        where: The current folder.
    """
    pip = [sys.executable, "-m", "pip", "--python", str(environment / "python"), "install"]
    quiet = ["--no-index", "--no-compile", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run(
        [*pip, *quiet, *words], cwd=where, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@contextmanager
def started(command: Sequence[str], environment: Mapping[str, str], where: Path) -> Iterator[Any]:
    """A process that is told to stop when the block ends, and must then end well by itself."""
    with subprocess.Popen(
        command,
        env=environment,
        cwd=where,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
            process.send_signal(signal.SIGTERM)
            _, said = process.communicate(timeout=30)
            assert process.returncode == 0, said
        finally:
            with suppress(ProcessLookupError):  # whatever a shell in front left running
                os.killpg(process.pid, signal.SIGKILL)


def until_ready(url: str, process: Any) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{url}/readyz").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise AssertionError(process.stderr.read() if process.poll() is not None else "not ready")


def ask(url: str, key: str | None = KEY) -> httpx.Response:
    head = {"authorization": f"Bearer {key}"} if key else {}
    body = {"inputs": [{"text": text} for text in TEXTS]}
    return httpx.post(f"{url}/v1/predict", json=body, headers=head)


def assert_same_answers(said: Sequence[Mapping[str, Any]], judged: Bundle) -> None:
    """The shipped server answers as the bundle does in this process."""
    for one, wanted in zip(said, load(judged.folder).predict(TEXTS), strict=True):
        assert one["label"] == wanted["label"]
        assert one["probabilities"] == pytest.approx(wanted["probabilities"], abs=1e-6)


def bare(**more: str) -> dict[str, str]:
    """An environment like that of a fresh machine."""
    return {"PATH": os.defpath, "LANG": "C.UTF-8", **more}


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def instructions(dockerfile: str) -> list[tuple[str, str]]:
    """(instruction, the rest of its line), continued lines joined and comments left out."""
    joined = re.sub(r"\\\n\s*", "", dockerfile)
    lines = [line for line in joined.splitlines() if line and not line.startswith("#")]
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines)]


def as_list(rest: str) -> list[str]:
    """The words of an instruction in exec form."""
    found = json.loads(rest)
    assert all(isinstance(word, str) for word in found)
    return found


@pytest.fixture
def asking(tmp_path: Path) -> Callable[[str], Bundle]:
    """Makes a bundle that asks the language model at a URL."""

    def make(url: str) -> Bundle:
        place = Path(tempfile.mkdtemp(dir=tmp_path))
        prompt = Prompt(url=url, model="tiny", system="Sort.")
        (place / FILE).write_text(prompt.to_json())
        made = write_bundle(place / "bundle", manifest_of(), {FILE: place / FILE}, "name: x\n")
        return record_verdicts(made, [], released=True)

    return make
