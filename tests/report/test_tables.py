"""Tables for terminals and notebooks."""

import io

import pytest
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

from sartor.core.errors import WorkspaceError
from sartor.core.phrases import Phrase
from sartor.need.verdict import Verdict
from sartor.report.notebook import verdict_table_html
from sartor.report.terminal import ending, ladder_table, places, verdict_table
from tests.report.samples import VERDICTS, full_result

ALL = [Verdict.of_json(verdict) for verdict in VERDICTS]


def drawn(table: Table, width: int = 130, *, colour: bool = False) -> list[str]:
    file = io.StringIO()
    console = Console(
        file=file, width=width, force_terminal=colour, color_system="truecolor" if colour else None
    )
    console.print(table)
    return file.getvalue().rstrip("\n").split("\n")


def test_a_verdict_is_one_line_with_value_interval_n_and_what_would_decide():
    lines = drawn(verdict_table(ALL))

    assert len(lines) == 1 + len(ALL)
    refund = lines[2].split()
    assert refund[:2] == ["recall[label=refund]", ">="]
    for part in ("0.913", "0.820 – 0.968", "69", "unproven", "110 – 190 more labelled rows"):
        assert part in lines[2]
    assert "exact" in lines[5]
    assert "this machine, batch 1, 2 threads" in lines[4]


def test_columns_align_in_cells_when_labels_are_chinese():
    verdicts = [
        Verdict("recall[label=退款] >= 0.9", 0.913, 0.82, 0.968, 69, "met"),
        Verdict("recall[label=ab] >= 0.9", 0.913, 0.82, 0.968, 69, "met"),
    ]
    first, second = drawn(verdict_table(verdicts, "zh"))[1:]
    assert cell_len(first[: first.index("0.913")]) == cell_len(second[: second.index("0.913")])
    assert "达标" in first


def test_no_color_drops_colour_and_keeps_the_words(monkeypatch):
    assert "\x1b[" in "\n".join(drawn(verdict_table(ALL), colour=True))
    monkeypatch.setenv("NO_COLOR", "1")
    text = "\n".join(drawn(verdict_table(ALL), colour=True))
    assert "\x1b[3" not in text
    assert "unproven" in text


def test_markup_and_escape_sequences_in_texts_are_shown_not_obeyed():
    nasty = Verdict("recall[label=[red]x\x1b[2J] >= 0.9", 0.9, 0.8, 1, 9, "met", note="[link=x]y")
    text = "\n".join(drawn(verdict_table([nasty])))
    assert "[label=[red]x\ufffd[2J]" in text
    assert "[link=x]y" in text
    assert "\x1b" not in text


def test_a_narrow_terminal_folds_and_loses_nothing():
    text = "".join("".join(drawn(verdict_table(ALL), width=80)).split())
    for part in ("0.842", "unproven", "0.820–0.968", "31.4"):
        assert part in text


def test_the_ladder_shows_ranges():
    lines = drawn(ladder_table(full_result()["plan"]))
    assert len(lines) == 4
    assert "6 – 9 min" in lines[2]
    assert "1.7 – 1.9 GB" in lines[2]
    assert "not measured" in drawn(ladder_table([{"rung": "head"}]))[1]


def test_a_ladder_of_another_form_is_refused():
    with pytest.raises(WorkspaceError, match=r"0\.seconds"):
        ladder_table([{"rung": "head", "seconds": "long"}])


def test_the_notebook_table_says_the_same_and_escapes_every_text():
    nasty = Verdict("accuracy >= 0.8", 0.9, 0.85, 0.95, 9, "met", note="<script>alert(1)</script>")
    html = verdict_table_html([*ALL, nasty])
    assert html.count("<tr>") == 7
    assert "0.811 – 0.870" in html
    assert "&lt;script&gt;" in html
    assert "<script" not in html
    assert "证据不足" in verdict_table_html(ALL, "zh")


def ended():
    said = Phrase("Climb to the next rung, {rung}.", {"rung": "lora"})
    time = Phrase("{low} – {high} min", {"low": "6", "high": "9"})
    step = {
        "what": said.say(),
        "command": "sartor run need.yaml --method lora",
        "cost": "about 6 – 9 min more",
        "said": said.as_json(),
        "price": Phrase("about {time} more", {"time": time}).as_json(),
    }
    return full_result() | {"next_steps": [step]}


def test_the_ending_says_what_is_open_and_what_to_do():
    assert ending(ended()) == [
        "Not released: 1 unmet, 1 unproven. Next, cheapest first:",
        "  1. Climb to the next rung, lora. (about 6 – 9 min more)",
        "     sartor run need.yaml --method lora",
    ]
    assert ending(ended() | {"next_steps": []}) == ["Not released: 1 unmet, 1 unproven."]
    met = [verdict for verdict in VERDICTS if verdict["state"] == "met"]
    assert ending(ended() | {"verdicts": met}) == ["Released: every criterion is met."]


def test_the_ending_is_chinese_where_the_need_is_and_the_command_stays():
    assert ending(ended(), "zh") == [
        "未发布：1 项未达标、1 项证据不足。接下来可以做的事，先易后难：",
        "  1. 尝试下一个方案 lora。（约再需 6 – 9 分钟）",
        "     sartor run need.yaml --method lora",
    ]
    assert places("sartor serve b", "r.html", "zh") == ["启动服务：sartor serve b", "报告：r.html"]


def test_steps_of_an_earlier_version_are_shown_as_they_are():
    lines = ending(full_result(), "zh")
    assert "Trim the vocabulary." in lines[3]
    assert "+7 min" in lines[3]


@pytest.mark.parametrize("said", [7, {"message": 7}, {"message": "m", "values": {"a": None}}])
def test_a_step_that_is_no_phrase_is_a_damaged_result(said):
    damaged = full_result() | {"next_steps": [{"what": "x", "said": said}]}
    if said == {"message": "m", "values": {"a": None}}:
        assert ending(damaged)[1] == "  1. m ()", "nulls are left out before anything is read"
        return
    with pytest.raises(WorkspaceError, match="next_steps"):
        ending(damaged)
