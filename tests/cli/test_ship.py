"""`sartor ship`: what it prints, what it lists, what it refuses."""

import json
import sys

import pytest

from sartor.cli import main
from sartor.ship.api import TARGETS
from tests.serve.conftest import bundle, make_bundle, parts

__all__ = ["bundle", "make_bundle", "parts"]


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    def run_it(*words: object) -> tuple[int, str, str]:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["sartor", "ship", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        code = ended.value.code
        return (int(code) if isinstance(code, int) else 0, *capsys.readouterr())

    return run_it


def test_it_writes_a_folder_named_after_bundle_and_target_and_prints_the_steps(
    run,
    bundle,
    tmp_path,
):
    status, out, _ = run(bundle.folder, "--to", "docker", "--set", "port=9000")

    assert status == 0
    assert out.startswith("Wrote tickets-docker.")
    assert "1. Build the image:\n   docker build" in out
    assert "EXPOSE 9000" in (tmp_path / "tickets-docker" / "Dockerfile").read_text()


def test_json_has_the_steps(run, bundle, tmp_path):
    _, out, _ = run(bundle.folder, "--to", "systemd", "--out", tmp_path / "x", "--json")

    found = json.loads(out)
    assert found["folder"] == str(tmp_path / "x")
    assert found["steps"][0]["command"].startswith("sudo python")


def test_the_list_has_a_line_for_each_target_and_one_target_its_settings(run):
    _, out, _ = run("--list")
    assert [line.split()[0] for line in out.splitlines()[:-1]] == TARGETS.names()

    _, out, _ = run("--list", "--to", "kubernetes")
    assert "min_replicas=2\n    Pods that run when nobody asks.\n" in out
    _, out, _ = run("--list", "--json")
    assert [one["name"] for one in json.loads(out)] == TARGETS.names()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "Name the bundle"),
        (("--to", "dokcer"), "did you mean 'docker'"),
        (("--to", "docker", "--set", "port"), "no key=value"),
        (("--to", "docker", "--set", "port=9000", "--set", "port=9001"), "given twice"),
        (("--to", "docker", "--set", "prot=9000"), "did you mean 'port'"),
    ],
)
def test_a_mistake_is_told_in_one_line_and_nothing_is_written(
    run,
    bundle,
    tmp_path,
    words,
    said,
):
    status, _, err = run(bundle.folder, *words)

    assert status == 2
    assert said in err
    assert {path.name for path in tmp_path.iterdir()} <= {"bundle"}
