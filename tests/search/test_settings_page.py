"""The page of settings names every setting with its default, and no other."""

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

from sartor.tasks import TRAINERS
from sartor.tune.api import METHODS, asks
from sartor.tune.settings import Loop
from sartor.tune.writing import WRITERS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/reference/settings.md").read_text(encoding="utf-8")
TRAINED = sorted(file.parent.name for file in (ROOT / "src/sartor/tasks").glob("*/train.py"))


def shown(default: Any) -> str:
    if default is None:
        return "—"
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, tuple):
        return f"[{', '.join(map(str, default))}]"
    return f"{default:g}" if isinstance(default, float) else str(default)


def table(heading: str) -> list[list[str]]:
    part = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in part.splitlines() if line.startswith("| `")]
    return [
        [cell.strip().replace("`", "") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in lines
    ]


def test_the_loops() -> None:
    found = [row[:2] for row in table("Of every method that is descended on")]
    assert found == [[field.name, shown(field.default)] for field in fields(Loop)]


def test_those_of_tasks() -> None:
    found = {
        (task, name, default)
        for name, default, tasks, _ in table("Of a task")
        for task in tasks.split(", ")
    }
    owners: dict[str, Any] = {task: TRAINERS.get(task) for task in TRAINED}
    assert found == {
        (task, f.name, shown(f.default)) for task, o in owners.items() for f in fields(o)
    }


def test_those_of_methods() -> None:
    methods: dict[str, Any] = {n: METHODS.get(n) for n in METHODS.names() if not asks(n)}
    found = [row[:3] for row in table("Of a method")]
    assert found == [[n, f.name, shown(f.default)] for n, m in methods.items() for f in fields(m)]


def test_those_of_writers() -> None:
    writers: dict[str, Any] = {n: WRITERS.get(n) for n in WRITERS.names()}
    found = [row[:3] for row in table("Of a method that writes")]
    assert found == [[n, f.name, shown(f.default)] for n, m in writers.items() for f in fields(m)]
