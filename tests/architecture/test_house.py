"""Rules of the house that no tool checks."""

import ast
import re
from functools import cache, lru_cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
VAGUE = {"utils", "helpers", "common", "manager", "misc", "util", "helper"}
NEVER = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve"}
# By file: each is parsed once, and nothing is kept of it.
each_file = pytest.mark.parametrize(
    "path", SOURCES, ids=[str(path.relative_to(ROOT)) for path in SOURCES], scope="module"
)


@lru_cache(maxsize=1)
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@lru_cache(maxsize=1)
def calls(path: Path) -> list[tuple[str, ast.Call]]:
    return [
        (ast.unparse(node.func), node)
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call)
    ]


@cache
def errors() -> set[str]:
    """Those that are raised with a fix."""
    text = (ROOT / "src" / "sartor" / "core" / "errors.py").read_text(encoding="utf-8")
    found = ast.walk(ast.parse(text))
    return {node.name for node in found if isinstance(node, ast.ClassDef)} - {"Fault", "NeedError"}


@each_file
def test_a_file_is_one_idea(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


@each_file
def test_no_name_says_nothing(path):
    assert not VAGUE & {path.stem, path.parent.name}


@each_file
def test_nothing_unpickles_or_evaluates_what_it_reads(path):
    imported = {
        name.name.partition(".")[0]
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Import)
        for name in node.names
    } | {
        (node.module or "").partition(".")[0]
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ImportFrom)
    }
    assert not imported & NEVER
    for name, call in calls(path):
        assert name not in ("eval", "exec"), f"line {call.lineno}"
        if name == "torch.load":
            safe = {k.arg: ast.unparse(k.value) for k in call.keywords}
            assert safe.get("weights_only") == "True", f"line {call.lineno}"
        trusted = [k for k in call.keywords if k.arg == "trust_remote_code"]
        assert all(ast.unparse(k.value) == "False" for k in trusted), f"line {call.lineno}"


@each_file
def test_nothing_is_left_for_later_and_no_fault_is_swallowed_whole(path):
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Raise) and node.exc is not None:
            assert "NotImplementedError" not in ast.unparse(node.exc), f"line {node.lineno}"
        if isinstance(node, ast.ExceptHandler):
            caught = ast.unparse(node.type) if node.type else "everything"
            again = any(isinstance(inner, ast.Raise) for inner in ast.walk(node))
            broad = caught in ("everything", "BaseException", "Exception")
            assert again or not broad, f"line {node.lineno} catches {caught}"
    assert not re.search(r"#.*\b(TODO|FIXME|XXX)\b", path.read_text(encoding="utf-8"))


@each_file
def test_every_file_says_what_it_is_for(path):
    found = tree(path)
    assert not found.body or ast.get_docstring(found)


@each_file
def test_an_error_is_never_raised_without_its_fix(path):
    for name, call in calls(path):
        if name in errors() and call.args:
            assert "fix" in {k.arg for k in call.keywords}, f"line {call.lineno}"
