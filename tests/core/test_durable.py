"""Files and folders are whole or absent: on a full disk, after a kill, beside another writer."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from sartor.core.durable import (
    disk_space,
    is_free,
    named_folder,
    staged_folder,
    sweep,
    write_durably,
)
from sartor.core.errors import WorkspaceError


def run(code: str, *arguments: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


@pytest.fixture
def small_disk(tmp_path):
    """A real file system of 256 kB."""
    mount, unmount = shutil.which("mount"), shutil.which("umount")
    if os.geteuid() != 0 or not mount or not unmount:
        pytest.skip("only root can mount")
    place = tmp_path / "disk"
    place.mkdir()
    made = subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)],
        capture_output=True,
        check=False,
    )
    if made.returncode:
        pytest.skip("this container may not mount")
    yield place
    subprocess.run([unmount, str(place)], check=True)


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "f.json"
    write_durably(path, b"old")
    write_durably(path, b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o644
    assert os.listdir(tmp_path) == ["f.json"]


def test_the_unfinished_file_may_lie_beside_the_folder(tmp_path, monkeypatch):
    inside = tmp_path / "inside"
    inside.mkdir()
    seen: list[str] = []
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda a, b: (seen.append(str(a)), replace(a, b)))
    write_durably(inside / "f", b"x", beside=tmp_path)
    assert [Path(name).parent for name in seen] == [tmp_path]
    assert os.listdir(tmp_path) == ["inside"]


@pytest.mark.parametrize(
    ("module", "call"), [(tempfile, "mkstemp"), (os, "fsync"), (os, "replace")]
)
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_keeps_the_old_file_and_says_so(tmp_path, monkeypatch, module, call, number):
    path = tmp_path / "f.json"
    write_durably(path, b"old")

    def full(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(module, call, full)
        with pytest.raises(WorkspaceError, match="No space left on the disk") as caught:
            write_durably(path, b"new")
    assert "free some space" in caught.value.fix
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["f.json"]


def test_a_full_disk_that_is_told_in_words_alone_is_one_too(tmp_path):
    def write(words: str) -> None:
        with staged_folder(tmp_path / "fit"):
            raise RuntimeError(f"Error while serializing: I/O error: {words}")

    with pytest.raises(WorkspaceError, match="No space left on the disk"):
        write("No space left on device (os error 28)")
    with pytest.raises(RuntimeError, match="os error 5"):
        write("Input/output error (os error 5)")
    assert os.listdir(tmp_path) == []


def test_a_disk_that_is_really_full_keeps_the_old_file(small_disk):
    path = small_disk / "f.json"
    write_durably(path, b"old")
    with pytest.raises(WorkspaceError, match=r"f\.json"):
        write_durably(path, bytes(400_000))
    assert path.read_bytes() == b"old"
    assert os.listdir(small_disk) == ["f.json"]


def test_a_disk_that_is_really_full_leaves_no_folder(small_disk):
    def fill() -> None:
        with staged_folder(small_disk / "a" / "b") as made:
            for number in range(10):
                (made / str(number)).write_bytes(bytes(100_000))

    with pytest.raises(WorkspaceError, match="No space left"):
        fill()
    assert os.listdir(small_disk / "a") == []


@pytest.mark.parametrize("kind", ["current", "mount", "empty", "new"])
def test_a_folder_that_a_user_names_is_filled_whatever_it_is(kind, tmp_path, monkeypatch, request):
    place = request.getfixturevalue("small_disk") if kind == "mount" else tmp_path / "named"
    if kind in ("current", "empty"):
        place.mkdir()
    if kind == "current":
        monkeypatch.chdir(place)
    number = place.stat().st_ino if kind in ("current", "mount") else None
    named = Path(".") if kind == "current" else place

    with pytest.raises(FileNotFoundError), named_folder(named) as staging:
        (staging / "none" / "half").touch()
    assert is_free(named)
    with named_folder(named) as staging:
        (staging / "a").mkdir()
        (staging / "a" / "b").write_text("whole")
        assert not (place / "a").exists()

    assert [path.name for path in place.iterdir()] == ["a"]
    assert (place / "a" / "b").read_text() == "whole"
    assert number in (None, place.stat().st_ino), "a shell that stands in it goes on"
    assert not is_free(named)
    assert [path.name for path in tmp_path.iterdir()] == [place.name]


def test_what_a_killed_builder_left_inside_is_removed_and_a_users_folder_is_not(
    tmp_path, monkeypatch
):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    Path(".here.a1b2c3d4").mkdir()
    assert is_free(Path("."))
    Path(".here.notes").mkdir()
    assert not is_free(Path("."))
    (tmp_path / "link").symlink_to(tmp_path / "new")
    assert not is_free(tmp_path / "link")


def test_another_fault_of_the_disk_is_not_called_a_full_one(tmp_path):
    with pytest.raises(FileNotFoundError), disk_space(tmp_path):
        (tmp_path / "none").read_bytes()


def test_a_staged_folder_appears_whole_with_its_inner_folders(tmp_path):
    final = tmp_path / "stages" / "clean" / "abc"
    with staged_folder(final) as folder:
        (folder / "inner").mkdir()
        (folder / "inner" / "f").write_text("x")
        assert not final.exists()
    assert (final / "inner" / "f").read_text() == "x"
    assert os.listdir(final.parent) == ["abc"]
    assert final.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("fault", [RuntimeError, KeyboardInterrupt, OSError])
def test_a_staged_folder_that_fails_is_gone(tmp_path, fault):
    def build() -> None:
        with staged_folder(tmp_path / "a") as folder:
            (folder / "f").write_text("x")
            raise fault("stop")

    with pytest.raises(fault):
        build()
    assert os.listdir(tmp_path) == []


def test_the_first_of_two_builds_is_kept(tmp_path):
    final = tmp_path / "a"
    with staged_folder(final) as one, staged_folder(final) as other:
        (one / "f").write_text("one")
        (other / "f").write_text("other")
    assert (final / "f").read_text() == "other", "the inner block ended first"
    assert os.listdir(tmp_path) == ["a"]


RACE = """
import sys, time
from pathlib import Path
from sartor.core.durable import staged_folder
final, me = Path(sys.argv[1]), sys.argv[2]
for number in range(30):
    with staged_folder(final / str(number)) as folder:
        for part in ("a", "b", "c"):
            (folder / part).write_text(me)
