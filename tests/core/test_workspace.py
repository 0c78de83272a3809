"""The workspace: runs are claimed once, results built once, facts found once."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sartor.core.errors import WorkspaceError
from sartor.core.store import Store
from sartor.core.workspace import FOLDER, LAYOUT, Workspace


def test_a_new_workspace_is_marked_and_kept_out_of_git(tmp_path):
    workspace = Workspace.open(tmp_path / "project")
    assert (workspace.folder / "VERSION").read_text() == f"{LAYOUT}\n"
    assert (workspace.folder / ".gitignore").read_text() == "*\n"
    assert Workspace.open(tmp_path / "project") == workspace


@pytest.mark.parametrize("found", [LAYOUT + 1, 999])
def test_a_newer_layout_is_refused_and_left_alone(tmp_path, found):
    mark = Workspace.open(tmp_path).folder / "VERSION"
    mark.write_text(f"{found}\n")
    with pytest.raises(WorkspaceError, match=f"layout '{found}'") as caught:
        Workspace.open(tmp_path)
    assert "upgrade" in caught.value.fix
    assert mark.read_text() == f"{found}\n"


@pytest.mark.parametrize(
    "found", [b"", b"one", b"\xff\xfe1", b"-1", "²".encode(), b"9" * 5000, b"1.0", b"\x00"]
)
def test_a_damaged_mark_is_called_damaged_not_new(tmp_path, found):
    (Workspace.open(tmp_path).folder / "VERSION").write_bytes(found)
    with pytest.raises(WorkspaceError, match="damaged"):
        Workspace.open(tmp_path)


def test_a_place_that_cannot_hold_a_workspace_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(WorkspaceError, match="cannot be used") as caught:
        Workspace.open(tmp_path / "file")
    assert "--workspace" in caught.value.fix
    (tmp_path / FOLDER).write_text("x")
    with pytest.raises(WorkspaceError, match="cannot be used"):
        Workspace.open(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_workspace_is_refused_when_a_run_starts(tmp_path):
    workspace = Workspace.open(tmp_path)
    workspace.folder.chmod(0o555)
    try:
        with pytest.raises(WorkspaceError, match="cannot be used"):
            workspace.new_run()
    finally:
        workspace.folder.chmod(0o755)


def test_a_workspace_whose_runs_cannot_be_made_says_so(tmp_path):
    workspace = Workspace.open(tmp_path)
    (workspace.folder / "runs").write_text("x")
    with pytest.raises(WorkspaceError, match="cannot be used"):
        workspace.new_run()


@pytest.mark.parametrize("name", ["a?mode=memory", "50%20", "c#d", "退款 & co"])
def test_the_store_lies_in_the_workspace_whatever_its_folder_is_called(tmp_path, name):
    workspace = Workspace.open(tmp_path / name)
    with Store.open(workspace.store) as store:
        store.add_run("reviews", "", 0)
    assert list(tmp_path.iterdir()) == [tmp_path / name]
    assert (workspace.folder / "store.db").is_file()


def test_what_a_killed_process_left_half_built_is_gone_when_the_workspace_is_opened(tmp_path):
    workspace = Workspace.open(tmp_path)
    left = workspace.folder / "stages" / "clean" / ".0123abcd.x1y2z3_4"
    left.mkdir(parents=True)
    (left / "rows.parquet").write_bytes(b"half")
    Workspace.open(tmp_path)
    assert not left.exists()


def test_runs_count_up_and_the_newest_is_the_default(tmp_path):
    workspace = Workspace.open(tmp_path)
    assert [workspace.new_run().number for _ in range(11)] == list(range(1, 12))
    for odd in ("notes", "012", "0", "1.5"):
        (workspace.folder / "runs" / odd).mkdir()
    assert workspace.run_numbers() == list(range(1, 12))
    assert workspace.run().number == 11
    assert workspace.run(2).folder.name == "2"


def test_a_run_that_is_not_there_is_said_so(tmp_path):
    workspace = Workspace.open(tmp_path)
    with pytest.raises(WorkspaceError, match="holds no run"):
        workspace.run()
    workspace.new_run()
    with pytest.raises(WorkspaceError, match="no run 7") as caught:
        workspace.run(7)
    assert caught.value.fix == "use one of 1."


def test_a_number_that_another_process_took_meanwhile_is_passed_over(tmp_path, monkeypatch):
    workspace = Workspace.open(tmp_path)
    workspace.new_run()
    workspace.new_run()
    monkeypatch.setattr(Workspace, "run_numbers", lambda self: [])
    assert workspace.new_run().number == 3


CLAIM = """
import sys
from sartor.core.workspace import Workspace
workspace = Workspace.open(sys.argv[1])
print(*(workspace.new_run().number for _ in range(40)))
"""


def test_two_processes_never_get_the_same_run(tmp_path):
    claims = [
        subprocess.Popen(
            [sys.executable, "-c", CLAIM, str(tmp_path)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        for _ in range(2)
    ]
    numbers = [int(n) for claim in claims for n in claim.communicate(timeout=60)[0].split()]
    assert sorted(numbers) == list(range(1, 81))


def test_a_stage_is_built_once_and_again_only_under_another_key(tmp_path):
    workspace = Workspace.open(tmp_path)
    built: list[str] = []

    def build(folder: Path) -> None:
        built.append(folder.name)
        (folder / "rows").write_text(str(len(built)))

    one, other = "a" * 64, "b" * 64
    assert (workspace.stage("clean", one, build) / "rows").read_text() == "1"
    assert (workspace.stage("clean", one, build) / "rows").read_text() == "1"
    assert (workspace.stage("clean", other, build) / "rows").read_text() == "2"
    assert (workspace.stage("split", one, build) / "rows").read_text() == "3"


def test_a_stage_that_failed_is_built_again(tmp_path):
    workspace = Workspace.open(tmp_path)

    def fail(folder: Path) -> None:
        (folder / "half").write_text("x")
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        workspace.stage("clean", "a" * 64, fail)
    made = workspace.stage("clean", "a" * 64, lambda folder: None)
    assert list(made.iterdir()) == []


@pytest.mark.parametrize("how", ["another byte", "cut", "gone"])
def test_a_stage_that_is_not_what_was_built_is_built_again(tmp_path, how):
    workspace, built = Workspace.open(tmp_path), []

    def build(folder):
        built.append(folder)
        (folder / "rows").mkdir()
        (folder / "rows" / "one").write_bytes(b"0123456789")

    first = workspace.stage("clean", "0" * 64, build)
    assert workspace.stage("clean", "0" * 64, build) == first
    assert len(built) == 1
    file = first / "rows" / "one"
    if how == "gone":
        file.unlink()
    else:
        file.write_bytes(b"0123456780" if how == "another byte" else b"01234")
    assert workspace.stage("clean", "0" * 64, build) == first
    assert file.read_bytes() == b"0123456789"
    workspace.stage("clean", "0" * 64, build)
    assert len(built) == 2, "and found from then on"


def test_a_stage_of_a_version_that_wrote_no_seals_is_used(tmp_path):
    workspace = Workspace.open(tmp_path)
    first = workspace.stage("clean", "0" * 64, lambda to: (to / "rows").write_bytes(b"0"))
    first.with_suffix(".json").unlink()
    again = workspace.stage("clean", "0" * 64, lambda to: (to / "rows").write_bytes(b"1"))
    assert (again / "rows").read_bytes() == b"0"


def test_a_fact_is_found_once_and_replayed_as_it_was(tmp_path):
    run = Workspace.open(tmp_path).new_run()
    first = run.fact("threads", lambda: {"n": 2, "probe": (0.1, 0.30000000000000004)})
    run.fact("other", lambda: 1)

    def never() -> None:
        raise AssertionError("the fact was looked for again")

    again = Workspace.open(tmp_path).run(run.number)
    assert again.fact("threads", never) == first
    assert first == {"n": 2, "probe": [0.1, 0.30000000000000004]}, "as JSON gives it back"


def test_a_fact_that_is_none_is_a_fact(tmp_path):
    run = Workspace.open(tmp_path).new_run()
    found: list[int] = []
    for _ in range(2):
        assert run.fact("gpu", lambda: found.append(1)) is None
    assert found == [1]


def test_a_fact_that_is_no_json_value_is_refused_and_the_others_are_kept(tmp_path):
    run = Workspace.open(tmp_path).new_run()
    run.fact("a", lambda: 1)
    with pytest.raises(TypeError):
        run.fact("b", lambda: object())
    assert run.read_json("facts.json") == {"a": 1}


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[1]", b"null", b"[" * 100_000])
def test_damaged_facts_are_refused_with_a_fix(tmp_path, data):
    run = Workspace.open(tmp_path).new_run()
    (run.folder / "facts.json").write_bytes(data)
    with pytest.raises(WorkspaceError, match=r"facts\.json is damaged"):
        run.fact("a", lambda: 1)


def test_a_run_that_did_not_get_so_far_names_the_command_that_does(tmp_path):
    run = Workspace.open(tmp_path).new_run()
    with pytest.raises(WorkspaceError, match=r"has no result\.json") as caught:
        run.read_json("result.json")
    assert "sartor resume 1" in caught.value.fix


def test_json_keeps_every_text_even_lone_surrogates(tmp_path):
    run = Workspace.open(tmp_path).new_run()
    value = {"text": "好 \ud800 😀", "numbers": [1, 0.1, None, True]}
    run.write_json("x.json", value)
    assert run.read_json("x.json") == value
    run.write_json("y.json", {"b": 1, "a": 2})
    assert list(json.loads((run.folder / "y.json").read_bytes())) == ["a", "b"]


def test_the_store_lies_in_the_workspace_unless_a_url_is_given(tmp_path, monkeypatch):
    monkeypatch.delenv("SARTOR_STORE_URL", raising=False)
    workspace = Workspace.open(tmp_path)
    assert workspace.store == f"{tmp_path}/{FOLDER}/store.db"
    monkeypatch.setenv("SARTOR_STORE_URL", "postgresql+psycopg://here/db")
    assert workspace.store == "postgresql+psycopg://here/db"


def test_half_done_work_has_a_folder_of_its_own(tmp_path):
    workspace = Workspace.open(tmp_path)
    assert workspace.work("a" * 64) == workspace.work("a" * 64)
    assert workspace.work("a" * 64) != workspace.work("b" * 64)
    assert workspace.work("a" * 64).is_dir()
