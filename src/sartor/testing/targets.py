"""Laws that every target obeys, built-in or from another distribution.

A distribution that adds a target tests it by importing these into a test module:

    from sartor.testing.targets import *  # noqa: F403

The bundles are whole and sealed, but hold no model: what is looked at is the folder that is
written. Whether it answers as the bundle does is for each target's own tests to show.
"""

import ast
import getpass
import io
import os
import shlex
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, cast
from zipfile import ZipFile, is_zipfile

import pytest
from ruamel.yaml import YAML

import sartor
from sartor.bundle import Bundle, Manifest, Preprocess, record_verdicts, write_bundle
from sartor.core.errors import MissingExtra, SartorError, SettingError
from sartor.llm.access import VARIABLE
from sartor.llm.prompt import FILE, Prompt
from sartor.ship.api import TARGETS
from sartor.ship.parcel import SILENCE
from sartor.ship.settings import read_target, settings_of
from sartor.ship.writing import LIST, README, Shipped, ship
from sartor.testing.documented import undocumented

__all__ = [
    "asking",
    "home",
    "judged",
    "made",
    "shipped",
    "target",
    "test_a_misspelt_setting_is_refused_with_the_right_one",
    "test_a_server_that_the_bundle_asks_is_allowed_where_it_runs_or_the_bundle_is_refused",
    "test_every_setting_is_documented_and_the_summary_is_a_line",
    "test_it_writes_only_inside_its_folder",
    "test_no_secret_and_no_trace_of_this_machine_is_in_it",
    "test_nothing_is_reported_to_the_makers_of_the_runtime",
    "test_the_bundle_and_the_code_that_judged_it_are_in_it_unchanged",
    "test_the_same_bundle_gives_the_same_bytes",
    "test_what_is_to_be_parsed_parses",
    "test_what_the_steps_name_is_there_and_their_shell_is_sound",
]

_SECRET = f"secret-{uuid.uuid4().hex}"
_PLACE = f"machine-{uuid.uuid4().hex[:12]}"
_SECRETS = ("SARTOR_API_KEY", "SARTOR_STORE_URL", "SHOP_LLM_KEY", "AWS_SECRET_ACCESS_KEY")
_URL = "http://models.example.org:8081/v1"
_ORIGIN = "http://models.example.org:8081"
_SHELL, _YAML = (".sh",), (".yaml", ".yml")
_FILES = (*_SHELL, *_YAML, ".txt", ".whl", ".py", ".service", ".zip", ".json", ".toml")


