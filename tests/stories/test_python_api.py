"""The same path from Python: a mapping in, an outcome and answers out."""

from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest

import sartor
from sartor import pipeline
from sartor.core.errors import DataError, WorkspaceError
from sartor.core.events import Event, StageDone
from tests.stories.conftest import Finished
from tests.stories.shop import reviews, write_csv


def need_of(shop: Path) -> dict[str, Any]:
    return {
        "name": "reviews",
        "task": "text_classification",
        "data": {"train": "held in Python", "text": "text", "label": "label"},
        "accept": ["accuracy >= 0.80", "size_mb <= 5"],
        "prefer": {"backbones": [str(shop / "tiny")]},
    }


def test_a_mapping_and_a_frame_end_in_a_bundle_that_answers(new_shop: Path):
    events: list[Event] = []
    frame = pl.DataFrame(reviews(400), schema=["text", "label"], orient="row")
    outcome = sartor.run(need_of(new_shop), data=frame, workspace=new_shop, emit=events.append)
    assert outcome.state == "met"
    assert [v.criterion for v in outcome.verdicts] == ["accuracy >= 0.80", "size_mb <= 5"]
    assert {e.stage for e in events if isinstance(e, StageDone)} >= {"read", "climb", "judge"}
    assert "<table" in outcome._repr_html_()
    assert "accuracy &gt;= 0.80" in outcome._repr_html_()

    model = sartor.load(outcome.bundle)
    answers = model.predict(["very good great thanks", "awful broken hate"])
    assert [a["label"] for a in answers] == ["good", "bad"]
    assert "<" in model._repr_html_()

    with pytest.raises(WorkspaceError, match="held in Python, which are gone"):
        pipeline.resume(outcome.run, workspace=new_shop)


@pytest.mark.parametrize(
    "held",
    [
        lambda rows: pd.DataFrame(rows, columns=["text", "label"]),
        lambda rows: [{"text": text, "label": label} for text, label in rows],
        lambda rows: {"text": [t for t, _ in rows], "label": [la for _, la in rows]},
    ],
    ids=["pandas", "list of mappings", "mapping of lists"],
)
def test_rows_held_in_python_are_planned_like_those_of_a_file(new_shop: Path, held: Any):
    rows = reviews(400)
    from_file = pipeline.plan(new_shop / "need.yaml", workspace=new_shop)
    ready = pipeline.plan(need_of(new_shop), data=held(rows), workspace=new_shop)
    assert ready.setting.rows.train.ids == from_file.setting.rows.train.ids
    assert ready.setting.rows.test.target == from_file.setting.rows.test.target


def test_a_finished_run_is_resumed_by_reading_it(shop: Finished):
    before = {p: p.stat().st_mtime_ns for p in shop.bundle.iterdir()}
    events: list[Event] = []
    outcome = pipeline.resume(workspace=shop.folder, emit=events.append)
    assert (outcome.run, outcome.state, events) == (1, "met", [])
    assert {p: p.stat().st_mtime_ns for p in shop.bundle.iterdir()} == before


def test_a_run_is_not_finished_on_other_data_than_it_began_with(shop: Finished):
    (shop.folder / ".sartor" / "runs" / "1" / "result.json").unlink()
    write_csv(shop.folder / "reviews.csv", reviews(399))
    with pytest.raises(DataError, match=r"reviews\.csv has changed since"):
        pipeline.resume(workspace=shop.folder)
