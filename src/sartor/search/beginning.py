"""`sartor init`: from data to a need file to start from, with what so many examples can prove."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import polars as pl

from sartor.core.errors import DataError, SettingError
from sartor.core.numerals import number_of
from sartor.core.texts import CONTEXT
from sartor.core.types import TargetKind
from sartor.data.cells import readable
from sartor.data.documents import base_of_answers, read_base
from sartor.data.marks import join_marks
from sartor.data.profile import (
    Guess,
    counted,
    further_texts,
    guess,
    mean_length,
    naming,
    profile,
)
from sartor.data.questions import context_of, guess_questions
from sartor.data.read import read
from sartor.data.table import Columns, Table, texts_of
from sartor.data.words import join_words
from sartor.judge.planning import provable
from sartor.search.beginning_histories import begin_histories
from sartor.search.need_text import ANSWERING, SCHEMA, name_of, quoted, relative, write_need
from sartor.tasks import TASKS, Composed, Listed, Task, Written
from sartor.tasks._target.passages import Passages

TASK = "text_classification"
"""Where nothing else is said."""
_OUTCOME = "outcome"
_TRUTH = 0.85
_TEST_SHARE = 0.2
_NO_SHARES = frozenset({"spearman", "quadratic_weighted_kappa"})
"""Metrics that rows do not prove as they prove a share."""
_PARTS = (
    "parts:                                    # bundles that answer; the first reads every row",
    "  intent:",
    "    need: intent.yaml                     # run first where it was not; or bundle: a folder",
    "    then:",
    "      - {when: [refund, order], go: answers}",
    "      - {when: complaint, hand_off: a complaint}",
    "      - {answer: intent}                  # the label itself is the outcome",
    "  answers:",
    "    need: answers.yaml",
    "    # reads: history                      # all that the user said, not only the last of it",
    "    # then: {answer: answers, reply: writer}  # say it in the words of a text_generation part",
    "hand_off_below: auto                      # or a number: a person answers what is less sure",
)
_REPLYING = (
    "  - latency_p95_ms <= 5000              # of a whole reply; streaming shows it as it comes",
    "  - size_mb <= 200",
    "prefer:",
    "  backbones: [smollm2]                   # a chat model: starter, hub id or folder",
)


_TRANSLATING = (
    "  - latency_p95_ms <= 2000",
    "  - size_mb <= 200",
    "# prefer:                                # without a model a small one is learnt from these",
    "#   backbones: [./opus-mt-en-zh]         # rows alone; a pretrained encoder-decoder, as a",
    "                                         # folder or hub id, does far better",
)


def begin(
    data: str,
    to: Path,
    *,
    task: str = TASK,
    documents: str | None = None,
    force: bool = False,
) -> list[str]:
    """Guess columns and write a need file and its JSON Schema beside it.

    Args:
        data: File, folder or hub id.
        to: The need file; its folder is where `data` is written relative to.
        task: What is to be predicted; of one that reads several texts, as many columns are looked
            for.
        documents: File of what retrieval finds; the column of the label holds them when None.
        force: Replace a file that is there.

    Returns:
        Lines for the user: what was found, what was written, what it can prove.

    Raises:
        DataError: If the data cannot be read or no text and label columns are found.
        SettingError: If `to` exists and `force` is not given.
        UnknownName: If there is no such task.
    """
    asked = TASKS.get(task)()
    kind = asked.roles.target_kind
    roles = list(asked.roles.inputs)
    if to.exists() and not force:
        raise SettingError(f"{to} exists.", fix="choose another name with --to, or add --force.")
    table = read([data], Path())
    if asked.roles.holds in ("items", "answers"):
        return begin_histories(table, (data, documents), to, (task, asked))
    found = _guessed(table.frame, asked, documents)
    label = _label_of(table, found, asked, (data, to))
    counts = _counts(table, found, asked, documents)
    texts = _texts(table.frame, found, data, roles) if found.text else {}
    taken = (*texts.values(), found.label, found.group, found.time)
    columns = readable(table, taken) if asked.roles.columns else {}
    if asked.roles.columns and not columns:
        raise DataError(
            f"{data}: no column is left to read beside {', '.join(filter(None, taken))}.",
            fix="choose the task text_classification, or add columns.",
        )
    seen = profile(table.frame, list(texts.values()))
    languages = ", ".join(f"{k} {v:.0%}" for k, v in list(seen.languages.items())[:4])
    named = [f"{role} = {column}" for role, column in texts.items()]
    named[-1:] = [f"{named[-1]} ({languages})"] if named else []
    test = round(len(table) * _TEST_SHARE)
    proof = provable(test, _TRUTH)
    threshold = max(0.05 * int(proof / 0.05), 0.05)
    rarest = min(counts, key=lambda name: counts[name], default="")
    criteria = asked.starters(threshold, quoted(rarest) if rarest else "")
    first = criteria[0].removeprefix("- ")
    count = 2 + sum(line.startswith("-") for line in criteria)
    writes, composed = isinstance(asked.target, Written), isinstance(asked.target, Composed)
    lines = [
        f"# yaml-language-server: $schema={SCHEMA}",
        f"name: {name_of(data)}",
        f"task: {task}",
        "data:",
        f"  train: {quoted(relative(data, to))}",
        *([f"  documents: {quoted(relative(documents, to))}"] if documents else []),
        *(f"  {role}: {quoted(column)}" for role, column in texts.items()),
        *(["  columns:"] * bool(columns)),
        *(f"    {quoted(name)}: {kind}" for name, kind in columns.items()),
        f"  label: {quoted(label)}",
        *_order(counts, kind),
        *([f"  group: {quoted(found.group)}"] if found.group else []),
        *(
            [f"  # time: {quoted(found.time or '')}   # the newest rows become the test set"]
            * bool(found.time)
        ),
        "accept:",
        *(f"  {line}" for line in criteria),
        *_further(asked),
        *(_PARTS if composed else ("budget: {minutes: 10}",)),
        "",
    ]
    write_need(lines, to)
    named += [f"{len(columns)} columns to read"] * bool(columns)
    group = f", {found.group} looks like a group" if found.group else ""
    return [
        f"{data}: {len(table):,} rows, {len(table.columns)} columns. {', '.join(named)},"
        f" label = {found.label} ({_values(counts, kind)}){group}.",
        *found.reasons,
        f"Wrote {to}: task {task}, {count} criteria to start from."
        + ("" if writes else f" {_provable(first, test, proof)}"),
        f"Next: name the parts in {to}, then sartor run {to}"
        if composed
        else f"Next: sartor plan {to}, then sartor run {to}",
    ]


def _label_of(table: Table, found: Guess, asked: Task, files: tuple[str, Path]) -> str:
    """The column of the answers, where a text can be read beside it.

    Args:
        table: The rows.
        found: The parts of their columns.
        asked: The task.
        files: Where they were read from, and the need file.

    Raises:
        DataError: Naming the part that is lacking.
    """
    data, to = files
    fix = f"write {to} by hand and name the columns under data.text and data.label."
    named = found.text or set(asked.roles.inputs) <= set(asked.roles.optional)
    if not named or not found.label:
        lacking = "label" if named else "text"
        listed = ", ".join(table.columns)
        raise DataError(f"{data}: no column looks like the {lacking} ({listed}).", fix=fix)
    cells = texts_of(table.frame[found.label]) if found.label in table.columns else ["-"]
    if not any(cell and cell.strip() for cell in cells):
        raise DataError(
            f"{data}: the column {found.label!r} is empty in all {len(table):,} rows.", fix=fix
        )
    return found.label


def _further(asked: Task) -> tuple[str, ...]:
    """Criteria and preferences beside those of the task itself."""
    if not isinstance(asked.target, Written):
        return ANSWERING
    return _REPLYING if asked.target.turns else _TRANSLATING


def _guessed(frame: pl.DataFrame, asked: Task, documents: str | None) -> Guess:
    """The parts of the columns."""
    if isinstance(asked.target, Composed) and _OUTCOME in frame.columns:
        # Columns beside it may hold labels too: those of the parts.
        found = guess(frame.drop(_OUTCOME), asked.target)
        return replace(found, label=_OUTCOME)
    if isinstance(asked.target, Passages):
        return guess_questions(frame)
    if not _finds(asked):
        return guess(frame, asked.target)
    found = guess(frame)
    if documents is not None:
        base = read_base([documents], Path()).words
        label = naming(frame, base)
        return replace(found, label=label, text=_other_text(frame, found.text, label))
    # The documents themselves: the longer of two columns of texts.
    texts = further_texts(frame, [], 2)
    if len(texts) < 2:
        return replace(found, label=None)
    shorter, longer = sorted(texts, key=lambda name: mean_length(frame[name]))
    reasons = (
        f"text = {shorter}, label = {longer}: two columns of texts, the longer one answers.",
    )
    return replace(found, text=shorter, label=longer, group=None, reasons=reasons)


def _finds(asked: Task) -> bool:
    """Whether the answers are documents."""
    return asked.roles.target_kind == "documents"


def _other_text(frame: pl.DataFrame, text: str | None, label: str | None) -> str | None:
    """The column that is read, where the one guessed is the one that names documents."""
    if text != label or label is None:
        return text
    return next(iter(further_texts(frame, [label], 1)), None)


def _counts(table: Table, found: Guess, asked: Task, documents: str | None) -> dict[str, int]:
    """Answer to rows."""
    assert found.label is not None, "it was looked for"
    target, label = asked.target, found.label
    if _finds(asked) and isinstance(target, Listed):
        if documents is None:
            base = base_of_answers(table, label)
        else:
            base = read_base([documents], Path())
        return dict.fromkeys(base.words, 0) | counted(table.frame, label, target.of(base.words))
    named = Columns(found.text or "", label, target=target)
    joined = join_marks(join_words(table, named), named)
    return counted(joined.frame, label, target)


def _texts(frame: pl.DataFrame, found: Guess, data: str, roles: list[str]) -> dict[str, str]:
    """Role to column of every text, in the order of the file.

    Raises:
        DataError: If there are fewer columns of texts than roles.
    """
    assert found.text is not None
    if CONTEXT in roles:
        context = context_of(frame, [found.text, found.label or ""])
        columns = [name for name in (found.text, context) if name]
    else:
        columns = _in_order(frame, found, len(roles))
    if len(columns) < len(roles):
        raise DataError(
            f"{data}: {len(columns)} column looks like a text ({', '.join(columns)}), and the task"
            f" reads {len(roles)}.",
            fix=f"write the need by hand and name the columns under {', '.join(roles)}.",
        )
    return dict(zip(roles, columns, strict=True))


def _in_order(frame: pl.DataFrame, found: Guess, count: int) -> list[str]:
    assert found.text is not None
    taken = [name for name in (found.text, found.label, found.group, found.time) if name]
    more = further_texts(frame, taken, count - 1)
    return sorted([found.text, *more], key=frame.columns.index)


def _provable(first: str, test: int, proof: float) -> str:
    """What so many test rows can show of the first criterion."""
    metric = first.split()[0]
    if not proof:
        return f"So few rows can prove nothing of {metric}: bring more."
    if metric in _NO_SHARES:
        return f"About {test:,} rows are held out to show {first}: raise or lower it as you need."
    return (
        f"A test set of {test:,} can prove {metric} >= {proof:.2f} if the truth is {_TRUTH} or"
        " better."
    )


def _values(counts: Mapping[str, int], kind: TargetKind) -> str:
    """The answers in brief."""
    if kind in ("text", "answer"):
        return {"text": "texts to write", "answer": "answers"}[kind]
    if kind == "number" and counts:
        parts = sorted(counts, key=lambda name: float(name.partition(" – ")[0]))
        low, high = parts[0].partition(" – ")[0], parts[-1].rpartition(" – ")[2]
        return f"numbers from {low} to {high}"
    return f"{len(counts)} values"


def _order(counts: Mapping[str, int], kind: TargetKind) -> list[str]:
    """The levels to put in order, where they are words; numbers have one."""
    if kind != "level" or all(number_of(name) is not None for name in counts):
        return []
    listed = ", ".join(map(quoted, sorted(counts)))
    return [f"  labels: [{listed}]   # put them in order, the lowest first"]
