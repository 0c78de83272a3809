"""The ranking table: everything on 80 columns, distances in points of what is explained."""

import math

from rich.console import Console

from sartor.report.ranking import ranking_table


def figure(low: float, value: float, high: float) -> dict[str, float]:
    return {"low": low, "value": value, "high": high}


def standing(name: str, explained: float, behind: float, dropped: bool = False) -> dict:
    near = figure(behind - 0.02, behind, behind + 0.02) if behind else figure(0, 0, 0)
    return {
        "name": name,
        "rows": 128 if dropped else 512,
        "explained": figure(explained - 0.1, explained, explained + 0.1),
        "behind": near,
        "knn": figure(0.6, 0.7, 0.8),
        "dropped": dropped,
    }


def entry(verdict: str, **of: object) -> dict:
    cost = {"size_mb": figure(94.1, 0, 494.2), "latency_ms": figure(21.2, 0, 53.1)}
    return {"standing": standing(**of), "verdict": verdict, **cost}  # type: ignore[arg-type]


def shown(ranking: dict) -> list[str]:
    console = Console(width=80, no_color=True)
    with console.capture() as captured:
        console.print(ranking_table(ranking))
    return captured.get().splitlines()


RANKING = {
    "rows": 512,
    "recommended": "e5_small@8",
    "ranked": [
        entry("best", name="e5_small", explained=0.36, behind=0),
        entry("as good", name="e5_small@8", explained=0.35, behind=-0.008),
        entry("behind", name="minilm@2", explained=0.08, behind=-0.18, dropped=True),
    ],
    "controls": [standing("e5_small@random", 0.03, -0.2, dropped=True)],
}


def test_a_ranking_fits_on_80_columns_and_marks_what_to_take():
    lines = shown(RANKING)
    assert len(lines) == 5
    assert not any("…" in line for line in lines)
    assert lines[1].rstrip().endswith(" best")
    assert lines[2].rstrip().endswith("take this")
    assert lines[3].rstrip().endswith("out at 128")
    assert lines[4].rstrip().endswith("control")


def test_a_distance_is_shown_in_points_of_the_best_ones_unexplained_share():
    # The best explained 1 − (1 − 0.35) · e^(−0.016) of the labels, on the same rows.
    best = 1 - (1 - 0.35) * math.exp(2 * -0.008)
    assert f"{100 * (0.35 - best):.0f} (" in shown(RANKING)[2]
    assert "36 % (26–46)" in shown(RANKING)[1]
