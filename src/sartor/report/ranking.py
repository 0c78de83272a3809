"""A ranking of backbones as a terminal table: what each promises, with its doubt, and its cost.

Distances are kept in nats; the table shows them in percentage points of the labels' variance.
"""

import math
from collections.abc import Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from sartor.report.words import plain

_STYLES = {"best": "green", "as good": "green", "unclear": "", "behind": "dim"}


def ranking_table(ranking: Mapping[str, Any]) -> Table:
    """One row a backbone, the best first, then the random twins.

    Args:
        ranking: JSON of `search.ranking.Ranking`.
    """
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("backbone", overflow="fold", min_width=15)
    for name in ("explains", "behind", "kNN", "MB", "ms"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for entry in ranking["ranked"]:
        table.add_row(
            *_scores(entry["standing"]),
            Text(_range(entry["size_mb"])),
            Text(_range(entry["latency_ms"])),
            Text(_said(entry, ranking), style=_STYLES[entry["verdict"]]),
        )
    for standing in ranking["controls"]:
        note = "control" if standing["dropped"] else "not behind"
        style = "dim" if standing["dropped"] else "yellow"
        table.add_row(*_scores(standing), Text(""), Text(""), Text(note, style))
    return table


def _said(entry: Mapping[str, Any], ranking: Mapping[str, Any]) -> str:
    standing = entry["standing"]
    if standing["name"] == ranking["recommended"]:
        return "best, take" if entry["verdict"] == "best" else "take this"
    early = standing["dropped"] and standing["rows"] < ranking["rows"]
    return f"out at {standing['rows']:,}" if early else str(entry["verdict"])


def _scores(standing: Mapping[str, Any]) -> list[Text]:
    explained, knn, behind = standing["explained"], standing["knn"], standing["behind"]
    # What the best one left unexplained on the same rows, be they fewer than those it ended with.
    left = (1 - explained["value"]) * math.exp(2 * behind["value"])
    ends = [100 * left * (1 - math.exp(-2 * behind[end])) for end in ("low", "value", "high")]
    shown = "" if not any(behind.values()) else f"{ends[1]:.0f} ({ends[0]:.0f} to {ends[2]:.0f})"
    return [
        Text(plain(standing["name"])),
        Text(
            f"{100 * explained['value']:.0f} % "
            f"({100 * explained['low']:.0f}–{100 * explained['high']:.0f})"
        ),
        Text(shown),
        Text(f"{100 * knn['value']:.0f} %"),
    ]


def _range(found: Mapping[str, float]) -> str:
    digits = 0 if found["high"] >= 10 else 1
    return f"{found['low']:.{digits}f}–{found['high']:.{digits}f}"
