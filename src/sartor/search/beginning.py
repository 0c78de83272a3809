"""`sartor init`: from data to a need file to start from, with what so many examples can prove."""

import json
from pathlib import Path

import polars as pl

from sartor.core.durable import write_durably
from sartor.core.errors import DataError, SettingError
from sartor.data.marks import join_marks
from sartor.data.profile import Guess, counted, further_texts, guess, profile
from sartor.data.read import read
from sartor.data.table import Columns
from sartor.judge.planning import provable
from sartor.need.schema import json_schema
from sartor.tasks import TASKS, Written

TASK = "text_classification"
"""Where nothing else is said."""
_SCHEMA = "need.schema.json"
_TRUTH = 0.85
_TEST_SHARE = 0.2
_ANSWERING = ("  - latency_p95_ms <= 50", "  - size_mb <= 150")
_REPLYING = (
    "  - latency_p95_ms <= 5000              # of a whole reply; streaming shows it as it comes",
    "  - size_mb <= 200",
    "prefer:",
    "  backbones: [smollm2]                   # a chat model: starter, hub id or folder",
)


def begin(data: str, to: Path, *, task: str = TASK, force: bool = False) -> list[str]:
    """Guess columns and write a need file and its JSON Schema beside it.

    Args:
        data: File, folder or hub id.
        to: The need file; its folder is where `data` is written relative to.
        task: What is to be predicted; of one that reads several texts, as many columns are looked
            for.
        force: Replace a file that is there.

    Returns:
        Lines for the user: what was found, what was written, what it can prove.

    Raises:
        DataError: If the data cannot be read or no text and label columns are found.
        SettingError: If `to` exists and `force` is not given.
        UnknownName: If there is no such task.
    """
    asked = TASKS.get(task)()
    roles = list(asked.roles.inputs)
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
    texts = _texts(table.frame, found, data, roles)
    seen = profile(table.frame, list(texts.values()))
    test = round(len(table) * _TEST_SHARE)
    proof = provable(test, _TRUTH)
    threshold = max(0.05 * int(proof / 0.05), 0.05)
    rarest = min(counts, key=lambda name: counts[name], default="")
    criteria = asked.starters(threshold, _quoted(rarest) if rarest else "")
    writes = isinstance(asked.target, Written)
    first = criteria[0].split()[1]
    lines = [
        f"# yaml-language-server: $schema={_SCHEMA}",
        f"name: {_name(data)}",
        f"task: {task}",
        "data:",
        f"  train: {_quoted(_relative(data, to))}",
        *(f"  {role}: {_quoted(column)}" for role, column in texts.items()),
        f"  label: {_quoted(found.label)}",
        *([f"  group: {_quoted(found.group)}"] if found.group else []),
        *(
            [f"  # time: {_quoted(found.time or '')}   # the newest rows become the test set"]
            * bool(found.time)
        ),
        "accept:",
        *(f"  {line}" for line in criteria),
        *(_REPLYING if writes else _ANSWERING),
        "budget: {minutes: 10}",
        "",
    ]
    schema = json_schema({name: TASKS.get(name)().roles for name in TASKS.names()})
    text = json.dumps(schema, ensure_ascii=False, indent=1) + "\n"
    write_durably(to.parent / _SCHEMA, text.encode())
    write_durably(to, "\n".join(lines).encode())
    languages = ", ".join(f"{k} {v:.0%}" for k, v in list(seen.languages.items())[:4])
    named = ", ".join(f"{role} = {column}" for role, column in texts.items())
    said = "replies" if writes else f"{len(counts)} values"
    proves = (
        ""
        if writes
        else (
            f" A test set of {test:,} can prove {first} >= {proof:.2f} if the truth is {_TRUTH} or"
            " better."
        )
    )
    group = f", {found.group} looks like a group" if found.group else ""
    return [
        f"{data}: {len(table):,} rows, {len(table.columns)} columns. {named}"
        f" ({languages}), label = {found.label} ({said}){group}.",
        *found.reasons,
        f"Wrote {to}: task {task}, 3 criteria to start from." + proves,
        f"Next: sartor plan {to}, then sartor run {to}",
    ]


def _texts(frame: pl.DataFrame, found: Guess, data: str, roles: list[str]) -> dict[str, str]:
    """Role to column of every text, in the order of the file.

    Raises:
        DataError: If there are fewer columns of texts than roles.
    """
    assert found.text is not None
    taken = [name for name in (found.text, found.label, found.group, found.time) if name]
    more = further_texts(frame, taken, len(roles) - 1)
    columns = sorted([found.text, *more], key=frame.columns.index)
    if len(columns) < len(roles):
        raise DataError(
            f"{data}: {len(columns)} column looks like a text ({', '.join(columns)}), and the task"
            f" reads {len(roles)}.",
            fix=f"write the need by hand and name the columns under {', '.join(roles)}.",
        )
    return dict(zip(roles, columns, strict=True))


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
