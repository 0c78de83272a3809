"""From a data file to answers: init, check, plan, run, report, predict."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from sartor.search.rungs import method_order
from sartor.serve import timing
from tests.stories.conftest import Finished
from tests.stories.shop import Here, command, reviews

KEYS = {"criterion", "value", "low", "high", "n", "state"}


def test_init_writes_a_need_that_the_other_commands_take(new_shop: Path, here: Here):
    (new_shop / "need.yaml").unlink()
    began = here("init", "reviews.csv")
    assert began.status == 0
    assert "400 rows, 2 columns. text = text" in began.out
    assert "can prove accuracy >=" in began.out
    schema = json.loads((new_shop / "need.schema.json").read_text())
    written = (new_shop / "need.yaml").read_text()
    assert written.startswith("# yaml-language-server: $schema=need.schema.json")
    assert "accept" in schema["properties"]

    checked = here("data", "check", "need.yaml")
    assert (checked.status, checked.err) == (0, "")
    assert "0 faults" in checked.out

    again = here("init", "reviews.csv")
    assert (again.status, again.out) == (2, "")
    assert "need.yaml exists" in again.err
    assert (new_shop / "need.yaml").read_text() == written


def test_init_quotes_what_yaml_would_read_otherwise(new_shop: Path, here: Here):
    odd = 'a "b" \\ c'
    text = (new_shop / "reviews.csv").read_text().replace("text,label", f'{odd!r},"true"', 1)
    header, _, rows = text.partition("\n")
    assert header
    quoted = odd.replace('"', '""')
    (new_shop / "odd.csv").write_text(f'"{quoted}",true\n{rows}')
    assert here("init", "odd.csv", "--to", "odd.yaml").status == 0
    said = here("data", "check", "odd.yaml", "--json")
    assert json.loads(said.out)["faults"] == 0


def test_plan_prints_the_ladder_and_trains_nothing(new_shop: Path, here: Here):
    said = here("plan", "need.yaml", "--json")
    assert said.status == 0
    plan = json.loads(said.out)
    assert [rung["rung"] for rung in plan["plan"]] == method_order(None)
    for rung in plan["plan"]:
        for cost in ("seconds", "memory_mb", "size_mb"):
            low, high = rung[cost]
            assert 0 < low < high
    assert not (new_shop / ".sartor" / "runs").exists()
    assert not (new_shop / ".sartor" / "fits").exists()
    table = here("plan", "need.yaml")
    shown = [line.split(",")[0] for line in table.out.splitlines()[1:]]
    assert shown[: len(method_order(None))] == method_order(None)


def test_run_prints_one_object_and_exits_with_the_verdict(finished: Finished):
    (line,) = finished.said.out.splitlines()
    found = json.loads(line)
    assert found["state"] == "met"
    assert found["run"] == 1
    assert (finished.folder / found["bundle"]).samefile(finished.bundle)
    assert [v["criterion"] for v in found["verdicts"]] == ["accuracy >= 0.80", "size_mb <= 5"]
    for verdict in found["verdicts"]:
        assert verdict.keys() >= KEYS
        assert verdict["low"] <= verdict["value"] <= verdict["high"]
        assert verdict["state"] == "met"


def test_progress_in_a_pipe_is_plain_lines(finished: Finished):
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", finished.said.err)
    stages = [line.split()[0] for line in finished.said.err.splitlines()]
    assert [s for s in dict.fromkeys(stages) if s != "encode"] == [
        "read",
        "plan",
        "climb",
        "shrink",
        "judge",
    ]
    assert "sartor data show --dropped" not in finished.said.err, "nothing was dropped"


def test_the_next_run_finds_everything_and_gives_the_stored_verdicts(shop: Finished, here: Here):
    said = here("run", "need.yaml", "--json")
    first, second = json.loads(shop.said.out), json.loads(said.out)
    assert said.status == 0
    assert (second["run"], second["verdicts"]) == (2, first["verdicts"])
    assert second["bundle"] == first["bundle"]
    assert "encode " not in said.err, "every text was in the cache"


def test_a_need_that_is_not_met_exits_1_and_says_what_to_do(shop: Finished, here: Here):
    need = shop.folder / "need.yaml"
    need.write_text(need.read_text().replace("size_mb <= 5", "size_mb <= 0.003"))
    said = here("run", "need.yaml", "--method", "head", "--quiet")
    assert said.status == 1
    assert said.err == ""
    assert "Not released: 1 unmet" in said.out
    serve = re.search(r"^Serve it: (sartor serve (\S+) --unreleased)$", said.out, re.M)
    assert serve
    folder = shop.folder / serve[2]
    # The same answers for another need are another bundle: neither may speak for the other.
    assert len(list((shop.folder / ".sartor" / "bundles").iterdir())) == 2
    assert "0.003" in (folder / "need.yaml").read_text()
    assert not json.loads((folder / "manifest.json").read_text())["released"]
    assert "1. Start from a backbone with fewer weights than ./tiny" in said.out


def test_a_chinese_need_ends_in_chinese(
    shop: Finished, here: Here, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(timing, "measure", partial(_briefly, timing.measure))
    need = shop.folder / "need.yaml"
    dear = "size_mb <= 0.003\n  - latency_p95_ms <= 0.0001"
    need.write_text(need.read_text().replace("size_mb <= 5", dear) + "language: zh\n")
    said = here("run", "need.yaml", "--method", "head", "--quiet")
    assert said.status == 1
    table, ending = said.out.split("未发布：2 项未达标。")
    assert "未达标" in table
    assert "换用参数量小于 ./tiny" in ending
    assert "（用时与本次运行相近）" in ending
    assert "延迟只对测量时所用的机器有效" in ending
    assert "启动服务：sartor serve" in ending
    assert not [word for word in ("Next", "Serve", "Report", "Start", "about") if word in ending]
    (bundle,) = re.findall(r"启动服务：sartor serve (\S+) ", said.out)
    (shop.folder / "fresh.csv").write_text("text,label\nvery good good,good\n")
    judged = here("judge", bundle, "fresh.csv")
    assert "fresh.csv 中的 1 条样本，第 1 次使用。" in judged.out
    assert "证据不足" in judged.out


def _briefly(measure: Callable[..., Any], bundle: Path, texts: Any, load: timing.Load) -> Any:
    """As it is measured, by one fresh process: how exactly is another test's matter."""
    return measure(bundle, texts, replace(load, processes=1, requests=5, warm_up=1))


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.outside: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("src", "href") and value and not value.startswith(("#", "data:")):
                self.outside.append(f"{tag} {name}={value}")


