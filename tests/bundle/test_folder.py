"""A bundle is whole or absent, opens only when nothing changed, and the first one is kept."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sartor.bundle import Bundle, Manifest, Preprocess, open_bundle, record_verdicts, write_bundle
from sartor.bundle.folder import CARD, MODEL, NEED, TOKENIZER
from sartor.bundle.manifest import FORMAT, MANIFEST, MAX_MANIFEST_BYTES
from sartor.core.errors import BundleError
from sartor.need.verdict import Verdict

FILES = (MODEL, TOKENIZER, CARD, NEED, MANIFEST)
MET = Verdict("accuracy >= 0.8", 0.85, 0.81, 0.89, 200, "met", note="今日")
UNPROVEN = Verdict("recall[label=a|b] >= 0.9", 0.9, 0.8, 1.0, 20, "unproven", more=(10, 90))


def draft(**change: Any) -> Manifest:
    fields: dict[str, Any] = {
        "format": FORMAT,
        "id": "",
        "name": "reviews",
        "task": "text_classification",
        "inputs": {"text": "text"},
        "outputs": ["great", "其他"],
        "decision": {"temperature": 1.5, "weights": {"great": 1.0, "其他": 2.0}},
        "preprocess": Preprocess(),
        "files": {},
        "need": {"name": "reviews"},
        "lineage": {"seed": 0},
    }
    return Manifest(**{**fields, **change})


@pytest.fixture
def content(tmp_path: Path) -> dict[str, Path]:
    sources = tmp_path / "sources"
    sources.mkdir()
    (sources / "graph").write_bytes(bytes(range(256)) * 40)
    (sources / "pieces").write_text('{"pieces": ["a", "好"]}', encoding="utf-8")
    return {MODEL: sources / "graph", TOKENIZER: sources / "pieces"}


@pytest.fixture
def bundle(tmp_path: Path, content: dict[str, Path]) -> Bundle:
    return write_bundle(tmp_path / "bundles" / "reviews-1a2b", draft(), content, "name: reviews\n")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def edit(bundle: Bundle, change: Callable[[dict[str, Any]], None], *, seal: bool = False) -> None:
    """Change the manifest as a person with an editor would; `seal` as one who knows the seal."""
    place = bundle.folder / MANIFEST
    raw = json.loads(place.read_text(encoding="utf-8"))
    change(raw)
    if seal:
        loose = Manifest.model_construct(**raw)
        parts = {
            "preprocess": Preprocess(**raw["preprocess"]),
            "files": {n: type(bundle.manifest.files[MODEL])(**f) for n, f in raw["files"].items()},
        }
        fitted = loose.model_copy(update=parts)
        raw["id"] = fitted.content_id()
        raw["seal"] = fitted.model_copy(update={"id": raw["id"]}).seal_value()
    place.write_text(json.dumps(raw, ensure_ascii=False), encoding="utf-8")


def test_what_is_written_opens_again_the_same(bundle, content):
    found = open_bundle(bundle.folder)
    assert found.manifest == bundle.manifest
    assert found.path(MODEL).read_bytes() == content[MODEL].read_bytes()
    assert found.path(NEED).read_text() == "name: reviews\n"
    assert found.manifest.outputs == ["great", "其他"]
    assert found.size_mb == sum(p.stat().st_size for p in bundle.folder.iterdir()) / 1e6
    assert {n for n, entry in found.manifest.files.items() if entry.content} == {MODEL, TOKENIZER}


def test_another_user_may_read_the_folder(bundle):
    assert bundle.folder.stat().st_mode & 0o055 == 0o055


def test_a_file_the_bundle_lacks_is_named(bundle):
    with pytest.raises(BundleError, match=r"has no adapter\.bin"):
        bundle.path("adapter.bin")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("where", [0, 0.5, 1])
def test_one_flipped_bit_in_any_file_is_refused_by_name(bundle, name, where):
    place = bundle.folder / name
    data = bytearray(place.read_bytes())
    data[int(where * (len(data) - 1))] ^= 1
    place.write_bytes(data)
    with pytest.raises(BundleError) as caught:
        open_bundle(bundle.folder)
    assert name in caught.value.what


@pytest.mark.parametrize("name", FILES)
def test_a_truncated_file_is_refused_by_name(bundle, name):
    place = bundle.folder / name
    place.write_bytes(place.read_bytes()[:-3])
    with pytest.raises(BundleError) as caught:
        open_bundle(bundle.folder)
    assert name in caught.value.what


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_refused_by_name(bundle, name):
    (bundle.folder / name).unlink()
    with pytest.raises(BundleError) as caught:
        open_bundle(bundle.folder)
    assert name in caught.value.what


@pytest.mark.parametrize("name", FILES)
def test_a_link_in_the_place_of_a_file_is_refused_by_name(bundle, name, tmp_path):
    place = bundle.folder / name
    shutil.copyfile(place, tmp_path / "same")
    place.unlink()
    place.symlink_to(tmp_path / "same")
    with pytest.raises(BundleError) as caught:
        open_bundle(bundle.folder)
    assert name in caught.value.what


@pytest.mark.parametrize("name", ["evil.so", ".hidden", ".manifest.json.abcd1234", "模型"])
def test_an_extra_file_is_refused_by_name(bundle, name):
    (bundle.folder / name).write_text("x")
    with pytest.raises(BundleError, match="does not list") as caught:
        open_bundle(bundle.folder)
    assert name in caught.value.what


def test_an_extra_folder_is_refused_by_name(bundle):
    (bundle.folder / "inner").mkdir()
    with pytest.raises(BundleError, match="inner"):
        open_bundle(bundle.folder)


def test_a_bundle_may_be_reached_through_a_link_to_its_folder(bundle, tmp_path):
    (tmp_path / "current").symlink_to(bundle.folder)
    assert open_bundle(tmp_path / "current").manifest.id == bundle.manifest.id


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("outputs", ["其他", "great"]),
        ("released", True),
        ("decision", {"temperature": 9.0}),
        ("lineage", {"seed": 1}),
        ("name", "other"),
        ("id", "0" * 64),
        ("seal", "0" * 64),
        ("verdicts", [{"criterion": "accuracy >= 0.8", "state": "met"}]),
    ],
)
def test_a_manifest_edited_by_hand_is_refused(bundle, key, value):
    edit(bundle, lambda raw: raw.update({key: value}))
    with pytest.raises(BundleError, match="edited after it was judged"):
        open_bundle(bundle.folder)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda raw: raw.update(extra=1), "extra"),
        (lambda raw: raw.pop("outputs"), "outputs"),
        (lambda raw: raw.update(released="yes"), "released"),
        (lambda raw: raw.update(format=True), "format"),
        (lambda raw: raw["files"][MODEL].update(sha256="abc"), "sha256"),
        (lambda raw: raw["files"][MODEL].update(bytes=-1), "bytes"),
        (lambda raw: raw["preprocess"].update(max_length=0), "max_length"),
    ],
)
def test_a_field_that_is_wrong_is_named(bundle, change, word):
    edit(bundle, change)
    with pytest.raises(BundleError, match=word):
        open_bundle(bundle.folder)


@pytest.mark.parametrize(
    "name", ["../outside", "/etc/passwd", "a/b", "..", ".", "", "a\\b", MODEL + "\n", MANIFEST]
)
def test_a_name_that_leads_outside_is_refused_even_under_a_fitting_seal(bundle, name, tmp_path):
    (tmp_path / "bundles" / "outside").write_bytes(b"")
    entry = {
        "sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "bytes": 0,
    }
    edit(bundle, lambda raw: raw["files"].update({name: entry}), seal=True)
    with pytest.raises(BundleError, match="not a plain name"):
        open_bundle(bundle.folder)


def test_a_fitting_seal_over_an_honest_change_opens_so_the_tests_above_test_the_names(bundle):
    edit(bundle, lambda raw: raw.update(name="renamed"), seal=True)
    assert open_bundle(bundle.folder).manifest.name == "renamed"


def test_a_newer_format_says_to_upgrade_whatever_else_it_holds(bundle):
    edit(bundle, lambda raw: raw.update(format=FORMAT + 1, shards=[1, 2]))
    with pytest.raises(BundleError, match=f"format {FORMAT + 1}") as caught:
        open_bundle(bundle.folder)
    assert "upgrade" in caught.value.fix


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "not JSON"),
        (b"not json", "not JSON"),
        (b"\xff\xfe{}", "not UTF-8"),
        (b"[" * 200_000, "not JSON"),
        (b'{"format": ' + b"9" * 5000 + b"}", "not JSON"),
        (b"[]", "top level"),
        (b"null", "top level"),
        (b'{"format": 1}', "id"),
        (b" " * (MAX_MANIFEST_BYTES + 1), "larger than"),
    ],
)
def test_a_manifest_that_cannot_be_one_is_refused_without_a_traceback(bundle, data, word):
    (bundle.folder / MANIFEST).write_bytes(data)
    with pytest.raises(BundleError, match=word) as caught:
        open_bundle(bundle.folder)
    assert MANIFEST in caught.value.what


@pytest.mark.parametrize("depth", [300, 900])
def test_deep_nesting_inside_a_free_field_is_refused(bundle, depth):
    edit(bundle, lambda raw: raw.update(need="DEEP"))
    place = bundle.folder / MANIFEST
    deep = '{"a":' * depth + "1" + "}" * depth
    place.write_text(place.read_text(encoding="utf-8").replace('"DEEP"', deep), encoding="utf-8")
    with pytest.raises(BundleError, match=MANIFEST):
        open_bundle(bundle.folder)


@pytest.mark.parametrize("path", ["missing", "file"])
def test_what_is_no_bundle_says_which_folder_to_give(tmp_path, path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(BundleError, match="is not a bundle"):
        open_bundle(tmp_path / path)


def test_the_id_depends_on_what_answers_and_on_nothing_else(tmp_path, content):
    def made(place: str, need: str = "a", **change: Any) -> str:
        return write_bundle(tmp_path / place, draft(**change), content, need).manifest.id

    first = made("a")
    assert made("c", need="other", name="c", lineage={"seed": 5}) == first
    assert made("d", outputs=["其他", "great"]) != first
    assert made("e", decision={"temperature": 1.0}) != first
    content[MODEL].write_bytes(b"another graph")
    assert made("f") != first


def test_what_json_changes_is_changed_before_the_id_is_taken(tmp_path, content):
    decision = {"steps": (1, 2), "by": {2: "a", 10: "b"}, "odd": float("nan")}
    found = write_bundle(tmp_path / "b", draft(decision=decision), content, "")
    assert open_bundle(tmp_path / "b").manifest.id == found.manifest.id
    assert found.manifest.decision["by"] == {"2": "a", "10": "b"}


def test_writing_the_same_twice_keeps_the_first(bundle, content):
    judged = record_verdicts(bundle, [MET], released=True)
    again = write_bundle(bundle.folder, draft(lineage={"seed": 9}), content, "name: other\n")
    assert again.manifest == judged.manifest, "the verdicts of the first are kept"
    assert again.path(NEED).read_text() == "name: reviews\n"
    assert os.listdir(bundle.folder.parent) == [bundle.folder.name]


def test_another_bundle_is_not_written_over_the_first(bundle, content):
    before = contents(bundle.folder)
    with pytest.raises(BundleError, match="already holds another bundle"):
        write_bundle(bundle.folder, draft(outputs=["a", "b"]), content, "")
    assert contents(bundle.folder) == before
    assert os.listdir(bundle.folder.parent) == [bundle.folder.name]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_something_else_under_the_name_is_left_alone(tmp_path, content, kind):
    place = tmp_path / "taken"
    if kind == "file":
        place.write_text("mine")
    else:
        place.mkdir()
        (place / "notes.txt").write_text("mine")
    with pytest.raises(BundleError):
        write_bundle(place, draft(), content, "")
    kept = place if kind == "file" else place / "notes.txt"
    assert kept.read_text() == "mine"


@pytest.mark.parametrize("name", ["../up", "..", "a/b", MANIFEST, NEED, CARD, "a\n"])
def test_a_content_file_cannot_take_an_odd_or_a_reserved_name(tmp_path, content, name):
    with pytest.raises(BundleError, match="content file"):
        write_bundle(tmp_path / "b", draft(), {**content, name: content[MODEL]}, "")
    assert not (tmp_path / "b").exists()


def test_a_failure_while_writing_leaves_nothing(tmp_path, content):
    with pytest.raises(FileNotFoundError):
        write_bundle(tmp_path / "out" / "b", draft(), {**content, "x": tmp_path / "none"}, "")
    assert os.listdir(tmp_path / "out") == []


def test_a_label_that_utf8_cannot_hold_is_refused_with_a_fix(tmp_path, content):
    with pytest.raises(BundleError, match="surrogate"):
        write_bundle(tmp_path / "b", draft(outputs=["a", "\ud800"]), content, "")
    assert not (tmp_path / "b").exists()


def test_recording_verdicts_keeps_the_id_and_changes_only_manifest_and_card(bundle):
    before = contents(bundle.folder)
    judged = record_verdicts(bundle, [MET, UNPROVEN], released=False)
    assert judged.manifest.id == bundle.manifest.id
    assert judged.manifest.seal != bundle.manifest.seal
    after = contents(bundle.folder)
    assert {name for name in after if after[name] != before.get(name)} == {MANIFEST, CARD}
    found = open_bundle(bundle.folder)
    assert [Verdict.of_json(v) for v in found.manifest.verdicts] == [MET, UNPROVEN]
    assert not found.manifest.released
    assert "0.85" in after[CARD].decode()
    assert r"label=a\|b" in after[CARD].decode()


def test_recording_the_same_again_gives_the_same_bytes(bundle):
    record_verdicts(bundle, [MET], released=True)
    once = contents(bundle.folder)
    record_verdicts(open_bundle(bundle.folder), [MET], released=True)
    assert contents(bundle.folder) == once


def test_a_verdict_without_a_value_survives(bundle):
    nothing = Verdict(
        "f1[label=a] >= 0.5", float("nan"), float("-inf"), float("inf"), 0, "unproven"
    )
    record_verdicts(bundle, [nothing], released=False)
    (found,) = open_bundle(bundle.folder).manifest.verdicts
    assert str(found["value"]) == "nan"
    assert (found["low"], found["high"]) == (float("-inf"), float("inf"))
    record_verdicts(open_bundle(bundle.folder), [MET], released=False)


def test_recording_does_not_bless_a_file_that_changed_since_the_bundle_was_opened(bundle):
    place = bundle.folder / MODEL
    place.write_bytes(place.read_bytes()[::-1])
    record_verdicts(bundle, [MET], released=True)
    with pytest.raises(BundleError, match=MODEL):
        open_bundle(bundle.folder)


def killed_at(call: int, code: str, *arguments: Path) -> int:
    """Run `code` in a process that kills itself at its `call`-th step onto the disk."""
    script = f"""
