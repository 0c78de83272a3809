"""The layers hold, and what serves, judges and reads never loads a trainer.

The linter sees import statements; the registry's imports it cannot see, so one fresh process in
which importing torch raises walks all modules and asks every registry for every plug-in.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TORCH_FREE = "core,need,data,judge,bundle,llm,serve,ship,listen,report,studio"
GUARD = """
import sys
from importlib.machinery import ModuleSpec

class Refuse:
    # Libraries may look whether torch is there (polars does); loading it is what is refused.
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "transformers"):
            return ModuleSpec(name, self, is_package=True)

    def create_module(self, spec):
        raise RuntimeError(f"{spec.name} is being imported")

    def exec_module(self, module):
        raise RuntimeError(f"{module} is being imported")

sys.meta_path.insert(0, Refuse())
"""


def python(code: str, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "SARTOR"))}
    paths = os.pathsep.join(path for path in sys.path if path)
    return subprocess.run(
        [sys.executable, *options, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**kept, "PYTHONPATH": paths, "HF_HUB_OFFLINE": "1", **environment},
        timeout=240,
    )


def test_the_import_contracts_hold():
    linter = "from importlinter.cli import lint_imports_command as run; run()"
    done = subprocess.run(
        [sys.executable, "-c", linter, "--config", str(ROOT / "pyproject.toml"), "--no-cache"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )
    assert done.returncode == 0, done.stdout + done.stderr


WALK = (
    GUARD
    + """
import importlib, json, pkgutil, traceback
import sartor

def modules(package):
    found = importlib.import_module(package)
    yield package
    for inner in pkgutil.walk_packages(getattr(found, "__path__", ()), package + "."):
        # Migrations run inside alembic only; a program's __main__ runs it.
        if not inner.name.endswith((".env", ".__main__")):
            yield inner.name

names = [f"sartor.{part}" for part in sys.argv[1].split(",")]
names += [
    f"sartor.tasks.{m.name}.spec"
    for m in pkgutil.iter_modules(importlib.import_module("sartor.tasks").__path__)
    if m.ispkg and not m.name.startswith("_")
]
# What tasks share is no task; the forms of their answers are read on the way to serving.
names.append("sartor.tasks._target")
imported, failed = [], {}
for name in names:
    try:
        for module in modules(name):
            importlib.import_module(module)
            imported.append(module)
    except (RuntimeError, ImportError):
        failed[name] = traceback.format_exc(limit=-6)
from sartor.core.registry import Registry
registries = {
    id(value): value
    for name, module in list(sys.modules.items())
    if name.startswith("sartor")
    for value in list(vars(module).values())
    if isinstance(value, Registry)
}
plugins = {}
for registry in registries.values():
    # Listed without importing; loaded unless it is the half that learns.
    plugins.setdefault(registry.kind, []).extend(registry.names())
    if registry.part != "train":
        for plugin in registry.names():
            registry.get(plugin)
loaded = sorted(m for m in sys.modules if m.partition(".")[0] in ("torch", "transformers"))
print(json.dumps({"imported": imported, "failed": failed, "loaded": loaded, "plugins": plugins}))
"""
)


def test_no_module_or_plug_in_on_the_way_to_serving_loads_torch():
    done = python(WALK.replace("sys.argv[1]", repr(TORCH_FREE)))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert not found["failed"], "\n".join(found["failed"].values())
    assert found["loaded"] == []
    for name in ("sartor.core.store", "sartor.need.file", "sartor.tasks.text_classification.spec"):
        assert name in found["imported"], "the walk missed a module, so it proves nothing"
    assert {"task", "check", "reader"} <= set(found["plugins"])
    assert "text_classification" in found["plugins"]["task"]


def test_the_guard_itself_refuses_torch():
    done = python(GUARD + "import torch")
    assert "torch is being imported" in done.stderr


QUIET = (
    GUARD
    + """
import logging, os, warnings
before = (dict(os.environ), list(logging.root.handlers), list(warnings.filters), sorted(sys.path))
level, hook = logging.root.level, sys.excepthook
import sartor
after = (dict(os.environ), list(logging.root.handlers), list(warnings.filters), sorted(sys.path))
assert after == before, (before, after)
assert (logging.root.level, sys.excepthook) == (level, hook)
assert not logging.getLogger("sartor").handlers
heavy = {"numpy", "pydantic", "onnxruntime", "polars", "typer"} & set(sys.modules)
assert not heavy, heavy
"""
)


def test_importing_sartor_does_nothing_else():
    done = python(QUIET)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(("wish", "found"), [(None, "1"), ("0", "0")])
def test_onnx_runtime_reports_to_nobody_unless_the_user_wishes_it(wish, found):
    name = "ORT_DISABLE_TELEMETRY"
    environment = {k: v for k, v in os.environ.items() if k != name}
    environment |= {} if wish is None else {name: wish}
    code = f"import os, sartor.serve.session; print(os.environ[{name!r}])"
    ran = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == found


def test_the_lazy_names_of_sartor_resolve_and_a_wrong_one_is_an_attribute_error():
    done = python(GUARD + "import sartor\nassert callable(sartor.load)\nsartor.lood")
    assert "AttributeError: module 'sartor' has no attribute 'lood'" in done.stderr


def test_help_is_printed_without_torch():
    code = "import sys\nsys.argv = ['sartor', '--help']\nfrom sartor.cli import main\nmain()"
    done = python(GUARD + code, NO_COLOR="1", COLUMNS="100")
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout
    assert done.stderr == ""