@pytest.mark.parametrize(("language", "word"), [("en", "Verdict"), ("zh", "结论")])
def test_the_report_is_one_file_that_needs_no_other(
    shop: Finished, here: Here, language: str, word: str
):
    said = here("report", "--lang", language, "--to", "r.html")
    assert (said.status, said.out) == (0, "r.html\n")
    page = (shop.folder / "r.html").read_text()
    links = _Links()
    links.feed(page)
    assert links.outside == []
    assert f'lang="{language}' in page
    assert word.lower() in page.lower()
    assert "accuracy &gt;= 0.80" in page


def test_predict_answers_every_line_in_order(shop: Finished, here: Here):
    rows = reviews(40, seed=9)
    lines = [json.dumps({"text": t, "label": "ignored"}) for t, _ in rows[:20]]
    lines += [text for text, _ in rows[20:]]
    (shop.folder / "new.jsonl").write_text("\ufeff" + "\n".join(lines) + "\n", "utf-8")
    said = here("predict", shop.bundle, "new.jsonl")
    answers = [json.loads(line) for line in said.out.splitlines()]
    assert (said.status, len(answers)) == (0, 40)
    for answer in answers:
        assert set(answer["probabilities"]) == {"good", "bad"}
        assert sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    right = sum(a["label"] == label for a, (_, label) in zip(answers, rows, strict=True))
    assert right >= 36, "in another order about half would be right"


def test_dropped_rows_are_shown_with_their_reason(shop: Finished, here: Here):
    data = shop.folder / "reviews.csv"
    first = data.read_text().splitlines()[1]
    data.write_text(data.read_text() + f"{first}\n,good\n")
    said = here("run", "need.yaml", "--json")
    assert "sartor data show --dropped" in said.err
    shown = [json.loads(line) for line in here("data", "show", "--dropped").out.splitlines()]
    assert {row["row"] for row in shown} == {401, 402}
    assert all(row["action"] == "dropped" and row["reason"] for row in shown)
    test = here("data", "show", "--split", "test").out.splitlines()
    assert json.loads(test[0]).keys() == {"id", "text", "label"}


def test_the_exit_status_and_the_streams_hold_in_a_process_of_its_own(shop: Finished):
    said = command("report", "9", cwd=shop.folder)
    assert (said.status, said.out) == (2, "")
    assert "holds no run 9" in said.err
    assert command("report", "--json", cwd=shop.folder).status == 0


def test_a_score_that_is_not_reached_is_foreseen_priced_and_drawn(shop: Finished, here: Here):
    need = shop.folder / "need.yaml"
    need.write_text(need.read_text().replace("accuracy >= 0.80", "accuracy >= 0.999"))
    said = here("run", "need.yaml", "--method", "head")
    assert said.status == 1
    assert re.search(r"^ forecast +accuracy >= 0.999: ", said.err, re.M)
    report = json.loads(here("report", "--json").out)
    (foreseen,) = report["labels"]
    assert foreseen["criterion"] == "accuracy >= 0.999"
    assert foreseen["rows"] == report["data"]["train"]
    assert foreseen["measured"]["rows"][-1] == foreseen["rows"]
    assert any(foreseen["criterion"] in step["what"] for step in report["next_steps"])
    assert "further training rows" in here("report", "--to", "r.html").out + (
        shop.folder / "r.html"
    ).read_text("utf-8")
    plan = here("plan", "need.yaml")
    assert "More labels, as run 2 foresaw: accuracy >= 0.999: " in plan.out
    again = json.loads(here("plan", "need.yaml", "--json").out)
    assert [each["run"] for each in again["labels"]] == [2]
