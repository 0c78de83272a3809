"""Verdicts, the ladder and costs as terminal tables.

Rich measures text in cells, so double-width characters align, and drops colour under `NO_COLOR`.
Every cell is a `Text`: as markup, the brackets of `recall[label=refund]` would vanish.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from sartor.core.phrases import Phrase
from sartor.need.verdict import Verdict
from sartor.report.costs import CostWords, ServingCosts
from sartor.report.result import read_plan, read_result
from sartor.report.words import Words, plain, translator

_STYLES = {"met": "green", "unmet": "bold red", "unproven": "yellow"}


def verdict_table(verdicts: Sequence[Verdict], language: str = "en") -> Table:
    """One row a criterion: value, interval, n, verdict, and what would decide or limits it."""
    _, words = translator(language), Words.of(language)
    table = _table()
    table.add_column(_("criterion"), overflow="fold", min_width=16)
    for name in (_("value"), words.interval_name(), _("n")):
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


def cost_table(found: ServingCosts, language: str = "en") -> Table:
    """A row for each target and volume: its cost and, where a price is stated, the margin."""
    said = CostWords(Words.of(language), found)
    _ = said.words.translate
    table = _table()
    table.add_column(_("target"), overflow="fold")
    table.add_column("", no_wrap=True)
    table.add_column(_("cost"), overflow="fold")
    if found.price_per_1000 is not None:
        table.add_column(_("margin"), overflow="fold")
    volumes = [_("1,000 requests"), *(said.volume(n) for n in found.requests)]
    for row in found.targets:
        costs = [row.per_1000, *row.monthly] if row.per_1000 else [None]
        margins = [row.margin_per_1000, *row.margin_monthly]
        for place, (volume, ends) in enumerate(zip(volumes, costs, strict=False)):
            cells = [said.cell(ends, row.currency)]
            if found.price_per_1000 is not None:
                cells.append(said.cell(margins[place] if ends else None, row.currency))
            name = plain(row.target) if place == 0 else ""
            table.add_row(Text(name), Text(volume), *map(Text, cells))
    return table


def cost_lines(found: ServingCosts, language: str = "en") -> tuple[list[str], list[str]]:
    """What stands above the table (the measurement) and below it (what is billed, who is cheapest,
    what is left out)."""
    said = CostWords(Words.of(language), found)
    _ = said.words.translate
    conditions = said.words.remark(plain(found.conditions))
    measured = [said.measured(), *([conditions] if conditions else []), ""]
    billed = [
        plain(f"{row.target}: {said.how(row)}")
        + (" " + _("(prices as of {date})").format(date=plain(row.dated)) if row.dated else "")
        for row in found.targets
    ]
    return measured, ["", *billed, "", *said.verdicts(), said.limits()]


def ending(result: Mapping[str, Any], language: str = "en") -> list[str]:
    """What became of the need, and what to do next: lines under the table of verdicts.

    Raises:
        WorkspaceError: If the run's result is not of its form.
    """
    found, words = read_result(result), Words.of(language)
    _ = words.translate
    states = [verdict.state for verdict in found.verdicts]
    if all(state == "met" for state in states):
        return [_("Released: every criterion is met."), *_sent(found.texts_go_to, words)]
    counts = (
        _("{n} unmet").format(n=states.count("unmet")) if "unmet" in states else "",
        _("{n} unproven").format(n=states.count("unproven")) if "unproven" in states else "",
    )
    head = _("Not released: {counts}.").format(counts=_(", ").join(filter(None, counts)))
    if not found.next_steps:
        return [head, *_sent(found.texts_go_to, words)]
    lines = [_("{sentence} Next, cheapest first:").format(sentence=head)]
    for number, step in enumerate(found.next_steps, 1):
        step_said, price = words.said(step.said, step.what), words.said(step.price, step.cost)
        lines.append("  " + _("{n}. {what} ({cost})").format(n=number, what=step_said, cost=price))
        lines.append(f"     {step.command}")
    return [*lines, *_sent(found.texts_go_to, words)]


def _sent(url: str, words: Words) -> list[str]:
    """Where texts go, if they leave the machine."""
    if not url:
        return []
    _ = words.translate
    message = _(
        "Every text is sent to {url}, where a language model labels it; validation and test rows"
        " were sent there too."
    )
    return [_("Texts leave this machine.") + " " + message.format(url=url)]


def phrases(found: Sequence[Phrase], language: str = "en") -> list[str]:
    """What other stages said, a line each."""
    words = Words.of(language)
    return [words.said(phrase) for phrase in found]


def places(serve: str, page: str, language: str = "en") -> list[str]:
    """Where to go from here: the command that serves the bundle, and the report.

    Args:
        serve: The command.
        page: Path of the report.
        language: Of the report.
    """
    _ = translator(language)
    return [
        _("Serve it: {command}").format(command=serve),
        _("Report: {page}").format(page=page),
    ]


def _table() -> Table:
    return Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
