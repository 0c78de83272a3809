"""Questions and answers from files: as SQuAD writes them, in columns, and what is wrong there."""

import json
from pathlib import Path

import pytest

from sartor.core.errors import DataError
from sartor.core.spans import Passage
from sartor.data import prepare
from sartor.data.check import check
from sartor.data.feedback import merge_feedback
from sartor.data.questions import context_of, guess_questions
from sartor.data.read import read
from sartor.need.model import Data
from sartor.tasks._target.passages import Passages

CONTEXT = "The warranty covers two years. Batteries are covered for two months."
DATA = Data(train=["rows.jsonl"], roles={"question": "q", "context": "c", "label": "a"})


def columns():
    return prepare.columns_of(DATA, ("question", "context"), Passages())


def gathered(folder: Path, *rows: dict[str, object]):
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / "rows.jsonl").write_text(lines)
    found = prepare.gather(DATA, folder, known={}, columns=columns())
    return found, prepare.divide(found, wanted_test=2, seed=0, known={})


def row(question, answer, context=CONTEXT, **more):
    return {"q": question, "c": context, "a": answer, **more}


def many(count):
    """Rows about contexts of their own, which ask the same."""
    numbers = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    names = ("lamp", "kettle", "fan", "scale", "drone", "radio", "pen", "clock", "torch", "heater")
    return [
        row(
            "How long?",
            f"{numbers[i % 10]} days",
            f"The {names[i % 10]} of {i} runs {numbers[i % 10]} days.",
        )
        for i in range(count)
    ]


def test_answers_are_located_and_questions_that_come_again_tie_nothing(tmp_path):
    rows = [
        *many(10),
        row("What?", ["warranty", {"text": "two years", "start": 20}]),
        row("Who?", []),
    ]
    found, split = gathered(tmp_path, *rows, row("Who, then?", []))
    assert not found.cleaned.dropped
    assert found.label_counts() == {"answer": 11, "no answer": 2}
    every = {
        (question, answers)
        for part in (split.train, split.validation, split.test)
        for question, answers in zip(part.inputs["question"], part.target, strict=True)
    }
    assert ("What?", (Passage(4, 12, "warranty"), Passage(20, 29, "two years"))) in every
    assert ("Who?", ()) in every
    # Rows of one context stay together; "How long?" is asked on either side.
    parts = [
        p for p in (split.train, split.validation, split.test) if CONTEXT in p.inputs["context"]
    ]
    assert len(parts) == 1
    assert "How long?" in split.train.inputs["question"]
    assert "How long?" in split.test.inputs["question"] or "Who?" in split.test.inputs["question"]


def test_rows_that_ask_the_same_have_the_answers_of_all(tmp_path):
    rows = [*many(10), row("What?", "warranty"), row("What?", "covers"), row("What?", "covers")]
    found, split = gathered(tmp_path, *rows)
    assert {change.reason for change in found.cleaned.dropped} == {"repeated text"}
    both = {
        tuple(a.text for a in answers)
        for part in (split.train, split.validation, split.test)
        for answers in part.target
    }
    assert ("warranty", "covers") in both


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (row("Q?", "two"), "stands 2 times in the context"),
        (row("Q?", "three years"), "does not stand in the context"),
        (row("Q?", "two years", answer_start="19"), "does not stand at 19 of the context"),
        (row("Q?", "two years", answer_start="x"), "is said to begin at 'x'"),
        (row("Q?", "warrant"), "cuts 'warranty' in two"),
        (row(CONTEXT, "two years", "How long?"), "but in the text before it"),
    ],
)
def test_what_is_wrong_is_told_with_file_and_row(bad, why, tmp_path):
    rows = [*many(3), bad]
    with pytest.raises(DataError, match=why) as told:
        gathered(tmp_path, *rows)
    assert "rows.jsonl, row 4" in told.value.what
    faults = [
        f for f in check({"train": ["rows.jsonl"]}, tmp_path, columns()) if f.level == "fault"
    ]
    assert [(fault.row, why in fault.what) for fault in faults] == [(4, True)]


