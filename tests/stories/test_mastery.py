"""From who answered what to a bundle that tells what a learner knows; and what is said of it."""

import json
import math
import random
from pathlib import Path

import pytest

from tests.stories.shop import Here, furnished, ran, refused, write_jsonl, write_table
from tests.tiny import WORDS

NEED = """name: course
task: mastery
data:
  documents: items.csv
  train: answers.csv
  user: who
  item: exercise
  label: correct
  skill: skill
  time: day
accept:
  - auc >= 0.60
  - log_loss <= 0.68
  - 'log_loss[where: history_length == 0] <= 0.9'
  - size_mb <= 3
prefer: {backbones: [./tiny], methods: [item_response]}
"""
COUNT = 12


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Learners differ, exercises get harder, of two skills; of the third nobody was asked any."""
    folder = furnished(tmp_path / "shop", NEED)
    draw = random.Random(0)
    skill = [*(("angles", "powers")[n % 2] for n in range(COUNT)), "roots"]
    items = [
        (f"ex-{n}", f"{n} " + " ".join(draw.sample(WORDS, 4)), about)
        for n, about in enumerate(skill)
    ]
    write_table(folder / "items.csv", ["id", "text", "skill"], items)
    rows = []
    for user in range(70):
        able, day = draw.gauss(0, 1.5), draw.randrange(200)
        for _ in range(10):
            at = draw.randrange(COUNT)
            right = draw.random() < 1 / (1 + math.exp(at / 3 - 2 - able))
            when = f"2026-{1 + day // 28:02}-{1 + day % 28:02}"
            rows.append((f"u{user}", f"ex-{at}", skill[at], when, int(right)))
            day += draw.randint(0, 2)
    draw.shuffle(rows)
    write_table(folder / "answers.csv", ["who", "exercise", "skill", "day", "correct"], rows)
    return folder


def test_answers_become_a_bundle_that_knows_what_a_learner_knows(place: Path, here: Here):
    found = ran(here)
    verdicts = {v["criterion"]: v for v in found["verdicts"]}
    auc = verdicts["auc >= 0.60"]
    assert auc["value"] > 0.65
    assert "each item's share of right answers gives" in auc["note"]
    bundle = place / found["bundle"]
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert manifest["inputs"] == {"history": "answers", "item": "item", "skill": "skill"}
    assert set(manifest["decision"]["growth"]) == {"", "angles", "powers"}
    assert not [path for path in bundle.rglob("*") if b"u17" in path.read_bytes()]
    report = json.loads(here("report", "--json").out)
    assert all(a["agreement"] >= 0.9 for a in report["artefacts"] if a["kept"])

    history = [{"item": "ex-3", "correct": True}]
    rows = [{"history": history, "item": "ex-5", "other": 1}, {"history": [], "skill": "roots"}]
    write_jsonl(place / "ask.jsonl", rows)
    said = here("predict", found["bundle"], "ask.jsonl")
    assert said.status == 0, said.err
    answer, rooted = map(json.loads, said.out.splitlines())
    assert answer["item"] == "ex-5"
    assert [each["skill"] for each in answer["skills"]] == ["angles", "powers", "roots"]
    assert answer["next"]["text"]
    # Nobody was asked it: its skill is what the file of the items says.
    assert (rooted["item"], rooted["next"]["skill"]) == ("ex-12", "roots")

    again = here("judge", found["bundle"], "answers.csv")
    assert again.status in (0, 1, 2), again.err
    assert "Traceback" not in again.err


@pytest.mark.slow
def test_every_rung_is_climbed_and_without_texts_those_that_read_none(place: Path, here: Here):
    text = NEED.replace(", methods: [item_response]", "").replace("auc >= 0.60", "auc >= 0.99")
    (place / "need.yaml").write_text(text)
    ran(here)
    report = json.loads(here("report", "--json").out)
    alone = {"item_logistic", "performance_factors", "item_response"}
    assert {c["rung"] for c in report["candidates"]} == {*alone, "explanatory_response"}
    assert not [c for c in report["candidates"] if c["state"] == "failed"]
    bare = text.replace("  documents: items.csv\n", "").replace("backbones: [./tiny]", "")
    (place / "need.yaml").write_text(bare.replace("  time: day\n", ""))
    ran(here)
    report = json.loads(here("report", "--json").out)
    assert {c["rung"] for c in report["candidates"]} == alone


def test_init_writes_a_need_that_can_be_planned(place: Path, here: Here):
    options = ("--task", "mastery", "--documents", "items.csv", "--to", "begun.yaml")
    refused(here("init", "answers.csv", *options), "no column looks like the user")
    rows = (place / "answers.csv").read_text().replace("who,", "learner,", 1)
    (place / "answers.csv").write_text(rows)
    made = here("init", "answers.csv", *options)
    assert made.status == 0, made.err
    text = (place / "begun.yaml").read_text()
    for line in ("user: learner", "item: exercise", "label: correct", "skill: skill", "time: day"):
        assert line in text
    (place / "begun.yaml").write_text(text + "prefer: {backbones: [./tiny]}\n")
    assert "0 faults" in here("data", "check", "begun.yaml").out
    plan = here("plan", "begun.yaml", "--json")
    assert plan.status == 0, plan.err
    rungs = [each["rung"] for each in json.loads(plan.out)["plan"]]
    assert rungs == [
        "item_logistic",
        "performance_factors",
        "item_response",
        "explanatory_response",
    ]
    assert "700 answers of 70 learners to 12 items" in plan.err
    bare = here("init", "answers.csv", "--task", "mastery", "--to", "bare.yaml")
    assert bare.status == 0, bare.err
    assert here("plan", "bare.yaml", "--json").status == 0


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("  item: exercise\n", "", "data.item is missing"),
        ("  user: who\n", "", "data.user is missing"),
        ("  time: day\n", "  time: day\n  group: who\n", "data.group is named beside data.user"),
        ("  time: day\n", "  time: day\n  feedback: true\n", "a correction has no time"),
        ("  time: day\n", "  time: day\n  labels: [a, b]\n", "are of labels, and rows ask items"),
        ("item_response", "head", "head reads texts, and rows of mastery hold histories"),
        ("item_response", "popular", "popular reads histories of items"),
        ("methods: [item_response]", "llm: smollm2", "prefer.llm is for tasks of texts alone"),
        ("auc >= 0.60", "recall_at_5 >= 0.4", "no metric is called 'recall_at_5'"),
        ("skill: skill", "skill: topic", "no column is called 'topic'"),
        ("label: correct", "label: day", "says neither that an answer was right"),
    ],
)
def test_what_cannot_be_is_refused_by_name_when_planning(place: Path, here: Here, old, new, words):
    assert old in NEED
    (place / "need.yaml").write_text(NEED.replace(old, new))
    refused(here("plan", "need.yaml"), words)


def test_bad_rows_are_told_with_their_row(place: Path, here: Here):
    rows = (place / "answers.csv").read_text().splitlines()
    rows[4] = "u1,ex-99,angles,2026-01-03,1"
    (place / "answers.csv").write_text("\n".join(rows) + "\n")
    refused(here("plan", "need.yaml"), "answers.csv, row 4: no item of data.documents has the id")
    found = json.loads(here("data", "check", "need.yaml", "--json").out)
    assert (found["faults"], found["findings"][0]["row"]) == (1, 4)
    one = [rows[0], *(f"u1,ex-{n % 12},{('angles', 'powers')[n % 2]},2026-01-{1 + n % 28:02},"
                      f"{n % 3 % 2}" for n in range(300))]  # fmt: skip
    (place / "answers.csv").write_text("\n".join(one) + "\n")
    refused(here("plan", "need.yaml"), "All rows are of one learner in 'who'")
    all_right = [row.rpartition(",")[0] + ",1" for row in rows if "ex-99" not in row]
    (place / "answers.csv").write_text("\n".join([rows[0], *all_right[1:]]) + "\n")
    refused(here("plan", "need.yaml"), "right")
