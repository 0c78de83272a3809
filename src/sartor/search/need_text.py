"""How `sartor init` writes a need file, and its JSON Schema beside it."""

import json
from pathlib import Path

from sartor.core.durable import write_durably
from sartor.need.schema import json_schema
from sartor.tasks import TASKS

SCHEMA = "need.schema.json"
ANSWERING = ("  - latency_p95_ms <= 50", "  - size_mb <= 150")
"""Criteria of whatever answers at once."""


def write_need(lines: list[str], to: Path) -> None:
    """The need, and its JSON Schema beside it."""
    schema = json_schema({name: TASKS.get(name)().roles for name in TASKS.names()})
    text = json.dumps(schema, ensure_ascii=False, indent=1) + "\n"
    write_durably(to.parent / SCHEMA, text.encode())
    write_durably(to, "\n".join(lines).encode())


def name_of(data: str) -> str:
    """The need's name, from that of its data."""
    stem = Path(data.removeprefix("hub:")).stem
    plain = "".join(c if c.isalnum() or c in "_-" else "-" for c in stem).strip("-_")
    return plain or "need"


def relative(data: str, to: Path) -> str:
    """A source as the need at `to` names it."""
    if data.startswith("hub:"):
        return data
    path, base = Path(data).resolve(), to.parent.resolve()
    return str(path.relative_to(base)) if path.is_relative_to(base) else str(path)


def quoted(value: str) -> str:
    """Quoted where YAML or the criterion grammar would read it as something else."""
    plain = value.translate(str.maketrans("_-./", "aaaa"))
    if plain.isalnum() and value[0].isalpha() and value.lower() not in ("true", "false", "null"):
        return value
    return json.dumps(value, ensure_ascii=False)  # JSON strings are YAML
