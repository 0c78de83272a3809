"""Answering needs few of the distributions that installing sartor brings."""

import json
import subprocess
from pathlib import Path

import pytest

import sartor
from sartor.bundle import Bundle
from sartor.core.errors import MissingExtra
from sartor.ship import lean
from sartor.ship.api import Parcel
from sartor.ship.lean import RUNS_WITH, lean_pins
from tests.composed import answers, desk
from tests.ship.places import ALONE, lean_package, write

_ASK = """
import json, sys
sys.path.insert(0, sys.argv[1])
import handler
print(json.dumps(handler.handler(json.loads(sys.argv[2]), None)))
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def answered_alone(bundle: Bundle, place: Path) -> list[str]:
    """The modules of a process that answers from a bundle's package and nothing else, as it does
    here."""
    write("lambda", place / "shipped", Parcel.of(bundle))
    package = lean_package(place / "shipped", place / "package")
    texts = ["money back", "tax"]
    event = json.dumps({"rows": texts})
    ran = subprocess.run(
        [*ALONE, "-c", _ASK, str(package), event], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    reply, modules = map(json.loads, ran.stdout.splitlines())
    assert reply["outputs"] == sartor.load(bundle.folder).predict(texts)
    return modules


def test_a_fresh_process_answers_with_nothing_else_installed(bundle: Bundle, tmp_path: Path):
    modules = answered_alone(bundle, tmp_path)
    assert {"onnxruntime", "tokenizers", "numpy", "pydantic"} <= set(modules)
    assert not {"sympy", "mpmath", "huggingface_hub", "rich", "typer", "google"} & set(modules)


_LOADED = """
import json, sys
sys.path.insert(0, sys.argv[1])
import sartor
print(json.dumps(sartor.load(sys.argv[1] + "/bundle").predict(json.loads(sys.argv[2]))))
"""


def test_what_lambda_gets_answers_in_process_as_well(bundle: Bundle, tmp_path: Path):
    write("lambda", tmp_path / "shipped", Parcel.of(bundle))
    package = lean_package(tmp_path / "shipped", tmp_path / "package")

    asked = ["money back", "tax"]
    ran = subprocess.run(
        [*ALONE, "-W", "ignore", "-c", _LOADED, str(package), json.dumps(asked)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == sartor.load(bundle.folder).predict(asked)


@pytest.mark.parametrize("kind", ["product", "cells", "product with cells"])
def test_what_else_can_be_shipped_answers_there(kind: str, tmp_path: Path):
    bundle = (
        desk(tmp_path / "made", cells=kind != "product")
        if kind.startswith("product")
        else answers(tmp_path / "made", cells=True)
    )
    modules = answered_alone(bundle, tmp_path)
    assert "ruamel" not in modules
    assert ("safetensors" in modules) == (kind != "product")


def test_the_pins_are_of_what_is_installed_here(bundle: Bundle):
    parcel = Parcel.of(bundle)
    found = lean_pins(parcel)
    assert {pin.partition("==")[0] for pin in found} == set(RUNS_WITH)
    assert set(found) <= set(parcel.pins(""))


def test_one_that_sartor_no_longer_needs_is_noticed(
    bundle: Bundle,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(lean, "RUNS_WITH", (*RUNS_WITH, "sympy"))
    with pytest.raises(MissingExtra, match="sympy is not among"):
        lean_pins(Parcel.of(bundle))
