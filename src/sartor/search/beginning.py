"""`sartor init`: from data to a need file to start from, with what so many examples can prove."""

import json
from pathlib import Path

from sartor.core.durable import write_durably
from sartor.core.errors import DataError, SettingError
from sartor.data.marks import join_marks
from sartor.data.profile import counted, guess, profile
from sartor.data.read import read
from sartor.data.table import Columns
from sartor.judge.planning import provable
from sartor.need.schema import json_schema
from sartor.tasks import TASKS

_SCHEMA = "need.schema.json"
_TRUTH = 0.85
_TEST_SHARE = 0.2


def begin(
    data: str, to: Path, *, task: str = "text_classification", force: bool = False
) -> list[str]:
    """Guess columns and write a need file and its JSON Schema beside it.

    Args:
        data: File, folder or hub id.
        to: The need file; its folder is where `data` is written relative to.
        task: What is to be predicted.
        force: Replace a file that is there.

    Returns:
        Lines for the user: what was found, what was written, what it can prove.

    Raises:
        DataError: If the data cannot be read or no text and label columns are found.
        SettingError: If `to` exists and `force` is not given.
        UnknownName: If there is no such task.
    """
    asked = TASKS.get(task)()
    if to.exists() and not force:
        raise SettingError(f"{to} exists.", fix="choose another name with --to, or add --force.")
    table = read([data], Path())
    found = guess(table.frame, asked.target)
    if not found.text or not found.label:
        lacking = "text" if not found.text else "label"
        raise DataError(
            f"{data}: no column looks like the {lacking} ({', '.join(table.columns)}).",
            fix=f"write {to} by hand and name the columns under data.text and data.label.",
        )
    joined = join_marks(table, Columns(found.text, found.label, target=asked.target))
    counts = counted(joined.frame, found.label, asked.target)
    seen = profile(table.frame, found.text)
    test = round(len(table) * _TEST_SHARE)
    proof = provable(test, _TRUTH)
    threshold = max(0.05 * int(proof / 0.05), 0.05)
    rarest = min(counts, key=lambda name: counts[name])
    criteria = asked.starters(threshold, _quoted(rarest))
    first = criteria[0].split()[1]
    lines = [
        f"# yaml-language-server: $schema={_SCHEMA}",
        f"name: {_name(data)}",
        f"task: {task}",
        "data:",
        f"  train: {_quoted(_relative(data, to))}",
        f"  text: {_quoted(found.text)}",
        f"  label: {_quoted(found.label)}",
        *([f"  group: {_quoted(found.group)}"] if found.group else []),
        *(
            [f"  # time: {_quoted(found.time or '')}   # the newest rows become the test set"]
            * bool(found.time)
        ),
        "accept:",
        *(f"  {line}" for line in criteria),
        "  - latency_p95_ms <= 50",
        "  - size_mb <= 150",
        "budget: {minutes: 10}",
        "",
    ]
    schema = json_schema({name: TASKS.get(name)().roles for name in TASKS.names()})
    text = json.dumps(schema, ensure_ascii=False, indent=1) + "\n"
    write_durably(to.parent / _SCHEMA, text.encode())
    write_durably(to, "\n".join(lines).encode())
    languages = ", ".join(f"{k} {v:.0%}" for k, v in list(seen.languages.items())[:4])
    group = f", {found.group} looks like a group" if found.group else ""
    return [
        f"{data}: {len(table):,} rows, {len(table.columns)} columns. text = {found.text}"
        f" ({languages}), label = {found.label} ({len(counts)} values){group}.",
        *found.reasons,
        f"Wrote {to}: task {task}, 3 criteria to start from. A test set of {test:,} can prove"
        f" {first} >= {proof:.2f} if the truth is {_TRUTH} or better.",
        f"Next: sartor plan {to}, then sartor run {to}",
    ]


def _name(data: str) -> str:
    stem = Path(data.removeprefix("hub:")).stem
    plain = "".join(c if c.isalnum() or c in "_-" else "-" for c in stem).strip("-_")
    return plain or "need"


def _relative(data: str, to: Path) -> str:
    if data.startswith("hub:"):
        return data
    path, base = Path(data).resolve(), to.parent.resolve()
    return str(path.relative_to(base)) if path.is_relative_to(base) else str(path)


def _quoted(value: str) -> str:
    """Quoted where YAML or the criterion grammar would read it as something else."""
    plain = value.translate(str.maketrans("_-./", "aaaa"))
    if plain.isalnum() and value[0].isalpha() and value.lower() not in ("true", "false", "null"):
        return value
    return json.dumps(value, ensure_ascii=False)  # JSON strings are YAML
