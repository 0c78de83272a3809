"""A run's search: the ladder as climbed, its trials, the front, what mattered, learning curves."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from rich.table import Table
from rich.text import Text

from sartor.report.options import front, leading_metric, options_of, prefers_less
from sartor.report.result import Candidate, Result, read_result
from sartor.report.words import Words, plain, short

_STATES = ("tried", "failed", "pruned", "skipped")
_NAME_WIDTH = 28


def summary(result: Mapping[str, Any]) -> dict[str, Any]:
    """The search of a run as one JSON object.

    Args:
        result: A run's result.json.

    Raises:
        WorkspaceError: If a part is not of its form.
    """
    found = read_result(result)
    metric = leading_metric(found)
    return {
        "run": found.run,
        "metric": metric,
        "ladder": _ladder(found, metric),
        "ended": found.search.why,
        "front": [
            asdict(option)
            for option in front(options_of(found, metric), less=prefers_less(found, metric))
        ],
        "importances": [asdict(each) for each in found.search.importances],
        "importances_by": found.search.by,
        "labels": [asdict(each) for each in found.labels],
    }


def tables(result: Mapping[str, Any], language: str = "en") -> list[Table | str]:
    """What `sartor search show` prints: tables, and lines between them."""
    told, words = summary(result), Words.of(language)
    found = read_result(result)
    _, metric = words.translate, short(told["metric"])
    parts: list[Table | str] = [_climbed(told, words)]
    if told["ended"]:
        parts.append(_("Trials ended: {why}.").format(why=words.remark(plain(told["ended"]))))
    if len(told["front"]) > 1:
        parts += [
            _("Unbeaten: no other row is at least as good, as small and as fast at once."),
            _table(
                [_("candidate or artefact"), metric, _("size"), _("latency, ms")],
                [
                    [
                        plain(o["name"]),
                        ("≥ " if o["at_least"] else "") + words.number(o["score"]),
                        words.megabytes(o["size_mb"]),
                        words.number(o["latency_ms"]),
                    ]
                    for o in told["front"]
                ],
            ),
        ]
    for each in found.search.importances:
        shares = ", ".join(f"{plain(name)} {words.percent(s)}" for name, s in each.ranked())
        of = _("{n} trials").format(n=each.trials)
        told_shares = shares or _("Too few trials to tell.")
        parts.append(f"{plain(each.rung)}, {plain(each.backbone)} ({of}): {told_shares}")
    for each in found.labels:
        parts.append(words.said(each.said, plain(each.words)))
        parts.append(
            _table(
                [_("training rows"), short(each.criterion), _("interval at 80 %")],
                [
                    [f"{rows:,.0f}", words.number(value), f"{low:.3f} – {high:.3f}"]
                    for rows, value, low, high in each.measured.points()
                ],
            )
        )
    return parts


def _ladder(found: Result, metric: str) -> list[dict[str, Any]]:
    """One entry a rung and backbone, in the order climbed."""
    rungs: dict[tuple[str, str], list[Candidate]] = {}
    for candidate in found.candidates:
        rungs.setdefault((candidate.rung, candidate.backbone), []).append(candidate)
    ladder: list[dict[str, Any]] = []
    for (rung, backbone), candidates in rungs.items():
        counts = Counter(candidate.state for candidate in candidates)
        best = max(
            candidates,
            key=lambda c: (c.chosen, c.by_folds, c.chance or 0.0, c.scores.get(metric, 0.0)),
        )
        ladder.append(
            {
                "rung": rung,
                "backbone": backbone,
                "candidates": len(candidates),
                "trials": sum(c.trial is not None for c in candidates),
                **{state: counts[state] for state in _STATES},
                "best": best.label,
                "score": best.scores.get(metric),
                "chance": best.chance,
                "seconds": sum(c.seconds or 0.0 for c in candidates),
                "chosen": any(c.chosen for c in candidates),
                "why": next((c.why for c in candidates if c.state == "skipped"), ""),
            }
        )
    return ladder


def _climbed(told: Mapping[str, Any], words: Words) -> Table:
    _ = words.translate
    names = [_("rung"), _("tried"), _("failed"), _("given up early"), _("skipped")]
    names += [short(told["metric"]), _("chance"), _("took")]
    rows: list[list[str]] = []
    for each in told["ladder"]:
        name = ", ".join(filter(None, (plain(each["rung"]), plain(each["backbone"]))))
        rows.append(
            [
                name + (" ✓" if each["chosen"] else ""),
                *(f"{each[state]:,}" for state in _STATES),
                words.number(each["score"]) if each["score"] is not None else "",
                words.percent(each["chance"]) if each["chance"] is not None else "",
                words.seconds(each["seconds"]),
            ]
        )
    return _table(names, rows)


def _table(names: list[str], rows: list[list[str]]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    # However wide the figures are, a short name keeps its line, and its mark.
    least = min(_NAME_WIDTH, max((len(row[0]) for row in rows), default=0))
    for index, name in enumerate(names):
        table.add_column(
            name,
            justify="right" if index else "left",
            overflow="fold",
            min_width=None if index else least,
        )
    for row in rows:
        table.add_row(*map(Text, row))
    return table
