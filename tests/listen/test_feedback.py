"""What users said: counted once a row, by class and segment, with its bias stated."""

import csv
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from sartor.core.errors import DataError
from sartor.core.store import Store
from sartor.core.tables import feedback, predictions
from sartor.listen.export import Correction, corrections, delete_user, write_dataset
from sartor.listen.feedback import BIAS, draw_audit, summary

LABELS = ("refund", "invoice", "other")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store.db") as opened:
        yield opened


def serve(store: Store, request: str, best: str, **more: object) -> None:
    answer = {
        "label": best,
        "best": best,
        "probabilities": {label: 0.8 if label == best else 0.1 for label in LABELS},
    }
    row = {
        "request_id": request,
        "row": 0,
        "bundle": "b1",
        "time": datetime.now(UTC),
        "label": best,
        "answer": answer,
        "text": f"text of {request}",
        "user": None,
        "segment": None,
    }
    with store.write() as connection:
        connection.execute(sa.insert(predictions), [row | more])


def say(store: Store, request: str, label: str, **more: object) -> None:
    row = {"request_id": request, "row": 0, "time": datetime.now(UTC), "label": label}
    with store.write() as connection:
        connection.execute(sa.insert(feedback), [row | more])


def test_an_empty_store_has_an_empty_summary(store: Store):
    found = summary(store)
    assert (found.requests, found.rows, found.said.n, found.comments) == (0, 0, 0, ())
    assert found.audit is None
    assert found.first is None


def test_agreement_is_counted_by_class_and_segment(store: Store):
    serve(store, "a", "refund", segment="cn")
    serve(store, "b", "refund", segment="cn")
    serve(store, "c", "invoice", segment="de")
    serve(store, "d", "other", label=None)
    say(store, "a", "refund")
    say(store, "b", "other", comment="no refund was asked for")
    say(store, "c", "invoice", segment="at")
    found = summary(store)
    assert (found.requests, found.rows, found.abstained) == (4, 4, 1)
    assert (found.said.n, found.said.agreed) == (3, 2)
    assert [(g.name, g.n, g.agreed) for g in found.by_class] == [
        ("refund", 2, 1),
        ("invoice", 1, 1),
    ]
    assert [(g.name, g.n, g.agreed) for g in found.by_segment] == [("cn", 2, 1), ("at", 1, 1)]
    assert found.by_class[0].share == 0.5
    assert found.confused == (("refund", "other", 1),)
    assert [c.comment for c in found.comments] == ["no refund was asked for"]
    assert found.note == BIAS
    assert "lower than the truth" in BIAS


def test_the_latest_word_on_a_row_counts(store: Store):
    serve(store, "a", "refund")
    say(store, "a", "other")
    say(store, "a", "refund")
    found = summary(store)
    assert (found.said.n, found.said.agreed, found.confused) == (1, 1, ())
    assert [c["label"] for c in corrections(store)] == ["refund"]


def test_a_label_that_no_model_knows_is_listed(store: Store):
    serve(store, "a", "refund")
    serve(store, "b", "refund")
    say(store, "a", "complaint")
    say(store, "b", "other")
    assert summary(store).new_labels == (("complaint", 1),)


def test_one_bundle_is_summed_up_alone(store: Store):
    serve(store, "a", "refund")
    serve(store, "b", "refund", bundle="b2")
    say(store, "b", "other")
    assert summary(store, "b1").said.n == 0
    assert summary(store, "b2").said.n == 1
    assert summary(store, "b3").requests == 0
    assert corrections(store, "b1") == []


def test_an_audit_is_random_repeatable_and_never_draws_twice(store: Store, tmp_path: Path):
    for number in range(60):
        serve(store, f"r{number:02d}", "refund")
        if number < 30:
            say(store, f"r{number:02d}", "other")
    first = draw_audit(store, 20, seed=1)
    second = draw_audit(store, 20, seed=1)
    names = [row.request_id for row in (*first, *second)]
    assert len(set(names)) == 40
    assert first[0].text == f"text of {first[0].request_id}"
    assert names[:20] != sorted(names[:20])
    # Rows with and without feedback are drawn alike.
    assert 5 < sum(name < "r30" for name in names) < 35
    with store.write() as connection:
        connection.exec_driver_sql("DELETE FROM audits")
    assert draw_audit(store, 20, seed=1) == first


