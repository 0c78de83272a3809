"""The search of a run as `sartor search show` tells it."""

from io import StringIO

from rich.console import Console

from sartor.report.searched import _table, summary, tables
from tests.report.samples import full_result


def printed(result: dict, language: str = "en") -> str:
    screen = Console(width=120, record=True, file=StringIO())
    for part in tables(result, language):
        screen.print(part)
    return screen.export_text()


def test_the_ladder_is_told_rung_by_rung_with_its_best():
    told = summary(full_result())
    assert [(r["rung"], r["candidates"], r["chosen"]) for r in told["ladder"]] == [
        ("head", 2, False),
        ("lora", 1, True),
        ("full", 1, False),
    ]
    head = told["ladder"][0]
    assert head["best"] == "frozen head, layers 3–6"
    assert head["seconds"] == 24.2 + 1.1
    assert told["ladder"][2]["skipped"] == 1
    assert told["ladder"][2]["why"] == "an earlier rung holds every criterion"


def test_it_is_told_in_words_too_and_in_chinese():
    page = printed(full_result())
    assert "lora, e5-small (31 trials): lr 81 %, rank 12 %, epochs 7 %" in page
    assert "full, e5-small (3 trials): Too few trials to tell." in page
    assert "Trials ended: the last 10 trials gave no better chance." in page
    assert "0.850" in page, "a point of the learning curve"
    chinese = printed(full_result(), "zh")
    assert "31 次试验" in chinese
    assert "Trials" not in chinese


def test_a_run_without_a_search_shows_its_ladder_alone():
    result = full_result()
    for part in ("search", "labels", "artefacts"):
        del result[part]
    page = printed(result)
    assert "lora" in page
    assert "Trials ended" not in page


def test_a_short_name_keeps_its_line_however_wide_the_figures_are():
    figures = [f"{10**n:,} of these" for n in range(7)]
    table = _table(["rung", *"abcdefg"], [["head, ./tiny ✓", *figures]])
    screen = Console(width=80, record=True, file=StringIO())
    screen.print(table)
    assert "head, ./tiny ✓" in screen.export_text()
