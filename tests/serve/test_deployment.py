"""A deployment's history: changes take turns, survive any kill, and refuse what would break."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sartor.bundle import Bundle
from sartor.core.errors import BundleError, DeploymentError, SettingError, WorkspaceError
from sartor.serve import deploying
from sartor.serve.deploying import deploy, promote, rollback, withdraw
from sartor.serve.deployment import HISTORY, MOST_PREVIOUS, Change, Deployment, Placed, Step, names
from tests.serve.conftest import LABELS
from tests.serve.deployed import deployment, version

PLACED = Placed(bundle="bundles/a", id="a" * 64, name="a", contract="c" * 64)


@pytest.fixture
def place(tmp_path: Path) -> Deployment:
    return deployment(tmp_path)


@pytest.fixture
def three(tmp_path: Path) -> list[Bundle]:
    return [version(tmp_path, number) for number in range(3)]


def again(before: Change | None) -> Step:
    return Step("deploy", PLACED)


def test_what_is_live_is_followed_by_what_was(place: Deployment, three: list[Bundle]):
    a, b, c = (bundle.manifest.id for bundle in three)
    first = deploy(place, three[0].folder)
    assert (first.number, first.live.id, first.previous) == (1, a, ())
    deploy(place, three[1].folder)
    assert deploy(place, three[1].folder).previous[0].id == a, "the same bundle twice"
    deploy(place, three[2].folder)
    assert [one.id for one in place.now().previous] == [b, a]
    assert rollback(place).live.id == b
    last = rollback(place)
    assert (last.live.id, last.previous) == (a, ())
    with pytest.raises(DeploymentError, match="no earlier bundle") as caught:
        rollback(place)
    assert "sartor deploy BUNDLE" in caught.value.fix
    assert place.now() == last
    told = [(change.action, change.live.id) for change in place.history()]
    assert told == [
        *(("deploy", a), ("deploy", b), ("deploy", b), ("deploy", c)),
        *(("rollback", b), ("rollback", a)),
    ]
    assert all("@" in change.who for change in place.history())
    times = [change.time for change in place.history()]
    assert times == sorted(times)


def test_beside_the_live_one_stand_a_canary_and_a_shadow_until_it_changes(
    place: Deployment, three: list[Bundle]
):
    a, b, c = (bundle.manifest.id for bundle in three)
    deploy(place, three[0].folder)
    deploy(place, three[1].folder, canary=10)
    both = deploy(place, three[2].folder, shadow=True)
    assert {role: one.id for role, one in both.placed.items()} == {
        "live": a,
        "canary": b,
        "shadow": c,
    }
    assert deploy(place, three[1].folder, canary=35.5).share == 35.5
    gone = withdraw(place)
    assert (gone.live.id, gone.canary, gone.shadow, gone.share) == (a, None, None, 0)
    deploy(place, three[1].folder, canary=10)
    deploy(place, three[2].folder, shadow=True)
    chosen = promote(place, "shadow")
    assert (chosen.live.id, chosen.canary, chosen.shadow) == (c, None, None)
    assert [one.id for one in chosen.previous] == [a]
    deploy(place, three[1].folder, canary=10)
    back = rollback(place)
    assert (back.live.id, back.canary) == (a, None)


@pytest.mark.parametrize(
    ("act", "what", "fix"),
    [
        (promote, "no canary and no shadow to promote", "--canary 10%"),
        (lambda place: promote(place, "shadow"), "no shadow to promote", "--canary"),
        (rollback, "no earlier bundle to go back to", "sartor withdraw"),
        (withdraw, "neither a canary nor a shadow", "sartor rollback"),
    ],
)
def test_a_step_that_has_nothing_to_work_on_says_so(
    place: Deployment, three: list[Bundle], act: Callable[[Deployment], object], what, fix: str
):
    deploy(place, three[0].folder)
    if act is rollback:
        deploy(place, three[1].folder, canary=10)
    before = place.history()
    with pytest.raises(DeploymentError, match=what) as caught:
        act(place)
    assert fix in caught.value.fix
    assert place.history() == before


@pytest.mark.parametrize("act", [promote, rollback, withdraw, Deployment.now])
def test_a_deployment_that_is_not_there_names_those_that_are(
    tmp_path: Path, act: Callable[[Deployment], object]
):
    with pytest.raises(DeploymentError, match="Nothing is deployed as 'tickets'") as caught:
        act(deployment(tmp_path))
    assert "start with sartor deploy" in caught.value.fix
    deployment(tmp_path, "tickets-2").change(again)
    assert names(tmp_path / ".sartor") == ["tickets-2"]
    with pytest.raises(DeploymentError) as caught:
        act(deployment(tmp_path))
    assert caught.value.fix == "did you mean 'tickets-2'?"


def test_what_cannot_be_served_is_refused_before_anything_changes(
    place: Deployment, tmp_path: Path, three: list[Bundle]
):
    with pytest.raises(DeploymentError, match="no live bundle that another could stand beside"):
        deploy(place, three[0].folder, canary=10)
    deploy(place, three[0].folder)
    unproven = version(tmp_path, 5, released=False)
    with pytest.raises(BundleError, match="not released") as caught:
        deploy(place, unproven.folder)
    assert "--unreleased" in caught.value.fix
    (three[1].folder / "model.onnx").write_bytes(b"edited")
    with pytest.raises(BundleError, match=r"model\.onnx has 6 bytes"):
        deploy(place, three[1].folder, canary=10)
    with pytest.raises(BundleError, match="not a bundle"):
        deploy(place, tmp_path / "nothing")
    with pytest.raises(DeploymentError, match="is live already"):
        deploy(place, three[0].folder, shadow=True)
    for share in (0.0, 100.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(SettingError, match="above 0 and below 100"):
            deploy(place, three[2].folder, canary=share)
    with pytest.raises(SettingError, match="at once"):
        deploy(place, three[2].folder, canary=10, shadow=True)
    assert len(place.history()) == 1
    assert deploy(place, unproven.folder, unreleased=True).live.unreleased


def test_other_labels_break_clients_unless_they_follow(
    place: Deployment, tmp_path: Path, three: list[Bundle]
):
    deploy(place, three[0].folder)
    other = version(tmp_path, 5, labels=("refund", "bill", "other"))
    for more in ({}, {"canary": 10.0}, {"shadow": True}):
        with pytest.raises(DeploymentError) as caught:
            deploy(place, other.folder, **more)
        assert "the labels 'invoice' go, the labels 'bill' are new" in caught.value.what
        assert "--new-contract" in caught.value.fix
    turned = version(tmp_path, 6, labels=LABELS[::-1])
    deploy(place, turned.folder)  # Another order of the same labels breaks nobody.
    assert deploy(place, other.folder, new_contract=True).live.id == other.manifest.id
    assert rollback(place).live.id == turned.manifest.id


def test_a_bundle_that_is_damaged_by_now_is_neither_promoted_nor_rolled_back_to(
    place: Deployment, three: list[Bundle]
):
    deploy(place, three[0].folder)
    deploy(place, three[1].folder)
    deploy(place, three[2].folder, canary=10)
    for bundle, act in ((three[2], promote), (three[0], rollback)):
        (bundle.folder / "tokenizer.json").write_bytes(b"{}")
        with pytest.raises(BundleError, match=r"tokenizer\.json"):
            act(place)
    assert place.now().number == 3


def test_who_acts_on_an_old_view_is_refused(
    place: Deployment, three: list[Bundle], monkeypatch: pytest.MonkeyPatch
):
    for bundle in three:
        deploy(place, bundle.folder)
    verified = deploying.verify

    def meanwhile(folder: Path, *, unreleased: bool) -> object:
        monkeypatch.setattr(deploying, "verify", verified)
        rollback(place)
        return verified(folder, unreleased=unreleased)

    monkeypatch.setattr(deploying, "verify", meanwhile)
    with pytest.raises(DeploymentError, match="changed at the same time, by") as caught:
        rollback(place)
    assert "look at it again" in caught.value.fix
    assert place.now().live.id == three[1].manifest.id, "two rollbacks at once went back twice"


@pytest.mark.parametrize("name", ["", "..", "a/b", ".hidden", "x" * 151, "a\n", "\ud800", "-x"])
def test_a_name_that_could_leave_its_folder_is_refused(tmp_path: Path, name: str):
    with pytest.raises(SettingError, match="cannot be the name of a deployment"):
        Deployment.of(tmp_path, name)


@pytest.mark.parametrize("name", ["tickets", "退款", "a b", "need-2.1"])
def test_a_name_of_a_need_is_a_name_of_a_deployment(tmp_path: Path, name: str):
    deployment(tmp_path, name).change(again)
    assert names(tmp_path / ".sartor") == [name]


def test_a_bundle_of_the_workspace_moves_with_it_and_others_stay(tmp_path: Path):
    inside = version(tmp_path / "one" / ".sartor" / "bundles", 0)
    outside = version(tmp_path / "elsewhere", 1)
    place = deployment(tmp_path / "one")
    deploy(place, inside.folder)
    deploy(place, outside.folder)
    (tmp_path / "one").rename(tmp_path / "two")
    moved = deployment(tmp_path / "two")
    assert moved.folder_of(moved.now().live) == outside.folder
    assert rollback(moved).live.id == inside.manifest.id


@pytest.mark.parametrize("torn", [b"{", b'{"number": 2, "time": "20', b"\0" * 4_096])
def test_half_a_line_is_passed_over_and_then_cut_off(place: Deployment, torn: bytes):
    first = place.change(again)
    with (place.folder / HISTORY).open("ab") as file:
        file.write(torn)
    assert place.now() == first
    second = place.change(again)
    assert place.history() == [first, second]
    assert second.number == 2


def test_a_line_that_was_edited_is_named_and_nothing_is_written_after_it(place: Deployment):
    place.change(again)
    path = place.folder / HISTORY
    good = path.read_bytes()
    path.write_bytes(good + good.replace(b'"number":1', b'"number":"two"'))
    for act in (place.now, place.history, lambda: place.change(again)):
        with pytest.raises(WorkspaceError, match="damaged: number") as caught:
            act()
        assert "remove that line" in caught.value.fix
    path.write_bytes(good)
    assert place.change(again).number == 2


def test_a_long_history_is_read_from_its_end_and_keeps_so_many_to_go_back_to(place: Deployment):
    place.change(again)
    long = PLACED.model_copy(update={"bundle": "x" * 4_000})
    for _ in range(30):
        place.change(lambda before: Step("deploy", PLACED, (long, *before.previous)))
    assert (place.folder / HISTORY).stat().st_size > 1 << 18
    assert place.now().number == len(place.history()) == 31
    assert len(place.now().previous) == MOST_PREVIOUS


CHANGE = """
import sys
from pathlib import Path
from sartor.serve.deployment import Deployment, Placed, Step
place, placed = Deployment(Path(sys.argv[1])), Placed.model_validate_json(sys.argv[2])
for _ in range(int(sys.argv[3])):
    print(place.change(lambda before: Step("deploy", placed)).number, flush=True)