def test_an_audit_reports_its_agreement_with_an_interval(store: Store):
    for number in range(40):
        serve(store, f"r{number}", "refund")
    drawn = draw_audit(store, 20, seed=0)
    for number, row in enumerate(drawn):
        say(store, row.request_id, "refund" if number < 18 else "other")
    audit = summary(store).audit
    assert audit is not None
    assert (audit.drawn, audit.labelled.n, audit.labelled.agreed) == (20, 20, 18)
    # Clopper and Pearson 1934, 18 of 20 at 95 %.
    assert (audit.low, audit.high) == pytest.approx((0.6830, 0.9877), abs=5e-4)
    assert {c["audit"] for c in corrections(store)} == {True}


def test_an_audit_without_kept_texts_says_how_to_keep_them(store: Store):
    serve(store, "a", "refund", text=None)
    with pytest.raises(DataError, match="no served text") as caught:
        draw_audit(store, 5, seed=0)
    assert "--store-texts" in caught.value.fix


def test_a_correction_needs_a_text_and_takes_the_one_sent_with_it(store: Store):
    serve(store, "a", "refund", text=None, user="u1")
    serve(store, "b", "refund", text=None)
    serve(store, "c", "refund", segment="cn")
    say(store, "a", "other", text="sent along")
    say(store, "b", "other")
    say(store, "c", "invoice", user="u2")
    found = corrections(store)
    shown = [(c["request_id"], c["text"], c["label"], c["user"], c["segment"]) for c in found]
    assert shown == [
        ("a", "sent along", "other", "u1", None),
        ("c", "text of c", "invoice", "u2", "cn"),
    ]
    assert datetime.fromisoformat(found[0]["time"]).tzinfo is not None
    assert found[0]["audit"] is False


def test_deleting_a_user_leaves_nothing_of_theirs_and_all_of_the_others(
    store: Store, tmp_path: Path
):
    serve(store, "a", "refund", user="u1", text="words of the first")
    serve(store, "b", "refund", user="u2", text="words of the second")
    serve(store, "c", "refund", user="u2")
    draw_audit(store, 3, seed=0)
    say(store, "a", "other", comment="said about the first")
    say(store, "b", "other", user="u1", comment="said by the first")
    say(store, "c", "other", comment="said about the second")
    deleted = delete_user(store, "u1")
    assert (deleted.predictions, deleted.feedback) == (1, 2)
    assert summary(store).requests == 2
    assert [c["request_id"] for c in corrections(store)] == ["c"]
    content = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"the first" not in content
    assert b"words of the second" in content
    assert delete_user(store, "u1").predictions == 0


def correction(text: str, label: str = "other") -> Correction:
    return Correction(
        text=text,
        label=label,
        user=None,
        segment=None,
        time="2026-01-01T00:00:00.000+00:00",
        request_id="r",
        row=0,
        audit=False,
    )


def written(rows: Sequence[Correction], path: Path) -> list[dict]:
    write_dataset(rows, path)
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@settings(max_examples=50, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")))
def test_a_dataset_is_read_back_as_it_was(text: str, tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("export")
    rows = [correction('退款, "now"\n'), correction(text)]
    assert written(rows, folder / "c.jsonl") == rows
    read = written(rows, folder / "c.csv")[1]["text"]
    assert read in (text, "'" + text)


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_a_spreadsheet_is_given_no_formula(tmp_path: Path, start: str):
    attack = f"{start}cmd|' /C calc'!A0"
    rows = [correction(attack, label=attack)]
    (read,) = written(rows, tmp_path / "c.csv")
    assert read["text"] == read["label"] == "'" + attack
    assert written(rows, tmp_path / "c.jsonl")[0]["text"] == attack


def test_another_ending_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match=r"'c\.xlsx' ends in neither"):
        write_dataset([], tmp_path / "c.xlsx")
    assert list(tmp_path.iterdir()) == []


def test_a_corrected_number_agrees_where_it_lies_in_the_interval(store: Store):
    for request, value in (("a", 3.0), ("b", 5.0), ("c", None)):
        ends = dict.fromkeys(("low", "high")) if value is None else {"low": 2.0, "high": 6.0}
        answer = {"value": value, **ends, "coverage": 0.9}
        serve(store, request, "", label=None if value is None else f"{value:g}", answer=answer)
    for request, right in (("a", "5.5"), ("b", "9"), ("c", "1")):
        say(store, request, right)
    found = summary(store)
    assert (found.said.n, found.said.agreed, found.abstained) == (3, 1, 1)
    assert found.distance == pytest.approx((2.5 + 4) / 2)
    assert (found.by_class, found.confused, found.new_labels) == ((), (), ())
