"""The folder for AWS Lambda: a template, a handler, and a build that leaves out what idles."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

import sartor
from sartor.bundle import Bundle
from sartor.core.errors import SettingError
from sartor.serve.aws_lambda import MIB_PER_CORE
from sartor.ship.api import Parcel
from sartor.ship.settings import read_target
from tests.serve.test_aws_lambda import event
from tests.ship.places import ALONE, lean_package, write

_ASK = """
import json, sys
sys.path.insert(0, sys.argv[1])
import handler
print(json.dumps(handler.handler(json.load(sys.stdin), None)))
"""


def template(folder: Path) -> dict[str, Any]:
    return YAML(typ="safe").load((folder / "template.yaml").read_text("utf-8"))


def properties(folder: Path) -> dict[str, Any]:
    return template(folder)["Resources"]["SartorFunction"]["Properties"]


def test_a_fresh_process_answers_the_event_of_a_function_url(bundle: Bundle, tmp_path: Path):
    write("lambda", tmp_path / "shipped", Parcel.of(bundle))
    package = lean_package(tmp_path / "shipped", tmp_path / "package")
    told = event(body=json.dumps({"inputs": [{"text": "money back"}, {"text": "tax bill"}]}))

    ran = subprocess.run(
        [*ALONE, "-c", _ASK, str(package)],
        input=json.dumps(told),
        capture_output=True,
        text=True,
        check=True,
    )

    reply = json.loads(ran.stdout)
    assert reply["statusCode"] == 200
    outputs = json.loads(reply["body"])["outputs"]
    assert outputs == sartor.load(bundle.folder).predict(["money back", "tax bill"])


def test_the_handler_that_the_template_names_is_there(bundle: Bundle, tmp_path: Path):
    write("lambda", tmp_path / "zip", Parcel.of(bundle))
    module, _, function = properties(tmp_path / "zip")["Handler"].partition(".")
    text = (tmp_path / "zip" / f"{module}.py").read_text("utf-8")
    assert f"\n{function} = " in text
    assert properties(tmp_path / "zip")["Runtime"] == "python3.12"
    target = "build-SartorFunction:"
    assert target in (tmp_path / "zip" / "Makefile").read_text("utf-8").splitlines()


def test_by_default_a_pass_has_a_whole_core(bundle: Bundle, tmp_path: Path):
    write("lambda", tmp_path / "zip", Parcel.of(bundle))
    assert properties(tmp_path / "zip")["MemorySize"] == MIB_PER_CORE


def test_a_url_is_open_to_nobody_unless_that_was_said(bundle: Bundle, tmp_path: Path):
    write("lambda", tmp_path / "iam", Parcel.of(bundle))
    assert properties(tmp_path / "iam")["FunctionUrlConfig"] == {"AuthType": "AWS_IAM"}
    assert "Parameters" not in template(tmp_path / "iam")

    handed = write("lambda", tmp_path / "key", Parcel.of(bundle), access="key")
    found = properties(tmp_path / "key")
    assert found["FunctionUrlConfig"] == {"AuthType": "NONE"}
    assert found["Environment"]["Variables"]["SARTOR_API_KEY"] == {"Ref": "SartorApiKey"}
    parameter = template(tmp_path / "key")["Parameters"]["SartorApiKey"]
    assert (parameter["NoEcho"], parameter["MinLength"]) == (True, 16)
    assert "Default" not in parameter
    assert any("SartorApiKey=" in step.command for step in handed.steps)


def test_a_container_installs_what_a_zip_holds(bundle: Bundle, tmp_path: Path):
    write("lambda", tmp_path / "zip", Parcel.of(bundle))
    write("lambda", tmp_path / "image", Parcel.of(bundle), form="container")
    names = {path.name for path in (tmp_path / "image").iterdir()}
    assert {"Dockerfile", ".dockerignore", "handler.py", "bundle", "template.yaml"} <= names
    assert not {"build.sh", "Makefile"} & names
    one, other = ((tmp_path / n / "requirements.txt").read_text() for n in ("zip", "image"))
    assert one == other
    dockerfile = (tmp_path / "image" / "Dockerfile").read_text("utf-8")
    assert "\nFROM public.ecr.aws/lambda/python:3.12\n" in dockerfile
    found = properties(tmp_path / "image")
    assert found["PackageType"] == "Image"
    assert not {"Runtime", "Handler", "CodeUri"} & found.keys()


def test_what_no_zip_can_hold_is_refused_before_anything_is_built(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Parcel, "size_mib", 200.0)
    with pytest.raises(SettingError, match=r"200 MiB.*250") as caught:
        write("lambda", tmp_path / "zip", Parcel.of(bundle))
    assert "form=container" in caught.value.fix
    assert write("lambda", tmp_path / "image", Parcel.of(bundle), form="container").steps


def test_an_unreleased_bundle_says_so_to_the_handler(
    make_bundle: Callable[..., Bundle], tmp_path: Path
):
    unreleased = make_bundle(released=False)
    write("lambda", tmp_path / "zip", Parcel.of(unreleased, unreleased=True))
    assert "unreleased=True" in (tmp_path / "zip" / "handler.py").read_text("utf-8")


def test_a_python_whose_system_is_too_old_is_refused():
    with pytest.raises(SettingError, match=r"3\.12"):
        read_target("lambda", {"python": "3.11"})


def test_the_build_keeps_what_answers_and_drops_what_does_not(bundle: Bundle, tmp_path: Path):
    """With a pip that copies nothing but makes the places that are to go."""
    write("lambda", tmp_path / "zip", Parcel.of(bundle))
    idle = ("numpy/f2py/a.py", "numpy/core/tests/a.py", "numpy/a.pyi", "onnxruntime/tools/a.py")
    idle += ("onnxruntime/capi/libonnxruntime.so.1.32.0",)
    kept = ("numpy/a.py", "onnxruntime/capi/onnxruntime_pybind11_state.so", "tests/a.py")
    python = tmp_path / "python"
    made = " ".join(f'"$to/{name}"' for name in (*idle, *kept))
    python.write_text(
        '#!/bin/sh\n[ "$1" = -c ] && { echo 0.0; exit; }\n'
        'while [ "$1" != --target ]; do shift; done; to=$2\n'
        f'for file in {made}; do mkdir -p "$(dirname "$file")"; : > "$file"; done\n'
    )
    python.chmod(0o755)

    subprocess.run(
        ["sh", str(tmp_path / "zip" / "build.sh"), "package"],
        cwd=tmp_path,
        env={**os.environ, "PYTHON": str(python)},
        check=True,
        capture_output=True,
    )

    found = {str(p.relative_to(tmp_path / "package")) for p in (tmp_path / "package").rglob("*")}
    assert set(kept) <= found
    assert not set(idle) & found
    assert {"handler.py", "bundle/manifest.json"} <= found
