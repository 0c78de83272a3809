"""Rules of the house that no tool checks."""

import ast
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
VAGUE = {"utils", "helpers", "common", "manager", "misc", "util", "helper"}
NEVER = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve"}


@cache
def errors() -> set[str]:
    """Those that are raised with a fix."""
    text = (ROOT / "src" / "sartor" / "core" / "errors.py").read_text(encoding="utf-8")
    found = ast.walk(ast.parse(text))
    return {node.name for node in found if isinstance(node, ast.ClassDef)} - {"Fault", "NeedError"}


class Source:
    """One file: its text, its nodes and what it calls."""

    def __init__(self, path: Path) -> None:
        self.path, self.text = path, path.read_text(encoding="utf-8")
        self.tree = ast.parse(self.text)
        self.nodes = list(ast.walk(self.tree))
        calls = [node for node in self.nodes if isinstance(node, ast.Call)]
        self.calls = [(ast.unparse(node.func), node) for node in calls]

    def imported(self) -> set[str]:
        """First names of the modules that it imports."""
        found: set[str] = set()
        for node in self.nodes:
            if isinstance(node, ast.Import):
                found |= {name.name.partition(".")[0] for name in node.names}
            if isinstance(node, ast.ImportFrom):
                found.add((node.module or "").partition(".")[0])
        return found


def a_file_is_one_idea(source: Source) -> Iterator[str]:
    if (count := len(source.text.splitlines())) > 400:
        yield f"{count} lines"


def no_name_says_nothing(source: Source) -> Iterator[str]:
    yield from VAGUE & {source.path.stem, source.path.parent.name}


def nothing_unpickles_or_evaluates_what_it_reads(source: Source) -> Iterator[str]:
    yield from source.imported() & NEVER
    for name, call in source.calls:
        given = {k.arg: ast.unparse(k.value) for k in call.keywords}
        unsafe = name == "torch.load" and given.get("weights_only") != "True"
        if name in ("eval", "exec") or unsafe or given.get("trust_remote_code", "False") != "False":
            yield f"line {call.lineno} calls {name}"


def nothing_is_left_for_later(source: Source) -> Iterator[str]:
    for node in source.nodes:
        if isinstance(node, ast.Raise) and "NotImplementedError" in ast.unparse(node):
            yield f"line {node.lineno}"
    if re.search(r"#.*\b(TODO|FIXME|XXX)\b", source.text):
        yield "a comment leaves something for later"


def no_fault_is_swallowed_whole(source: Source) -> Iterator[str]:
    for node in source.nodes:
        if isinstance(node, ast.ExceptHandler):
            caught = ast.unparse(node.type) if node.type else "everything"
            again = any(isinstance(inner, ast.Raise) for inner in ast.walk(node))
            if caught in ("everything", "BaseException", "Exception") and not again:
                yield f"line {node.lineno} catches {caught}"


def every_file_says_what_it_is_for(source: Source) -> Iterator[str]:
    if source.tree.body and not ast.get_docstring(source.tree):
        yield "no docstring"


def an_error_is_never_raised_without_its_fix(source: Source) -> Iterator[str]:
    for name, call in source.calls:
        if name in errors() and call.args and "fix" not in {k.arg for k in call.keywords}:
            yield f"line {call.lineno} raises {name}"


RULES: list[Callable[[Source], Iterator[str]]] = [
    a_file_is_one_idea,
    no_name_says_nothing,
    nothing_unpickles_or_evaluates_what_it_reads,
    nothing_is_left_for_later,
    no_fault_is_swallowed_whole,
    every_file_says_what_it_is_for,
    an_error_is_never_raised_without_its_fix,
]


@pytest.fixture(scope="module")
def broken() -> dict[str, list[str]]:
    """Rule to where it is broken; each file is parsed once, and nothing is kept of it."""
    found: dict[str, list[str]] = {rule.__name__: [] for rule in RULES}
    for source in map(Source, SOURCES):
        for rule in RULES:
            where = source.path.relative_to(ROOT)
            found[rule.__name__] += [f"{where}: {what}" for what in rule(source)]
    return found


@pytest.mark.parametrize("rule", [rule.__name__ for rule in RULES])
def test_the_house_keeps_its_rule(broken: dict[str, list[str]], rule: str):
    assert broken[rule] == []


ODD = """
import pickle
def work(path):
    try:
        eval("1")
        torch.load(path)
        load(path, trust_remote_code=True)
    except Exception:
        pass
    raise SettingError("what")
    raise NotImplementedError  # TODO
"""


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_file_that_breaks_a_rule_is_found(
    tmp_path: Path, rule: Callable[[Source], Iterator[str]]
):
    place = tmp_path / "utils.py"
    place.write_text(ODD + "\n" * 400)
    assert list(rule(Source(place)))