import os, signal, sys
from pathlib import Path
from tests.bundle import test_folder as t
left = {call}
def counted(real):
    def step(*args, **kwargs):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **kwargs)
    return step
os.fsync, os.replace, os.rename = counted(os.fsync), counted(os.replace), counted(os.rename)
Path.rename = counted(Path.rename)
here = [Path(argument) for argument in sys.argv[1:]]
{code}
"""
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr.decode()
    return done.returncode


def test_a_kill_while_writing_leaves_the_whole_bundle_or_none(tmp_path, content):
    code = """
content = {t.MODEL: here[1], t.TOKENIZER: here[2]}
t.write_bundle(here[0], t.draft(), content, "name: reviews")
"""
    folder, kills = tmp_path / "bundles" / "b", 0
    for call in range(100):
        ended = killed_at(call, code, folder, content[MODEL], content[TOKENIZER])
        if folder.exists():
            open_bundle(folder)
        if ended == 0:
            break
        kills += 1
        shutil.rmtree(folder, ignore_errors=True)
    assert kills >= 6
    assert folder.exists()


def test_a_kill_while_recording_verdicts_leaves_a_bundle_that_opens_and_can_be_recorded(bundle):
    code = "t.record_verdicts(t.open_bundle(here[0]), [t.MET], released=True)"
    untouched = bundle.folder.parent / "untouched"
    shutil.copytree(bundle.folder, untouched)
    record_verdicts(bundle, [MET], released=True)
    wanted, kills = contents(bundle.folder), 0
    for call in range(20):
        place = bundle.folder.parent / f"killed-{call}"
        shutil.copytree(untouched, place)
        ended = killed_at(call, code, place)
        assert open_bundle(place).manifest.id == bundle.manifest.id
        record_verdicts(open_bundle(place), [MET], released=True)
        assert contents(place) == wanted
        if ended == 0:
            break
        kills += 1
    assert kills >= 6
