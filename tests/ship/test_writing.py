"""How a folder is written: whole, listed, and never over somebody's edits."""

import errno
import json
import multiprocessing
import os
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from sartor.core import durable
from sartor.core.errors import (
    BundleError,
    SartorError,
    SettingError,
    UnknownName,
    WorkspaceError,
)
from sartor.ship import writing
from sartor.ship.parcel import label
from sartor.ship.settings import read_target, settings_of
from sartor.ship.targets.docker import Docker
from sartor.ship.writing import LIST, ship
from tests.ship.conftest import contents


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def test_a_folder_that_only_ship_wrote_is_replaced_whole(make_bundle, out):
    bundle = make_bundle()
    ship(bundle.folder, "docker", out)
    (out / "__pycache__").mkdir()  # what Python leaves is nobody's work

    ship(bundle.folder, "systemd", out)

    assert not (out / "Dockerfile").exists()
    assert not (out / "__pycache__").exists()
    listed = json.loads((out / LIST).read_text())
    assert listed["target"] == "systemd"
    assert set(listed["files"]) == set(contents(out)) - {LIST}
    assert {path.name for path in out.parent.iterdir()} == {"bundle", "out"}


def edit(place):
    (place / "Dockerfile").write_text("FROM scratch\n")


def add(place):
    (place / "bundle" / "notes.txt").write_text("mine")


def remove(place):
    (place / "compose.yaml").unlink()


def link(place):
    (place / "Dockerfile").unlink()
    (place / "Dockerfile").symlink_to("compose.yaml")


def forge(place):
    (place / LIST).write_text("[" * 100_000)


@pytest.mark.parametrize(
    ("hand", "named"),
    [
        (edit, "'Dockerfile' was edited"),
        (add, "'bundle/notes.txt' was added"),
        (remove, "'compose.yaml' was removed"),
        (link, "'Dockerfile' was edited"),
        (forge, "not written by `sartor ship`"),
    ],
)
def test_a_folder_that_somebody_worked_in_is_left_alone(bundle, out, hand, named):
    ship(bundle.folder, "docker", out)
    hand(out)
    before = contents(out)

    with pytest.raises(SettingError) as caught:
        ship(bundle.folder, "docker", out)

    assert named in str(caught.value)
    assert contents(out) == before
    assert {path.name for path in out.parent.iterdir()} == {"bundle", "out"}


def test_other_places_that_cannot_be_written_are_named(bundle, tmp_path):
    mine, file, linked = tmp_path / "mine", tmp_path / "file", tmp_path / "linked"
    mine.mkdir()
    (mine / "thesis.txt").write_text("ten years")
    file.write_text("x")
    linked.symlink_to(mine)

    for place in (mine, file, linked, bundle.folder, bundle.folder / "inside"):
        before = contents(tmp_path)
        with pytest.raises(SettingError) as caught:
            ship(bundle.folder, "docker", place)
        assert str(place) in str(caught.value)
        assert contents(tmp_path) == before

    empty = tmp_path / "empty"
    empty.mkdir()
    assert (ship(bundle.folder, "docker", empty).folder / "Dockerfile").exists()


@pytest.mark.parametrize("place", ["sartor.ship.writing.readme", "sartor.core.durable.fsync_tree"])
def test_a_failure_leaves_what_was_there(bundle, out, monkeypatch, place):
    """While it is written, and after the earlier folder was moved aside."""
    ship(bundle.folder, "docker", out)
    before = contents(out)

    def fail(*_):
        raise OSError(errno.EIO, "the disk burns")

    monkeypatch.setattr(place, fail)
    with pytest.raises(OSError, match="burns"):
        ship(bundle.folder, "docker", out, {"port": "9000"})

    assert contents(out) == before
    assert {path.name for path in out.parent.iterdir()} == {"bundle", "out"}


