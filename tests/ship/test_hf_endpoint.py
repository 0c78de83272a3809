"""The handler, in a process that has what the endpoint installs and no sartor."""

import json
import subprocess
import sys
from importlib.metadata import version

import pytest

from sartor.core.errors import SettingError
from sartor.serve.runtime import load
from sartor.ship.writing import ship
from tests.composed import desk
from tests.ship.conftest import TEXTS, assert_same_answers, bare, contents, make_environment

_CALL = """
import json, sys, importlib.util
spec = importlib.util.spec_from_file_location("handler", sys.argv[1] + "/handler.py")
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
handler = module.EndpointHandler(sys.argv[1])
texts = json.loads(sys.argv[2])
import sartor
one, many = handler({"inputs": texts[0]}), handler({"inputs": texts})
print(json.dumps([many, one, sartor.__file__]))
"""


@pytest.fixture
def shipped(bundle, tmp_path):
    return ship(bundle.folder, "hf_endpoint", tmp_path / "out").folder


def _called(shipped, tmp_path):
    """What the handler says to all texts and to the first, and where its sartor lies."""
    # What `pip install -r requirements.txt` brings: these, and what they need in turn.
    needed = [line.partition(">")[0].partition("=")[0] for line in _requirements(shipped)]
    more = ("pydantic-core", "annotated-types", "typing-extensions", "typing-inspection")
    pins = [f"{name}=={version(name)}" for name in (*needed, *more)]
    programs = make_environment(tmp_path / "venv", pins)
    done = subprocess.run(
        [programs / "python", "-B", "-c", _CALL, shipped, json.dumps(TEXTS)],
        env=bare(),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_product_that_searches_in_cells_answers_there_too(tmp_path):
    bundle = desk(tmp_path / "made", cells=True)
    shipped = ship(bundle.folder, "hf_endpoint", tmp_path / "out").folder

    many, one, _ = _called(shipped, tmp_path)

    assert many == load(bundle.folder).predict(TEXTS)
    assert one == many[0]


def test_the_handler_answers_as_the_bundle_does_in_process(bundle, shipped, tmp_path):
    before = contents(shipped)

    many, one, place = _called(shipped, tmp_path)

    assert_same_answers(many, bundle)
    assert one == many[0]
    assert place.endswith("/code/sartor/__init__.py"), "the wheel's, not one that is installed"
    assert contents(shipped) == before


def test_a_bundle_that_was_tampered_with_does_not_start(shipped, tmp_path):
    place = shipped / "bundle.zip"
    place.write_bytes(place.read_bytes().replace(b"tokenizer.json", b"tokenizer.jsom"))

    done = subprocess.run(
        [sys.executable, "-B", "-c", _CALL, shipped, json.dumps(TEXTS)],
        env=bare(),
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode != 0
    assert "tokenizer" in done.stderr


def test_nothing_that_holds_the_model_has_a_name_that_the_endpoint_passes_over(shipped):
    names = [path.relative_to(shipped).as_posix() for path in shipped.rglob("*")]

    assert "bundle.zip" in names
    assert not [n for n in names if "onnx" in n or n.endswith(("safetensors", "tflite"))]
    assert "*.zip filter=lfs" in (shipped / ".gitattributes").read_text()


def test_only_the_runtime_that_computes_is_pinned(shipped):
    pinned = [line for line in _requirements(shipped) if "==" in line]
    assert pinned == [f"onnxruntime=={version('onnxruntime')}"]


def test_the_steps_name_the_owner_or_ask_for_it(bundle, tmp_path):
    def uploads(name: str, **settings: str) -> str:
        steps = ship(bundle.folder, "hf_endpoint", tmp_path / name, settings).handed.steps
        (found,) = [step.command for step in steps if step.command.startswith("hf upload")]
        return found

    assert uploads("a", owner="shop") == "hf upload shop/tickets . . --private"
    assert uploads("b") == 'hf upload "$HF_OWNER/tickets" . . --private'
    with pytest.raises(SettingError, match="region"):
        uploads("c", region="us; reboot")


def _requirements(folder) -> list[str]:
    return (folder / "requirements.txt").read_text().split()
