"""From who chose what, and when, to a bundle that recommends; and what is said on the way."""

import json
import random
from pathlib import Path

import pytest

from tests.stories.shop import Here, furnished, ran, refused, write_table
from tests.tiny import WORDS

NEED = """name: next
task: recommendation
data:
  documents: items.csv
  train: choices.csv
  user: who
  label: item
  time: day
  baseline: most_chosen
accept:
  - recall_at_5 >= 0.40
  - recall_at_5 >= baseline + 0.05
  - coverage_at_5 >= 0.20
  - size_mb <= 3
prefer: {backbones: [./tiny], methods: [neighbours]}
"""
COUNT = 30


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Whoever takes item n mostly takes item n + 1 next; the last two are never taken."""
    folder = furnished(tmp_path / "shop", NEED)
    draw = random.Random(0)
    items = [(f"item-{n}", f"{n} " + " ".join(draw.sample(WORDS, 5))) for n in range(COUNT)]
    write_table(folder / "items.csv", ["id", "text"], items)
    rows = []
    for user in range(80):
        at, day = draw.randrange(COUNT - 2), draw.randrange(200)
        taken = set()
        for _ in range(draw.randint(4, 9)):
            at = (at + 1) % (COUNT - 2) if draw.random() < 0.8 else draw.randrange(COUNT - 2)
            if at not in taken:
                rows.append(
                    (f"u{user}", f"item-{at}", f"2026-{1 + day // 28:02}-{1 + day % 28:02}")
                )
                taken.add(at)
            day += draw.randint(1, 3)
    draw.shuffle(rows)
    write_table(folder / "choices.csv", ["who", "item", "day"], rows)
    return folder


def test_choices_become_a_bundle_that_recommends_without_naming_anybody(place: Path, here: Here):
    found = ran(here)
    verdicts = {v["criterion"]: v for v in found["verdicts"]}
    first = verdicts["recall_at_5 >= 0.40"]
    assert first["value"] > 0.45
    assert "listing what was chosen most gives" in first["note"]
    assert verdicts["recall_at_5 >= baseline + 0.05"]["value"] > 0.1
    bundle = place / found["bundle"]
    manifest = (bundle / "manifest.json").read_text()
    assert json.loads(manifest)["inputs"] == {"history": "items"}
    assert not [path for path in bundle.rglob("*") if b"u17" in path.read_bytes()]
    report = json.loads(here("report", "--json").out)
    assert all(a["agreement"] >= 0.9 for a in report["artefacts"] if a["kept"])

    row = {"history": ["item-3", "item-7"], "exclude": ["item-9"], "k": 4}
    (place / "ask.jsonl").write_text(json.dumps(row) + "\n")
    (place / "odd.jsonl").write_text(json.dumps({"history": []}) + '\n{"history": "item-3"}\n')
    refused(here("predict", found["bundle"], "odd.jsonl"), "odd.jsonl, line 2, key 'history' is")
    refused(here("predict", found["bundle"], "choices.csv"), "choices.csv is a table", ".jsonl")
    said = here("predict", found["bundle"], "ask.jsonl")
    assert said.status == 0, said.err
    documents = json.loads(said.out)["documents"]
    assert documents[0]["id"] == "item-8"
    assert documents[0]["text"]
    assert len(documents) == 4
    assert not {"item-3", "item-7", "item-9"} & {each["id"] for each in documents}

    again = here("judge", found["bundle"], "choices.csv")
    assert again.status in (0, 1, 2), again.err
    refused(
        here("bundle", "reindex", found["bundle"], "items.csv", "--to", "x"), "finds no documents"
    )


def test_every_rung_is_climbed(place: Path, here: Here):
    text = NEED.replace(", methods: [neighbours]", "").replace("recall_at_5 >= 0.40", "mrr >= 0.99")
    (place / "need.yaml").write_text(text)
    ran(here)
    report = json.loads(here("report", "--json").out)
    rungs = {c["rung"] for c in report["candidates"]}
    assert rungs == {"popular", "neighbours", "similar_items", "two_tower", "hybrid"}
    assert not [c for c in report["candidates"] if c["state"] == "failed"]


def test_init_writes_a_need_that_can_be_planned(place: Path, here: Here):
    options = ("--task", "recommendation", "--documents", "items.csv", "--to", "begun.yaml")
    write_table(place / "taken.csv", ["user", "item", "date"], [("a", "item-1", "2026-01-01")])
    odd = here("init", "choices.csv", *options)
    refused(odd, "no column looks like the user")
    rows = (place / "choices.csv").read_text().replace("who,item,day", "user,item,day")
    (place / "choices.csv").write_text(rows)
    made = here("init", "choices.csv", *options)
    assert made.status == 0, made.err
    text = (place / "begun.yaml").read_text()
    for line in ("user: user", "label: item", "time: day", "baseline: most_chosen"):
        assert line in text
    (place / "begun.yaml").write_text(text + "prefer: {backbones: [./tiny]}\n")
    assert "0 faults" in here("data", "check", "begun.yaml").out
    plan = here("plan", "begun.yaml", "--json")
    assert plan.status == 0, plan.err
    rungs = [each["rung"] for each in json.loads(plan.out)["plan"]]
    assert rungs == ["popular", "neighbours", "similar_items", "two_tower", "hybrid"]
    assert "moments" in plan.err


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("  time: day\n", "", "data.time is missing"),
        ("  documents: items.csv\n", "", "data.documents is missing"),
        ("  time: day\n", "  time: day\n  group: who\n", "data.group is named beside data.user"),
        ("  time: day\n", "  time: day\n  feedback: true\n", "a correction has no time"),
        ("[neighbours]", "[head]", "head reads texts, and rows of recommendation hold histories"),
        ("methods: [neighbours]", "llm: smollm2", "prefer.llm is for tasks of texts alone"),
        ("  user: who\n", "", "data.user is missing"),
        ("recall_at_5 >= 0.40", "accuracy >= 0.4", "no metric is called 'accuracy'"),
    ],
)
def test_what_cannot_be_is_refused_by_name_when_planning(place: Path, here: Here, old, new, words):
    (place / "need.yaml").write_text(NEED.replace(old, new))
    refused(here("plan", "need.yaml"), words)


def test_a_choice_of_what_is_no_item_is_told_with_its_row(place: Path, here: Here):
    rows = (place / "choices.csv").read_text().splitlines()
    rows[4] = "u1,item-99,2026-01-03"
    (place / "choices.csv").write_text("\n".join(rows) + "\n")
    refused(here("plan", "need.yaml"), "choices.csv, row 4: no document has the id 'item-99'")
    found = json.loads(here("data", "check", "need.yaml", "--json").out)
    assert (found["faults"], found["findings"][0]["row"]) == (1, 4)
