"""Verdicts and the ladder as terminal tables.

Rich measures text in cells, so double-width characters align, and drops colour under `NO_COLOR`.
Every cell is a `Text`: as markup, the brackets of `recall[label=refund]` would vanish.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from sartor.need.verdict import Verdict
from sartor.report.result import read_plan
from sartor.report.words import Words, plain, translator

_STYLES = {"met": "green", "unmet": "bold red", "unproven": "yellow"}


def verdict_table(verdicts: Sequence[Verdict], language: str = "en") -> Table:
    """One row a criterion: value, interval, n, verdict, and what would decide or limits it."""
    _, words = translator(language), Words.of(language)
    table = _table()
    table.add_column(_("criterion"), overflow="fold", min_width=16)
    for name in (_("value"), _("95 % interval"), _("n")):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column(_("verdict"), no_wrap=True)
    table.add_column("", overflow="fold")
    for verdict in verdicts:
        remarks = (words.decides(verdict), words.remark(plain(verdict.note)))
        table.add_row(
            Text(plain(verdict.criterion)),
            Text(words.value(verdict)),
            Text(words.interval(verdict)),
            Text(f"{verdict.n:,}" if verdict.n else ""),
            Text(words.state(verdict.state), style=_STYLES[verdict.state]),
            Text("; ".join(filter(None, remarks)), style="dim"),
        )
    return table


def ladder_table(plan: Sequence[Mapping[str, Any]], language: str = "en") -> Table:
    """One row a rung, with predicted time, memory and size as ranges.

    Raises:
        WorkspaceError: If a rung is not of the form that `result.json` holds under `plan`.
    """
    _, words = translator(language), Words.of(language)
    table = _table()
    table.add_column(_("rung"), overflow="fold", min_width=12)
    for name in (_("time"), _("memory"), _("size")):
        table.add_column(name, justify="right", no_wrap=True)
    for rung in read_plan(plan):
        table.add_row(
            Text(rung.title),
            Text(words.durations(rung.seconds)),
            Text(words.range(rung.memory_mb, words.megabytes)),
            Text(words.range(rung.size_mb, words.megabytes)),
        )
    return table


def _table() -> Table:
    return Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
