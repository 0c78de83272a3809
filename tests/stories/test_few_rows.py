"""A need with a handful of rows still ends in a bundle, and claims no more than they show."""

import json
from pathlib import Path

import pytest

from sartor.bundle import open_bundle
from tests.stories.shop import NEED, Here, reviews, write_csv


@pytest.mark.slow
def test_eighty_rows_choose_by_folds_and_prove_little(new_shop: Path, here: Here):
    write_csv(new_shop / "reviews.csv", reviews(80))
    (new_shop / "need.yaml").write_text(NEED.replace("0.80", "0.93"))
    said = here("run", "need.yaml", "--method", "head", "--json")
    assert said.status == 1, said.err
    assert "validation rows are few: heads are chosen by 5-fold cross-validation" in said.err
    found = json.loads(said.out)
    assert found["state"] == "unproven"
    accuracy = found["verdicts"][0]
    assert accuracy["n"] == 24
    if accuracy["value"] > 0.93:
        assert accuracy["more"], "it says how many more rows would decide"
    report = json.loads(here("report", "--json").out)
    assert (report["data"]["train"], report["data"]["validation"]) == (44, 12)
    assert all(c["state"] == "tried" for c in report["candidates"])
    assert report["next_steps"]
    learnt = open_bundle(new_shop / found["bundle"]).learnt()
    assert learnt is not None
    assert len(learnt.marks) == 56
    assert not learnt.chose, "what ships is fitted on those that chose, too"
    again = here("run", "need.yaml", "--method", "head", "--json")
    assert json.loads(again.out)["bundle"] == found["bundle"], "the same choice each time"
