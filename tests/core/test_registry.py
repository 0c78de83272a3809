"""Dropping a file into the package is the whole registration."""

import sys
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

import sartor.core.registry as registry_module
from sartor.core.errors import SettingError, UnknownName
from sartor.core.registry import Registry

PLUGIN = """
from dataclasses import dataclass
from {package} import THINGS

@THINGS.add
@dataclass(frozen=True, slots=True)
class Thing:
    rank: int = 8
    where = "{where}"
"""


class Things:
    """A package of plug-ins on disk, made file by file."""

    def __init__(self, root: Path, name: str, part: str = "") -> None:
        self.folder, self.name, self.part = root / name, name, part
        self.folder.mkdir()
        (self.folder / "__init__.py").write_text(
            "from sartor.core.registry import Registry\n"
            f"THINGS = Registry('thing', package={name!r}, group='{name}.plugins', part={part!r})\n"
        )

    def drop(self, file: str, source: str | None = None) -> None:
        path = self.folder / file
        path.parent.mkdir(exist_ok=True)
        if path.parent != self.folder:
            (path.parent / "__init__.py").touch()
        path.write_text(PLUGIN.format(package=self.name, where=file) if source is None else source)

    @property
    def registry(self) -> Registry[object]:
        return __import__(self.name).THINGS


@pytest.fixture
def made(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    names: list[str] = []

    def make(part: str = "") -> Things:
        name = f"things_{len(names)}_{tmp_path.name}"
        names.append(name)
        return Things(tmp_path, name, part)

    yield make
    for module in list(sys.modules):
        if module.partition(".")[0] in names:
            del sys.modules[module]


@pytest.fixture
def entry_points(monkeypatch):
    found: list[EntryPoint] = []
    monkeypatch.setattr(
        registry_module, "entry_points", lambda **how: EntryPoints(found).select(**how)
    )
    return found


def test_a_dropped_file_is_registered_under_its_own_name(made):
    things = made()
    things.drop("dora.py")
    assert things.registry.names() == ["dora"]
    assert things.registry.get("dora")(rank=4).rank == 4


def test_a_file_dropped_later_is_found_too(made):
    things = made()
    things.drop("lora.py")
    assert things.registry.names() == ["lora"]
    things.drop("dora.py")
    assert things.registry.names() == ["dora", "lora"]
    assert things.registry.get("dora").where == "dora.py"


def test_listing_imports_nothing_and_getting_imports_only_the_one(made):
    things = made()
    things.drop("good.py")
    things.drop("broken.py", "raise RuntimeError('imported')")
    assert things.registry.names() == ["broken", "good"]
    things.registry.get("good")
    with pytest.raises(RuntimeError, match="imported"):
        things.registry.get("broken")


def test_names_with_an_underscore_are_no_plug_ins(made):
    things = made()
    things.drop("lora.py")
    things.drop("_shared.py", "raise RuntimeError('imported')")
    assert things.registry.names() == ["lora"]
    with pytest.raises(UnknownName):
        things.registry.get("_shared")


def test_a_folder_is_one_plug_in_whose_part_holds_the_class(made):
    things = made(part="spec")
    things.drop("text/spec.py")
    things.drop("text/train.py", "raise RuntimeError('imported')")
    things.drop("text/_inner.py", "raise RuntimeError('imported')")
    assert things.registry.names() == ["text"]
    assert things.registry.get("text").where == "text/spec.py"


def test_an_unknown_name_gets_the_near_miss(made):
    things = made()
    things.drop("lora.py")
    with pytest.raises(UnknownName, match="No thing is called 'lroa'") as caught:
        things.registry.get("lroa")
    assert caught.value.fix == "did you mean 'lora'?"


@pytest.mark.parametrize("name", ["", ".", "..", "lora.py", "os", "__init__", "../lora"])
def test_a_name_that_is_no_file_of_the_package_is_unknown(made, name):
    things = made()
    things.drop("lora.py")
    with pytest.raises(UnknownName):
        things.registry.get(name)


def test_a_file_that_registers_nothing_says_how_to(made):
    things = made()
    things.drop("empty.py", "x = 1\n")
    with pytest.raises(SettingError, match=r"empty registers no thing") as caught:
        things.registry.get("empty")
    assert ".add" in caught.value.fix


def test_unknown_settings_are_refused(made):
    things = made()
    things.drop("lora.py")
    adapter = TypeAdapter(things.registry.get("lora"))
    assert adapter.validate_python({"rank": 4}).rank == 4
    with pytest.raises(ValidationError, match="rnak"):
        adapter.validate_python({"rnak": 4})


def external(things: Things, root: Path, module: str, group: str) -> EntryPoint:
    source = PLUGIN.format(package=things.name, where=module).replace("@THINGS.add\n", "")
    (root / f"{module}.py").write_text(source)
    return EntryPoint(name="theirs", value=f"{module}:Thing", group=group)


def test_another_distribution_adds_a_plug_in_by_entry_point(made, entry_points, tmp_path):
    things = made()
    things.drop("lora.py")
    entry_points.append(external(things, tmp_path, "their_module", f"{things.name}.plugins"))
    assert things.registry.names() == ["lora", "theirs"]
    plugin = things.registry.get("theirs")
    assert plugin.where == "their_module"
    with pytest.raises(ValidationError):
        TypeAdapter(plugin).validate_python({"rnak": 4})


def test_an_entry_point_of_the_same_name_does_not_replace_a_built_in(made, entry_points, tmp_path):
    things = made()
    things.drop("theirs.py")
    entry_points.append(external(things, tmp_path, "an_impostor", f"{things.name}.plugins"))
    assert things.registry.names() == ["theirs"]
    assert things.registry.get("theirs").where == "theirs.py"


def test_a_module_elsewhere_does_not_replace_the_built_in_of_its_name(made, entry_points, tmp_path):
    things = made()
    things.drop("lora.py")
    point = external(things, tmp_path, "lora", f"{things.name}.plugins")
    source = tmp_path / "lora.py"
    source.write_text(PLUGIN.format(package=things.name, where="elsewhere"))
    entry_points.append(point)
    try:
        assert things.registry.get("theirs").where == "elsewhere"
        assert things.registry.get("lora").where == "lora.py"
    finally:
        sys.modules.pop("lora", None)