"""


def changing(place: Deployment, times: int) -> "subprocess.Popen[str]":
    """A process that makes so many changes and prints their numbers."""
    given = [str(place.folder), PLACED.model_dump_json(), str(times)]
    command = [sys.executable, "-c", CHANGE, *given]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_two_that_deploy_at_once_take_turns(place: Deployment):
    both = [changing(place, 100) for _ in range(2)]
    told = [[int(number) for number in one.communicate(timeout=60)[0].split()] for one in both]
    assert sorted(told[0] + told[1]) == [change.number for change in place.history()]
    assert [change.number for change in place.history()] == [*range(1, 201)]


def test_a_kill_at_any_moment_leaves_a_state_that_loads(place: Deployment):
    draw, acknowledged = random.Random(0), [0]
    for _ in range(4):
        with changing(place, 1_000_000) as writer:
            assert writer.stdout is not None
            first = writer.stdout.readline()
            time.sleep(draw.uniform(0.0, 0.1))
            os.kill(writer.pid, signal.SIGKILL)
            lines = [first, *writer.stdout.read().splitlines()]
        acknowledged += [int(line) for line in lines if line.strip()]
        found = place.history()
        assert [change.number for change in found] == [*range(1, len(found) + 1)]
        assert acknowledged[-1] <= place.now().number <= acknowledged[-1] + 1
    assert len(acknowledged) > 8, "hardly anything was written; the test would be vacuous"


def test_a_full_disk_changes_nothing(place: Deployment, monkeypatch: pytest.MonkeyPatch):
    first, write = place.change(again), os.pwrite

    def full(handle: int, data: bytes, at: int) -> int:
        write(handle, data[:10], at)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(WorkspaceError, match="No space left"):
        place.change(again)
    assert (place.folder / HISTORY).read_bytes().count(b"\n") == 1
    assert json.loads((place.folder / HISTORY).read_bytes())["number"] == 1
    assert place.now() == first