@pytest.fixture(params=TARGETS.names())
def target(request: pytest.FixtureRequest) -> str:
    """Every registered target; it works with its default settings."""
    return request.param


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A place whose name can be found again wherever it leaks."""
    return tmp_path_factory.mktemp(_PLACE)


@pytest.fixture(scope="session")
def judged(home: Path) -> Bundle:
    """A released bundle that holds a graph, as far as its manifest says."""
    parts = home / "parts"
    parts.mkdir()
    for name in ("model.onnx", "tokenizer.json"):
        (parts / name).write_bytes(name.encode() * 1_000)
    content = {path.name: path for path in parts.iterdir()}
    return _bundle(home / "bundle", content)


@pytest.fixture(scope="session")
def asking(home: Path) -> Bundle:
    """A released bundle that asks a language model, with a key."""
    prompt = Prompt(url=_URL, model="tiny", key="SHOP_LLM_KEY", system="Sort.")
    place = home / FILE
    place.write_text(prompt.to_json())
    return _bundle(home / "asking", {FILE: place})


@pytest.fixture(scope="session")
def made() -> dict[str, Shipped]:
    """What each target wrote."""
    return {}


@pytest.fixture
def shipped(target: str, judged: Bundle, home: Path, made: dict[str, Shipped]) -> Shipped:
    """What the target writes for the bundle; written once."""
    if target not in made:
        with pytest.MonkeyPatch.context() as patch:
            for name in _SECRETS:
                patch.setenv(name, _SECRET)
            made[target] = _ship(judged, target, home / f"out-{target}")
    return made[target]


def test_it_writes_only_inside_its_folder(
    target: str, judged: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere, own = tmp_path / "elsewhere", tmp_path / "own"
    for folder in (elsewhere, own):
        folder.mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("HOME", str(own))
    before = _bytes(judged.folder)

    _ship(judged, target, tmp_path / "out")

    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", "out", "own"]
    assert not [*elsewhere.iterdir(), *own.iterdir()]
    assert _bytes(judged.folder) == before


def test_the_same_bundle_gives_the_same_bytes(
    target: str, judged: Bundle, shipped: Shipped, tmp_path: Path
) -> None:
    before = os.umask(0o077)
    try:
        again = _ship(judged, target, tmp_path / "elsewhere" / "again")
    finally:
        os.umask(before)

    assert _bytes(again.folder) == _bytes(shipped.folder)
    hidden = [p for p in again.folder.rglob("*") if p.stat().st_mode & 0o444 != 0o444]
    assert not hidden, "who builds or serves it may be another user"


def test_no_secret_and_no_trace_of_this_machine_is_in_it(shipped: Shipped) -> None:
    root = Path(sartor.__file__).parents[1]
    traces = [_SECRET, _PLACE, str(root), sys.prefix, str(Path.cwd()), str(Path.home())]
    # Of short ones, ordinary text is full.
    wanted = [trace.encode() for trace in traces if len(trace) > 5]
    found = [
        (name, trace)
        for name, content in _everything(shipped.folder)
        for trace in wanted
        if trace in content
    ]
    # Names may be words that sartor's own code has.
    names = [name for name in (socket.gethostname(), getpass.getuser()) if len(name) > 5]
    for path in _own(shipped.folder):
        text = path.read_text("utf-8", "replace")
        found += [(path.name, name) for name in names if name != "localhost" and name in text]
    assert not found


def test_every_setting_is_documented_and_the_summary_is_a_line(target: str) -> None:
    owner: Any = TARGETS.get(target)

    assert undocumented(owner) == []
    assert all(setting.what for setting in settings_of(target))
    assert owner.summary.strip()
    assert "\n" not in owner.summary
    assert not owner.summary.endswith(".")
    assert (owner.__doc__ or "").strip()
    assert owner(), "every setting has a default"


def test_a_misspelt_setting_is_refused_with_the_right_one(target: str) -> None:
    names = [field.name for field in fields(cast("Any", TARGETS.get(target)))] or ["nothing"]

    with pytest.raises(SettingError) as caught:
        read_target(target, {f"{names[0]}q": "1"})

    assert names == ["nothing"] or names[0] in caught.value.fix


def test_the_bundle_and_the_code_that_judged_it_are_in_it_unchanged(
    judged: Bundle, shipped: Shipped
) -> None:
    found = dict(_everything(shipped.folder))
    held = {content for name, content in found.items() if not name.endswith(LIST)}

    for path in judged.folder.iterdir():
        assert path.read_bytes() in held, path.name
    code = [content for name, content in found.items() if name.endswith("sartor/ship/wheel.py")]
    assert set(code) == {(Path(sartor.__file__).parent / "ship" / "wheel.py").read_bytes()}
    assert (shipped.folder / README).stat().st_size > 200


def test_nothing_is_reported_to_the_makers_of_the_runtime(shipped: Shipped) -> None:
    texts = [path.read_text("utf-8", "replace") for path in _own(shipped.folder)]
    assert any(SILENCE in text for text in texts)


def test_what_is_to_be_parsed_parses(shipped: Shipped) -> None:
    for path in _own(shipped.folder):
        if path.suffix in _SHELL:
            _check_shell(path.read_text("utf-8"))
        elif path.suffix in _YAML:
            assert [d for d in YAML(typ="safe").load_all(path) if d], path.name
        elif path.suffix == ".py":
            assert ast.get_docstring(ast.parse(path.read_text("utf-8"))), path.name


def test_what_the_steps_name_is_there_and_their_shell_is_sound(shipped: Shipped) -> None:
    assert shipped.handed.steps
    for step in shipped.handed.steps:
        _check_shell(step.command)
        assert step.what
        assert not step.what.endswith(".")
        named = [word for word in shlex.split(step.command, comments=False) if _names_a_file(word)]
        missing = [word for word in named if not (shipped.folder / word).exists()]
        assert not missing, step.command
    page = (shipped.folder / README).read_text("utf-8")
    assert all(step.command in page for step in shipped.handed.steps)
    assert all(note in page for note in shipped.handed.notes)


def test_a_server_that_the_bundle_asks_is_allowed_where_it_runs_or_the_bundle_is_refused(
    target: str, asking: Bundle, tmp_path: Path
) -> None:
    allowed = (f"{_ORIGIN}=SHOP_LLM_KEY",)
    try:
        found = _ship(asking, target, tmp_path / "out", allow_llm=allowed)
    except SartorError as error:
        refusal = error
    else:
        _check_told(found)
        return
    assert refusal.fix
    assert not (tmp_path / "out").exists()


def _check_told(found: Shipped) -> None:
    texts = [path.read_text("utf-8", "replace") for path in _own(found.folder)]
    assert any(VARIABLE in text and _ORIGIN in text for text in texts)
    assert any("SHOP_LLM_KEY" in text for text in texts), "the key must be asked for"
    told = " ".join([*found.handed.notes, *(s.what for s in found.handed.steps)])
    assert _ORIGIN in told, "who ships it must be told where texts go"


def _bundle(folder: Path, content: dict[str, Path]) -> Bundle:
    manifest = Manifest(
        format=1,
        id="",
        # What cannot stand in a name, a shell or a file of settings must do no harm.
        name="Shop's tickets: $(id) 票",
        task="text_classification",
        inputs={"text": "text"},
        outputs=["refund", "other"],
        decision={"abstain_below": 0.0},
        preprocess=Preprocess(),
        files={},
        need={},
        lineage={},
    )
    return record_verdicts(write_bundle(folder, manifest, content, "name: x\n"), [], released=True)


def _ship(bundle: Bundle, target: str, out: Path, allow_llm: tuple[str, ...] = ()) -> Shipped:
    try:
        return ship(bundle.folder, target, out, allow_llm=allow_llm)
    except MissingExtra as error:
        pytest.skip(str(error))


def _bytes(folder: Path) -> dict[str, bytes]:
    """Every file's content, by its place below the folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _everything(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of every file, and of those inside of archives."""
    for name, content in _bytes(folder).items():
        yield name, content
        if is_zipfile(io.BytesIO(content)):
            with ZipFile(io.BytesIO(content)) as archive:
                for inside in archive.namelist():
                    yield f"{name}:{inside}", archive.read(inside)


def _own(folder: Path) -> Iterator[Path]:
    """What the target itself wrote: neither the bundle nor sartor's code."""
    bundles = [place.parent for place in folder.rglob("manifest.json")]
    for path in sorted(folder.rglob("*")):
        inside = any(path.is_relative_to(place) for place in bundles)
        if path.is_file() and not inside and not is_zipfile(path) and path.name != LIST:
            yield path


def _check_shell(text: str) -> None:
    done = subprocess.run(["sh", "-n"], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{text}\n{done.stderr}"


def _names_a_file(word: str) -> bool:
    inside = not word.startswith(("/", "http:", "https:", "-")) and "$" not in word
    return inside and (word.startswith("./") or word.endswith(_FILES))