"""


def test_two_processes_that_build_the_same_folders_never_mix_them(tmp_path):
    racers = [run(RACE, tmp_path, name) for name in ("one", "two")]
    for racer in racers:
        _, errors = racer.communicate(timeout=60)
        assert racer.returncode == 0, errors.decode()
    assert sorted(os.listdir(tmp_path)) == sorted(map(str, range(30)))
    for folder in tmp_path.iterdir():
        assert len({part.read_text() for part in folder.iterdir()}) == 1
        assert len(list(folder.iterdir())) == 3


WRITER = """
import sys
from pathlib import Path
from sartor.core.durable import write_durably
path = Path(sys.argv[1])
print("go", flush=True)
number = 0
while True:
    number += 1
    write_durably(path, str(number).encode() * 50_000)
"""


def test_a_killed_writer_leaves_one_whole_version(tmp_path):
    path = tmp_path / "f"
    for _ in range(5):
        writer = run(WRITER, path)
        assert writer.stdout is not None
        writer.stdout.readline()
        while not path.exists() and writer.poll() is None:
            pass
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
        data = path.read_bytes()
        number = data[: len(data) // 50_000]
        assert data == number * 50_000
        path.unlink()


BUILDER = """
import sys, time
from pathlib import Path
from sartor.core.durable import staged_folder
with staged_folder(Path(sys.argv[1])) as folder:
    (folder / "f").write_text("half")
    print(folder, flush=True)
    time.sleep(600)
"""


def test_a_killed_builders_folder_is_swept_and_a_working_ones_is_not(tmp_path):
    final = tmp_path / "stages" / "clean" / "abc"
    killed, working = run(BUILDER, final), run(BUILDER, final)
    try:
        assert killed.stdout is not None
        assert working.stdout is not None
        lost, held = (Path(b.stdout.readline().decode().strip()) for b in (killed, working))
        assert sweep(tmp_path) == [], "both are at work"
        killed.send_signal(signal.SIGKILL)
        killed.communicate()
        assert lost.is_dir(), "a kill leaves it; the test would be vacuous"
        assert sweep(tmp_path) == [lost]
        assert os.listdir(final.parent) == [held.name]
    finally:
        working.kill()
        working.communicate()


def test_only_staging_folders_are_swept(tmp_path):
    kept = [".git", ".cache.d", "abc.12345678", ".abc.1234567", ".abc.1234567X", "runs/1"]
    for name in kept:
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / ".file.12345678").write_text("not a folder")
    (tmp_path / ".link.12345678").symlink_to(tmp_path / ".git")
    (tmp_path / "runs" / "1" / ".model.a2345_78" / "inner").mkdir(parents=True)
    assert sweep(tmp_path) == [tmp_path / "runs" / "1" / ".model.a2345_78"]
    assert all((tmp_path / name).exists() for name in kept)
    assert (tmp_path / ".link.12345678").is_symlink()


SWEEPER = """
import sys, time
from pathlib import Path
from sartor.core.durable import sweep
while True:
    sweep(Path(sys.argv[1]))
"""


def test_a_sweeper_that_never_stops_takes_nothing_from_a_builder(tmp_path):
    sweeper = run(SWEEPER, tmp_path)
    try:
        builder = run(RACE, tmp_path, "one")
        _, errors = builder.communicate(timeout=60)
        assert builder.returncode == 0, errors.decode()
        assert sweeper.poll() is None
    finally:
        sweeper.kill()
        sweeper.communicate()
    for folder in (tmp_path / str(number) for number in range(30)):
        assert sorted(os.listdir(folder)) == ["a", "b", "c"]
