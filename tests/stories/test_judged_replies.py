"""Replies that a language model judges: in a run, on fresh rows, and what a need must say first."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.llm.server import Llm, Reply, completion, running
from tests.stories.shop import Here, ran, refused
from tests.tiny import make_tiny_llama
from tests.written import rows

NEED = """name: replies
task: text_generation
data:
  train: tickets.csv
  text: question
  label: reply
accept:
  - win_rate >= 0.3
  - rubric_rate >= 0.5
judge: {{url: "{url}", model: m, rubric: "It says what it is."}}
prefer: {{backbones: [./llama], methods: [nearest]}}
"""


def sensible(request: dict[str, Any], text: str, times: int) -> Reply:
    said = json.loads(request["messages"][-1]["content"])
    if "reply" in said:
        label = "yes" if said["reply"].startswith("it is") else "no"
    else:
        right = [text.split()[-1] in said[side] for side in ("first", "second")]
        label = "equal" if right[0] == right[1] else "first" if right[0] else "second"
    return completion(json.dumps({"label": label}))


@pytest.fixture
def llm() -> Iterator[Llm]:
    with running(Llm(sensible)) as found:
        yield found


@pytest.fixture
def place(tmp_path: Path, llm: Llm) -> Path:
    folder = tmp_path / "shop"
    folder.mkdir()
    make_tiny_llama(folder / "llama", max_length=256)
    found = rows(150, 5)
    lines = dict(zip(found.texts, map(str, found.target), strict=True))
    text = "".join(f"{q},{r}\n" for q, r in [("question", "reply"), *lines.items()])
    (folder / "tickets.csv").write_text(text)
    (folder / "need.yaml").write_text(NEED.format(url=llm.url))
    return folder


def test_a_run_asks_the_judge_and_a_second_one_nobody(place: Path, here: Here, llm: Llm):
    found = ran(here)
    verdicts = {v["criterion"]: v for v in found["verdicts"]}
    win, rubric = verdicts["win_rate >= 0.3"], verdicts["rubric_rate >= 0.5"]
    # Against the right reply none wins, and one of another item loses.
    assert 0.0 < win["value"] <= 0.5
    assert win["low"] <= win["value"] <= win["high"]
    assert rubric["value"] == 1.0
    assert rubric["state"] == "met"
    asked = len(llm.requests)
    assert asked
    ran(here)
    assert len(llm.requests) == asked


def test_a_bundle_from_elsewhere_asks_its_judge_only_if_allowed(place: Path, here: Here, llm: Llm):
    bundle = ran(here)["bundle"]
    asked = len(llm.requests)
    (place / "fresh.csv").write_text("question,reply\nmy order again,it is again\n")
    said = here("judge", bundle, "fresh.csv")
    refused(said, "is judged by sending texts and replies to", "--allow-llm")
    assert len(llm.requests) == asked
    said = here("judge", bundle, "fresh.csv", "--json", "--allow-llm", llm.url)
    assert said.status in (0, 1), said.err
    judged = {v["criterion"]: v for v in json.loads(said.out)["verdicts"]}
    assert judged["win_rate >= 0.3"]["n"] == 1
    assert len(llm.requests) > asked


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (('judge: {{url: "{url}"', "costs: {{}}\n# {{"), ("needs a judge", "judge:")),
        ((', rubric: "It says what it is."', ""), ("needs a rubric", "judge.rubric")),
        (("win_rate >= 0.3", "win_rate >= 1.5"), ("win_rate lies between 0 and 1",)),
        (("win_rate >= 0.3", "win_rate >= baseline + 0.1"), ("over the baseline already",)),
        (("model: m", "model: m, key: NO_SUCH_KEY"), ("NO_SUCH_KEY",)),
        (("rubric: ", "rubrik: "), ("rubrik", "rubric")),
    ],
)
def test_what_a_judge_lacks_is_told_first(
    place: Path, here: Here, llm: Llm, change: tuple[str, str], says: tuple[str, ...]
):
    assert change[0] in NEED
    (place / "need.yaml").write_text(NEED.replace(*change).format(url=llm.url))
    refused(here("run", "need.yaml"), *says)
    assert not llm.requests


def test_a_budget_of_requests_holds(place: Path, here: Here, llm: Llm):
    text = NEED.format(url=llm.url) + "budget: {requests: 1}\n"
    (place / "need.yaml").write_text(text)
    found = ran(here)
    assert found["state"] == "unproven"
    assert any("budget.requests" in str(v["note"]) for v in found["verdicts"])
    assert len(llm.requests) <= 1
