"""`sartor keys`: shown once, kept as a hash, listed without the token, revoked by number."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sartor.cli.app import app
from sartor.core.errors import SettingError, WorkspaceError
from sartor.core.store import Store, token_hash
from sartor.core.workspace import Workspace


def run(*arguments: str, where: Path) -> str:
    done = CliRunner().invoke(app, ["keys", *arguments, "--workspace", str(where)])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.stdout


def test_a_key_is_shown_once_listed_without_it_and_revoked_by_number(tmp_path: Path):
    made = run("add", "shop", "--role", "predict", "--tenant", "acme", where=tmp_path)
    token = made.strip()
    assert token.startswith("sartor_")
    other = json.loads(run("add", "prometheus", "--role", "metrics", "--json", where=tmp_path))
    assert (other["number"], other["role"], other["tenant"]) == (2, "metrics", None)

    listed = run("list", where=tmp_path)
    assert "'shop': predict, tenant acme" in listed
    assert "'prometheus': metrics" in listed
    assert token not in listed
    assert "revoked" not in listed

    assert "Revoked key 1" in run("revoke", "1", where=tmp_path)
    first, second = json.loads(run("list", "--json", where=tmp_path))
    assert first["revoked"]
    assert second["revoked"] is None
    assert "hash" not in first
    with Store.open(Workspace.open(tmp_path).store) as store:
        assert store.keys()[0].hash == token_hash(token)
    for file in tmp_path.rglob("store.db*"):
        assert token.encode() not in file.read_bytes()


def test_a_key_may_predict_and_send_feedback_unless_it_is_said(tmp_path: Path):
    assert json.loads(run("add", "x", "--json", where=tmp_path))["role"] == "feedback"
    given = ["--rate-limit", "50/s"]
    assert json.loads(run("add", "y", *given, "--json", where=tmp_path))["rate"] == "50/s"


def test_without_keys_the_list_says_how_to_make_one(tmp_path: Path):
    assert "sartor keys add" in run("list", where=tmp_path)
    assert json.loads(run("list", "--json", where=tmp_path)) == []


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["--role", "root"], "No role is called 'root'"),
        (["--tenant", "a b"], "'a b' cannot be the name of a tenant"),
        (["--rate-limit", "soon"], "'soon' is not a rate"),
    ],
)
def test_what_means_nothing_is_refused_and_makes_no_key(
    tmp_path: Path, arguments: list[str], what: str
):
    with pytest.raises(SettingError, match=what):
        run("add", "x", *arguments, where=tmp_path)
    assert json.loads(run("list", "--json", where=tmp_path)) == []


def test_an_unknown_number_names_those_that_can_be_revoked(tmp_path: Path):
    run("add", "x", where=tmp_path)
    with pytest.raises(WorkspaceError, match="no valid key number 7") as caught:
        run("revoke", "7", where=tmp_path)
    assert "[1]" in caught.value.fix
