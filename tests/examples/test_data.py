"""The committed example data is what its provenance and its need say it is."""

import importlib.util
import json
from collections import Counter
from pathlib import Path

import polars as pl
import pytest

from sartor.tasks._target.passages import Passages
from sartor.tasks._target.spans import Spans

ROOT = Path(__file__).parents[2]
FOLDERS = sorted(path for path in (ROOT / "examples").iterdir() if path.is_dir())
LARGEST = 2_000_000


def read(name: str) -> pl.DataFrame:
    return pl.read_csv(ROOT / "examples" / name, infer_schema=False)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_an_example_says_where_its_data_comes_from_and_what_it_asks(folder):
    provenance = (folder / "PROVENANCE.md").read_text(encoding="utf-8")
    assert "licence" in provenance.lower()
    assert (folder / "need.yaml").is_file()


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_every_data_file_of_an_example_has_a_script_that_makes_it(folder):
    tables = sorted(folder.glob("*.csv"))
    script = (folder / "make.py").read_text(encoding="utf-8") if tables else ""
    assert not [table.name for table in tables if f'"{table.name}"' not in script]


def test_no_committed_file_is_larger_than_2_mb():
    sizes = {p: p.stat().st_size for f in FOLDERS for p in f.rglob("*") if p.is_file()}
    assert not {str(path): size for path, size in sizes.items() if size > LARGEST}


def test_the_reviews_are_4000_and_1000_rows_with_ids_of_their_own():
    train, test = read("reviews/reviews.csv"), read("reviews/test.csv")
    assert (len(train), len(test)) == (4_000, 1_000)
    assert set(train["label"]) == set(test["label"]) == {"great", "other"}
    assert len(set(train["id"]) | set(test["id"])) == 5_000


def test_the_keyword_rule_beats_guessing_and_leaves_room():
    test = read("reviews/test.csv")
    right = (test["todays_answer"] == test["label"]).sum() / len(test)
    most_frequent = max(Counter(test["label"]).values()) / len(test)
    assert most_frequent < right < 0.8


def test_every_intent_has_60_distinct_sentences_in_both_languages():
    rows = read("intents/intents.csv")
    counts = rows.group_by("label", "lang").agg(pl.col("text").n_unique())
    assert len(counts) == 2 * rows["label"].n_unique() >= 24
    assert min(counts["text"].to_list()) >= 60


def test_no_sentence_of_the_intents_has_two_labels():
    rows = read("intents/intents.csv")
    assert set(rows.group_by("text").agg(pl.col("label").n_unique())["label"]) == {1}


def test_every_intent_has_templates_enough_to_split_by_them():
    rows = read("intents/intents.csv")
    counts = rows.group_by("label", "lang").agg(pl.col("template").n_unique())
    assert min(counts["template"].to_list()) >= 4


def test_the_chinese_reviews_are_balanced_distinct_and_chinese():
    rows = read("chinese_reviews/chinese_reviews.csv")
    assert Counter(rows["label"]) == {"正面": 1_000, "负面": 1_000}
    assert rows["text"].n_unique() == 2_000
    assert rows["text"].str.contains(r"\p{Han}").sum() > 0.99 * len(rows)


def test_half_of_the_weaknesses_have_several_labels():
    rows = read("topics/weaknesses.csv")
    sets = [cell.split("; ") for cell in rows["scopes"].to_list()]
    assert len(rows) == rows["id"].n_unique() == 916
    assert 0.4 < sum(len(labels) > 1 for labels in sets) / len(sets) < 0.6
    counts = Counter(label for labels in sets for label in labels)
    assert len(counts) == 9
    assert min(counts.values()) >= 10


def test_every_report_names_documents_that_are_there():
    base, rows = (read(f"answers/{name}.csv").to_dicts() for name in ("answers", "reports"))
    ids = [row["id"] for row in base]
    assert len(ids) == len(set(ids)) == len({(row["title"], row["text"]) for row in base}) == 938
    named = Counter(name for row in rows for name in row["weakness"].split("; "))
    assert set(named) <= set(ids)
    assert (len(rows), len(named), sum(n > 1 for n in named.values())) == (1946, 545, 404)


def test_every_request_of_the_duplicates_stands_in_one_pair():
    rows = read("duplicates/duplicates.csv")
    texts = [text.casefold() for name in ("request", "earlier") for text in rows[name]]
    assert len(texts) == len(set(texts)) == 2 * len(rows) > 5_000


def test_the_duplicates_are_balanced_in_every_cell():
    rows = read("duplicates/duplicates.csv")
    counts = Counter(zip(rows["cell"], rows["label"], strict=True))
    cells = {cell for cell, _ in counts}
    assert len(cells) > 100
    # A sentence that stands in two cells is left out of both.
    assert sum(abs(counts[c, "same"] - counts[c, "different"]) for c in cells) < 0.1 * len(rows)


def test_the_slots_stand_where_they_are_said_to_in_both_languages():
    lines = (ROOT / "examples" / "slots" / "slots.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    assert Counter(row["lang"] for row in rows) == {"en": 1_200, "zh": 1_200}
    form = Spans()
    for row in rows:
        cell = json.dumps(row["slots"], ensure_ascii=False)
        assert len(form.value(form.read_in(cell, (), row["text"], str))) == len(row["slots"])
    counts = Counter(slot["label"] for row in rows for slot in row["slots"])
    assert len(counts) == 13
    assert min(counts.values()) >= 40


def test_the_manual_answers_where_it_says_so_and_its_script_writes_it_again():
    folder = ROOT / "examples" / "manual"
    text = (folder / "manual.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in text.splitlines()]
    assert Counter(row["lang"] for row in rows) == {"en": 600, "zh": 400}
    form = Passages()
    for row in rows:
        cell = json.dumps(row["answers"], ensure_ascii=False)
        assert len(form.value(form.read_in(cell, (), row["context"], str))) == len(row["answers"])
    assert sum(not row["answers"] for row in rows) == 250
    spec = importlib.util.spec_from_file_location("make_manual", folder / "make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert list(module.rows()) == rows


def test_the_news_are_converted_with_names_in_one_piece():
    path = ROOT / "examples" / "people_daily" / "convert.py"
    spec = importlib.util.spec_from_file_location("convert", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    line = "19980101-01-001-002/m 江/nr 泽民/nr 在/p [中国/ns 科学院/n]nt 说/v ，/w 李/nr 鹏/nr"
    text, entities = module.entities_of(line)
    assert [(text[e["start"] : e["end"]], e["label"]) for e in entities] == [
        ("江泽民", "person"),
        ("中国科学院", "organisation"),
        ("李鹏", "person"),
    ]
    assert list(module.rows(iter([line, line, ""]))) == [{"text": text, "entities": entities}]


def test_made_up_answers_are_told_apart_by_their_wording_alone():
    train, test = read("education/answers.csv"), read("education/test.csv")
    assert (len(train), len(test)) == (800, 240)
    assert not set(train["wording"]) & set(test["wording"])
    assert not set(train["text"]) & set(test["text"])
    for rows in (train, test):
        assert set(rows["points"]) == {"0", "1", "2", "3"}
        assert set(rows["lang"]) == {"en", "zh"}
        assert rows["question"].n_unique() == 5
