"""What is stored of an answer: places and labels, and no words of the text it was given."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from sartor.bundle import Preprocess
from sartor.core.store import Store
from sartor.core.tables import predictions
from sartor.listen.export import corrections
from sartor.listen.feedback import summary
from sartor.serve.quotes import unquoted
from sartor.serve.records import Recorder, Said, Served
from sartor.tasks import TASKS
from tests.composed import desk
from tests.serve.conftest import Serving
from tests.serve.test_in_pieces import LENGTH, made

CONTEXT = "The warranty covers two years."
ANSWERING = TASKS.get("question_answering")()


def stored(path: Path) -> Sequence[dict[str, Any]]:
    with Store.open(path) as store, store.read() as connection:
        return [dict(row) for row in connection.execute(sa.select(predictions)).mappings()]


def test_labelled_parts_are_stored_by_their_places(serving: Serving, tmp_path: Path):
    place = tmp_path / "parts"
    place.mkdir()
    bundle = made(place, Preprocess(max_length=LENGTH))
    with serving(bundle=str(bundle.folder), unreleased=True) as running:
        asked = running.predict("eat in paris")
        (found,) = asked["outputs"][0]["entities"]
        assert found["text"] == "paris"
        right = {key: found[key] for key in ("start", "end", "label")}
        said = {"request_id": asked["request_id"], "entities": [right]}
        assert running.client.post("/v1/feedback", json=said).status_code == 201
    (row,) = stored(running.store)
    assert row["answer"]["entities"] == [right | {"confidence": found["confidence"]}]
    with Store.open(running.store) as store:
        assert summary(store).said.agreed == 1
    for file in running.store.parent.glob("store.db*"):
        assert b"paris" not in file.read_bytes()


def answered() -> dict[str, Any]:
    """That the warranty covers "two years", as the task answers it."""
    logits = np.zeros((1, 7, 2), np.float32)
    logits[0, 4, 0] = logits[0, 5, 1] = 9.0
    (answer,) = ANSWERING.decode(logits, ["start", "end"], {}, [("How long?", CONTEXT)])
    assert answer["answer"] == "two years", "nothing is quoted; the tests would be vacuous"
    return answer


@pytest.mark.parametrize(
    ("label", "agreed"), [('[[20, 29, "two years"]]', 1), ('[[4, 12, "warranty"]]', 0), ("[]", 0)]
)
def test_a_quoted_answer_is_stored_by_its_place_and_held_against_a_correction(
    tmp_path: Path, label: str, agreed: int
):
    async def told(recorder: Recorder) -> None:
        time = datetime.now(UTC)
        recorder.served(Served("r", "b", time, (), [answered()], ANSWERING.brief))
        await recorder.said(Said("r", 0, label, text=f"How long? {CONTEXT}"))

    with Store.open(tmp_path / "store.db") as store:
        recorder = Recorder(store)
        asyncio.run(told(recorder))
        recorder.close()
        found = summary(store)
        assert (found.said.n, found.said.agreed) == (1, agreed)
        assert [each["label"] for each in corrections(store)] == [label]
    (row,) = stored(tmp_path / "store.db")
    assert (row["answer"]["start"], row["answer"]["end"]) == (20, 29)
    assert row["label"] is not None
    assert not any(word in str([row["answer"], row["label"]]) for word in ("years", "warranty"))


def test_a_product_is_stored_without_what_it_and_its_parts_say(serving: Serving, tmp_path: Path):
    with serving(bundle=str(desk(tmp_path / "desk").folder)) as running:
        asked = running.predict("money back")
        assert asked["outputs"][0]["say"]
    (row,) = stored(running.store)
    assert row["answer"]["outcome"] == row["label"] == "refunds"
    assert [step["best"] for step in row["answer"]["path"]] == ["refund", "refunds"]
    assert "say" not in row["answer"]
    assert all(
        set(each) == {"id", "score"} for each in row["answer"]["path"][1]["answer"]["documents"]
    )


def test_a_part_that_quotes_is_stored_by_its_place():
    step = {"part": "reader", "best": "two years", "confidence": 0.9, "answer": answered()}
    found = unquoted({"outcome": "yes", "confidence": 0.9, "reason": "two years", "path": [step]})
    assert (found["path"][0]["part"], found["path"][0]["answer"]["start"]) == ("reader", 20)
    assert "years" not in str(found)