@pytest.mark.parametrize("moment", ["readme", "fsync_tree"])
def test_a_killed_call_leaves_nothing_that_the_next_does_not_remove(bundle, out, moment):
    """While it is written, and after the earlier folder was moved aside."""
    ship(bundle.folder, "docker", out)

    def killed() -> None:
        module = writing if moment == "readme" else durable
        setattr(module, moment, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        ship(bundle.folder, "docker", out, {"port": "9000"})

    process = multiprocessing.get_context("fork").Process(target=killed)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert len(list(out.parent.iterdir())) > 2 - (moment == "fsync_tree")

    shipped = ship(bundle.folder, "systemd", out)

    assert set(shipped.files) == set(contents(out)) - {LIST}
    assert {path.name for path in out.parent.iterdir()} == {"bundle", "out"}


def test_calls_at_once_leave_the_folder_of_one_of_them(bundle, out):
    ship(bundle.folder, "docker", out)
    ports = [str(9_000 + number) for number in range(4)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda p: ship(bundle.folder, "docker", out, {"port": p}), ports))

    listed = json.loads((out / LIST).read_text())
    assert listed["files"] in [dict(one.files) for one in found]
    assert writing._edited(out) is None
    assert {path.name for path in out.parent.iterdir()} == {"bundle", "out"}


def test_a_full_disk_leaves_what_was_there_and_says_so(bundle, out, monkeypatch):
    ship(bundle.folder, "docker", out)
    before = contents(out)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(WorkspaceError, match="No space left"):
        ship(bundle.folder, "docker", out)

    assert contents(out) == before
    assert {path.name for path in out.parent.iterdir()} == {"bundle", "out"}


def test_an_unreleased_bundle_is_shipped_only_when_that_is_said(make_bundle, out):
    bundle = make_bundle(released=False)
    with pytest.raises(BundleError, match="not released") as caught:
        ship(bundle.folder, "docker", out)
    assert "--unreleased" in caught.value.fix
    assert not out.exists()

    ship(bundle.folder, "docker", out, unreleased=True)

    assert "--unreleased" in (out / "Dockerfile").read_text()
    assert "not released" in (out / "README.md").read_text()


def test_a_damaged_bundle_is_not_shipped(bundle, out):
    (bundle.folder / "tokenizer.json").write_text("{}")
    with pytest.raises(BundleError):
        ship(bundle.folder, "docker", out)
    assert not out.exists()


def test_settings_are_read_from_words_and_described():
    target = read_target("docker", {"port": "9000", "postgres": "true", "threads": "2"})
    assert target == Docker(port=9000, postgres=True, threads=2)

    with pytest.raises(SettingError, match="'prot'") as caught:
        read_target("docker", {"prot": "9000"})
    assert "'port'" in caught.value.fix
    with pytest.raises(UnknownName) as missed:
        read_target("dokcer", {})
    assert "'docker'" in missed.value.fix
    port = next(setting for setting in settings_of("docker") if setting.name == "port")
    assert port.default == "8080"
    assert "$PORT" in port.what


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("tickets", "tickets"),
        ("Shop's  Tickets_2", "shop-s-tickets-2"),
        ("2026 reviews", "bundle-2026-reviews"),
        ("客服", "bundle-0123abcd"),
        ("x" * 90, "x" * 40),
        ("a" * 39 + "-b", "a" * 39),
    ],
)
def test_a_name_becomes_a_dns_label(name, wanted):
    assert label(name, "0123abcd" * 8) == wanted


def test_a_server_that_is_asked_must_be_allowed_and_have_a_plain_name(asking, out):
    bundle = asking("http://models.example.org/v1")
    with pytest.raises(BundleError, match="not allowed") as caught:
        ship(bundle.folder, "docker", out)
    assert "--allow-llm" in caught.value.fix

    shipped = ship(bundle.folder, "docker", out, allow_llm=["http://models.example.org"])
    assert 'ENV SARTOR_ALLOW_LLM="http://models.example.org"' in (out / "Dockerfile").read_text()
    assert any("http://models.example.org" in note for note in shipped.handed.notes)

    evil = asking("http://a$(reboot)/v1")
    with pytest.raises(SartorError, match="no plain host name"):
        ship(evil.folder, "systemd", out / "b", allow_llm=["http://a$(reboot)"])
