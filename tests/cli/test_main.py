"""The entry point: fast help, every command listed and documented, errors of the system."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.stories.shop import environment

_HEAVY = ("torch", "transformers", "polars", "numpy", "sqlalchemy", "fastapi", "onnxruntime")
_HELP = """
import json, sys
from sartor.cli import main
sys.argv = ["sartor", *sys.argv[1:]]
try:
    main()
finally:
    loaded = [name for name in {heavy!r} if name in sys.modules]
    sys.stderr.write(json.dumps(loaded))
"""
_STOPPED = """
import os, signal, sys, time, weakref
import sartor.cli.app
from sartor.cli import main

class Thing: ...

def last(_):
    os.kill(os.getpid(), signal.{name})
    sum(range(100_000))
    time.sleep(0)

def app():
    thing = Thing()
    watched = weakref.ref(thing, last)
    del thing
    time.sleep(20)

sartor.cli.app.app = app
if "{name}" == "SIGTERM":  # as a shell starts what runs in its background
    signal.signal(signal.SIGINT, signal.SIG_IGN)
try:
    main()
except KeyboardInterrupt:
    sys.stdout.write("stopped")
"""
DOCS = Path(__file__).parents[2] / "docs" / "reference" / "cli.md"


def help_of(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", _HELP.format(heavy=_HEAVY), *words, "--help"],
        env=environment(COLUMNS="200"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def commands() -> dict[str, list[str]]:
    """Every command, groups included, with its option names."""
    import typer.main

    from sartor.cli.app import app

    found: dict[str, list[str]] = {}

    def walk(command: object, name: str) -> None:
        inner = getattr(command, "commands", None)
        if name and (inner is None or getattr(command, "invoke_without_command", False)):
            found[name] = [o for p in command.params for o in p.opts]  # type: ignore[attr-defined]
        for key, value in (inner or {}).items():
            walk(value, f"{name} {key}".strip())

    walk(typer.main.get_command(app), "")
    return found


@pytest.mark.parametrize("words", [(), ("run",), ("feedback",)])
def test_help_loads_none_of_the_heavy_libraries(words: tuple[str, ...]):
    said = help_of(*words)
    assert said.returncode == 0, said.stderr
    assert "Usage" in said.stdout
    assert json.loads(said.stderr) == []


@pytest.mark.parametrize("command", ["run", "plan"])
def test_faults_of_a_need_are_told_before_what_trains_is_loaded(tmp_path: Path, command: str):
    need = tmp_path / "need.yaml"
    need.write_text(
        "name: n\ntask: text_classification\ndata: {train: gone.csv, text: text, label: label}\n"
        "accept: [acuracy >= 0.8]\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", _HELP.format(heavy=("torch", "transformers")), command, str(need)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert said.returncode == 2
    assert "line 4: 'acuracy >= 0.8': no metric is called 'acuracy'." in said.stderr
    assert "did you mean 'accuracy'?" in said.stderr
    assert json.loads(said.stderr.splitlines()[-1]) == []


def test_every_command_of_the_reference_exists_and_the_other_way_round():
    rows = re.findall(r"^\| `sartor ([^`]+)` \|", DOCS.read_text(), re.M)
    documented = {re.match(r"[a-z ]*[a-z](?= |$)", row)[0] for row in rows}  # type: ignore[index]
    names = {next(n for n in (d, d.rsplit(" ", 1)[0]) if n in commands()) for d in documented}
    assert names == set(commands())


def test_every_command_takes_json_where_it_prints_data():
    without = {name for name, options in commands().items() if "--json" not in options}
    assert without == {"serve"}


def test_no_command_is_without_a_sentence_of_help():
    import typer.main

    from sartor.cli.app import app

    said = help_of().stdout
    for name in typer.main.get_command(app).commands:  # type: ignore[attr-defined]
        assert re.search(rf"^\s*{name}\s+\w+", said, re.M), name


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch):
    """Only what a user can mend is told in one line: a missing module of our own is not."""
    from sartor.cli import _extra_of

    assert _extra_of("torch.nn") == "train"
    assert _extra_of("polars") == "data"
    assert _extra_of("uvicorn") == "server"
    assert _extra_of("sartor.nowhere") is None


def test_a_shell_can_complete_the_commands():
    # Which shell asks is found among the processes that this one was started by.
    asked = f"{shlex.quote(sys.executable)} -c 'from sartor.cli import main; main()'"
    said = subprocess.run(
        ["bash", "-c", f"{asked} --show-completion; exit $?"],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "_completion" in said.stdout + said.stderr


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_stop_that_meets_a_callback_which_drops_errors_is_not_lost(name: str):
    command = [sys.executable, "-c", _STOPPED.format(name=name)]
    said = subprocess.run(
        command, env=environment(), capture_output=True, text=True, timeout=60, check=False
    )
    assert (said.returncode, said.stdout, said.stderr) == (0, "stopped", "")
