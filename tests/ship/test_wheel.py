"""The wheel and the pins: what ships is the code that runs here, with the versions it runs with."""

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement

import sartor
from sartor.core.errors import MissingExtra
from sartor.ship.pins import bounds, pins
from sartor.ship.wheel import write_wheel


def test_pip_installs_the_wheel_and_its_command_runs_from_there(tmp_path):
    name = write_wheel(tmp_path)
    there = tmp_path / "there"
    pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--no-compile", "-q"]
    subprocess.run([*pip, "--target", there, tmp_path / name], check=True, timeout=120)

    done = subprocess.run(
        [there / "bin" / "sartor", "--version"],
        env={"PATH": os.defpath, "PYTHONPATH": str(there)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout) == (0, f"sartor {sartor.__version__}\n"), done.stderr
    assert name == f"sartor-{version('sartor')}-py3-none-any.whl"
    root = Path(sartor.__file__).parent
    here = {p.relative_to(root) for p in root.rglob("*") if p.is_file()}
    gone = {p for p in here if not (there / "sartor" / p).exists() and p.suffix != ".pyc"}
    assert not gone, "templates, catalogues and prices are part of it"
    assert {p.suffix for p in here} >= {".py", ".po", ".yaml", ".html", ".css", ".typed"}


def test_the_wheel_has_the_same_bytes_again_and_says_nothing_of_where_it_was_made(tmp_path):
    places = tmp_path / "a", tmp_path / "b"
    for place in places:
        place.mkdir()
    first, second = ((place / write_wheel(place)).read_bytes() for place in places)

    assert first == second
    (wheel,) = places[0].iterdir()
    inside = [Path(name) for name in ZipFile(wheel).namelist()]
    told = {path.parts[1] for path in inside if path.parts[0].endswith(".dist-info")}
    assert told == {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses"}


def test_the_pins_are_all_that_the_server_imports_and_nothing_that_trains():
    found = pins("server")

    names = [pin.partition("==")[0] for pin in found]
    assert found == sorted(found)
    assert {"uvicorn", "starlette", "onnxruntime", "pydantic-core"} <= set(names)
    assert not {"torch", "transformers", "sartor", "polars", "psycopg"} & set(names)
    assert all(pin == f"{name}=={version(name)}" for pin, name in zip(found, names, strict=True))
    assert {"psycopg", "psycopg-binary"} <= {
        pin.partition("==")[0] for pin in pins("server", "psycopg[binary]")
    }
    assert set(pins("")) < set(found)


def test_markers_are_read_as_for_linux():
    assert not [pin for pin in pins("server") if pin.startswith(("colorama", "tomli", "pywin"))]


def test_what_is_not_installed_cannot_be_pinned():
    with pytest.raises(MissingExtra, match="no-such-distribution"):
        pins("server", "no-such-distribution")


def test_bounds_are_those_that_are_stated():
    (numpy,) = map(Requirement, bounds("numpy"))
    assert numpy.name == "numpy"
    assert numpy.specifier.contains(version("numpy"))