def test_a_column_says_where_answers_begin_and_empty_ones_are_listed(tmp_path):
    rows = [*many(9), row("A?", "two", answer_start=57), row("B?", "", answer_start=None)]
    found, split = gathered(tmp_path, *rows, row("C?", [], " "))
    told = {(change.row, change.reason) for change in found.cleaned.dropped}
    assert told == {(11, "no label"), (12, "empty context")}
    every = [a for part in (split.train, split.validation, split.test) for a in part.target]
    assert (Passage(57, 60, "two"),) in every


def squad():
    asked = [
        {"id": 1, "question": "How long?", "answers": [{"text": "two years", "answer_start": 20}]},
        {
            "id": 2,
            "question": "Who?",
            "answers": [],
            "is_impossible": True,
            "plausible_answers": [],
        },
        {"id": 3, "question": "What?"},
        {"id": 4, "question": "Which?", "answers": [{"text": "two", "answer_start": 57}] * 2},
    ]
    return {
        "version": "2.0",
        "data": [{"title": "T", "paragraphs": [{"context": CONTEXT, "qas": asked}]}],
    }


def test_a_file_of_squad_is_rows(tmp_path):
    (tmp_path / "squad.json").write_text(json.dumps(squad()))
    frame = read(["squad.json"], tmp_path).frame
    assert frame["question"].to_list() == ["How long?", "Who?", "What?", "Which?"]
    assert set(frame["context"]) == {CONTEXT}
    assert frame["answers"].to_list()[1:3] == ["[]", None]
    form = Passages()
    cells = [frame["answers"][i] for i in (0, 3)]
    found = [form.value(form.read_in(cell, (), CONTEXT, str)) for cell in cells]
    assert found == [(Passage(20, 29, "two years"),), (Passage(57, 60, "two"),)]
    guessed = guess_questions(frame)
    assert (guessed.text, guessed.label) == ("question", "answers")
    assert context_of(frame, ["question", "answers"]) == "context"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "line 1, column 2: not JSON"),
        ("[1]", "the file: there is no list under 'data'"),
        (json.dumps({"data": []}), "holds no questions"),
        (json.dumps({"data": [{"paragraphs": [{"qas": []}]}]}), "no text under 'context'"),
        (json.dumps(squad()).replace('"How long?"', "7"), "question 1: there is no text"),
        (
            json.dumps(squad()).replace('{"text": "two years", "answer_start": 20}', "3"),
            "'3' is no answer",
        ),
    ],
)
def test_a_broken_file_of_squad_says_where(text, why, tmp_path):
    (tmp_path / "squad.json").write_text(text)
    with pytest.raises(DataError, match=why):
        read(["squad.json"], tmp_path)


def test_columns_are_guessed_by_what_stands_in_them(tmp_path):
    lines = [
        {"x": f"Is it {i}?", "y": f"yes {i}", "z": f"Surely, yes {i}, it is so."} for i in range(9)
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    frame = read(["rows.jsonl"], tmp_path).frame
    guessed = guess_questions(frame)
    assert (guessed.text, guessed.label) == ("x", "y")
    assert context_of(frame, ["x", "y"]) == "z"


def test_a_correction_replaces_the_answer_or_becomes_a_row(tmp_path):
    (tmp_path / "rows.jsonl").write_text(
        json.dumps(row("How long?", "two years", f" {CONTEXT}")) + "\n"
    )
    frame = read(["rows.jsonl"], tmp_path).frame
    said = [
        {"text": json.dumps(["How long?", CONTEXT]), "label": '[[57, 67, "two months"]]'},
        {"text": json.dumps(["Who?", CONTEXT]), "label": "[]"},
        {"text": json.dumps(["What?", CONTEXT]), "label": '[[5, 9, "nope"]]'},
    ]
    found = merge_feedback(frame, said, columns=columns())
    assert (found.added, len(found.relabelled), len(found.refused)) == (1, 1, 1)
    assert found.frame["a"].to_list() == ['[[57, 67, "two months"]]', "[]"]
    assert found.frame["c"].to_list() == [CONTEXT, CONTEXT]
