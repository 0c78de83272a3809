"""A bundle that traces learners: in process, over HTTP, by the protocol, and what it says of it."""

import json
from pathlib import Path

import pytest

from sartor.bundle import Bundle
from sartor.core.columns import Column
from sartor.core.errors import RequestError
from sartor.serve.rows import example_row
from sartor.serve.runtime import Runtime, load
from tests.serve.conftest import Serving, answers_alike
from tests.serve.of_items import bundle_of_items
from tests.serve.test_browser import BROWSER, Browser, browser, shown

__all__ = ["browser"]

ITEMS = [f"i{n}" for n in range(6)]
SKILLS = ["angles", "angles", "angles", "powers", "powers", "powers"]


@pytest.fixture
def bundle(tracer: Path, tmp_path: Path) -> Bundle:
    """Takes the place of the bundle of one text."""
    return made(tmp_path / "learner", tracer)


def made(place: Path, graph: Path) -> Bundle:
    column = Column(kind="answers", values=ITEMS, skills=SKILLS)
    told = {
        "task": "mastery",
        "inputs": {"history": "answers", "item": "item", "skill": "skill"},
        "decision": {"temperature": 1.0, "growth": {"": 0.1, "angles": 0.2}},
    }
    return bundle_of_items(place, graph, column, told, place.parent / "learner-bundle")


@pytest.fixture
def loaded(bundle: Bundle) -> Runtime:
    return load(bundle.folder, threads=1)


def history(*answers) -> list[dict]:
    return [{"item": name, "correct": bool(mark)} for name, mark in answers]


def test_the_history_decides_and_a_learner_need_not_be_known(loaded: Runtime):
    new, able, poor = loaded.predict(
        [
            {"history": [], "item": "i2"},
            {"history": history(("i0", 1), ("i1", 1)), "item": "i2"},
            {"history": history(("i0", 0), ("i1", 0)), "item": "i2"},
        ]
    )
    chances = [each["probabilities"]["right"] for each in (new, able, poor)]
    assert chances[2] < chances[0] < chances[1]
    assert [each["label"] for each in (new, able, poor)] == ["wrong", "right", "wrong"]
    angles, powers = able["skills"]
    assert (angles["answers"], angles["right"], angles["mastered"]) == (2, 2, False)
    assert angles["mastery"] > powers["mastery"]
    assert able["asked"][0] == {
        "item": "i2",
        "chance": chances[1],
        "skill": "angles",
        "text": "text of i2",
    }


def test_without_an_item_the_answer_is_about_the_next_one(loaded: Runtime):
    plain, easy, skill = loaded.predict(
        [{"history": []}, {"history": [], "aim": 0.9}, {"history": [], "skill": "powers"}]
    )
    # σ(0.5) = 0.62 and σ(1.5) = 0.82: the latter is nearer to 0.75 and to 0.9.
    assert [each["item"] for each in (plain, easy, skill)] == ["i0", "i0", "i3"]
    assert plain["next"]["text"] == "text of i0"
    (low,) = loaded.predict([{"history": [], "aim": 0.6, "mastered_at": 0.5}])
    assert low["next"]["item"] == "i1"
    assert all(each["mastered"] for each in low["skills"])


def test_items_that_are_not_known_are_passed_by_and_said(loaded: Runtime):
    odd, plain, several = loaded.predict(
        [
            {"history": history(("gone", 1), ("i0", 1))},
            {"history": history(("i0", 1))},
            {"history": [], "item": ["i1", "lost"]},
        ]
    )
    assert odd["probabilities"] == plain["probabilities"]
    assert "'gone'" in odd["notes"][0]
    assert "notes" not in plain
    assert "'lost'" in several["notes"][0]
    assert several["item"] == "i1"


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"history": "i4"}, "key 'history' is the text 'i4', not a list of answers"),
        ({"history": ["i4"]}, "key 'history' holds 'i4' at place 0"),
        ({"history": [{"item": "i4", "correct": 2}]}, "key 'history' has correct = 2"),
        ({"history": [], "aim": 1}, "key 'aim' is 1"),
        ({"history": [], "item": {"id": "i5"}}, "key 'item' is"),
        ({"history": [], "k": 3}, "has the key 'k'"),
        ({"item": "i4"}, "lacks the key 'history'"),
        ("i4", "not a mapping"),
    ],
)
def test_a_row_that_cannot_be_used_is_told_by_row_and_key(loaded: Runtime, row, words):
    with pytest.raises(RequestError) as caught:
        loaded.predict([{"history": []}, row])
    assert words in caught.value.what
    assert "Row 1" in caught.value.what
    assert caught.value.fix


def test_answers_are_the_same_alone_beside_others_and_from_the_cache(bundle: Bundle):
    rows = [{"history": history(*((ITEMS[k % 6], k % 2) for k in range(n % 9)))} for n in range(40)]
    answers_alike(bundle, rows)


def test_over_http_rows_answers_and_corrections_have_the_form_that_is_said(serving: Serving):
    row = {"history": history(("i4", 1)), "item": "i5"}
    with serving() as running:
        reply = running.client.post("/v1/predict", json={"inputs": [row]}).json()
        assert reply["outputs"][0]["item"] == "i5"
        told = running.client.get("/v1/model").json()
        assert (told["target"], told["labels"]) == ("label", ["wrong", "right"])
        assert told["fields"] == [
            {"name": "history", "kind": "answers", "values": []},
            {"name": "item", "kind": "item", "values": []},
            {"name": "skill", "kind": "skill", "values": ["angles", "powers"]},
        ]
        said = {"request_id": reply["request_id"], "label": "right", "inputs": row}
        kept = running.client.post("/v1/feedback", json=said)
        assert kept.status_code == 201, kept.text
        schemas = running.client.get("/openapi.json").json()["components"]["schemas"]
        rows = schemas["PredictBody"]["properties"]["inputs"]
        assert set(rows["items"]["properties"]) == {
            "history",
            "item",
            "skill",
            "aim",
            "mastered_at",
        }
        assert rows["items"]["required"] == ["history"]
        (example,) = rows["examples"][0]
        assert running.client.post("/v1/predict", json={"inputs": [example]}).status_code == 200
        infer = "/v2/models/tickets/infer"
        (tensors,) = schemas["InferenceRequest"]["properties"]["inputs"]["examples"]
        assert running.client.post(infer, json={"inputs": tensors}).status_code == 200
        given = [json.dumps(row["history"]), ""]
        sent = [
            {"name": "history", "shape": [2], "datatype": "BYTES", "data": given},
            {"name": "item", "shape": [2], "datatype": "BYTES", "data": ["i5", ""]},
        ]
        found = running.client.post(infer, json={"inputs": sent})
        assert found.status_code == 200, found.text
        outputs = {one["name"]: one for one in found.json()["outputs"]}
        assert outputs["probabilities"]["shape"] == [2, 2]
        assert outputs["label"]["data"][0] == reply["outputs"][0]["label"]


def test_the_card_shows_a_row_that_can_be_asked(bundle: Bundle, loaded: Runtime):
    row = example_row(bundle.manifest, "a text")
    assert repr(row) in bundle.path("README.md").read_text()
    assert "notes" not in loaded.predict([row])[0]
    assert json.loads((bundle.folder / "manifest.json").read_text())["format"] == 5


@pytest.mark.skipif(BROWSER is None, reason="no chromium on this machine")
def test_the_page_shows_what_a_learner_can_and_what_to_take_next(
    browser: Browser, serving: Serving
):
    with serving() as running:
        browser.call("Page.navigate", url=f"{running.url}/?lang=zh")
        browser.until("document.readyState == 'complete' && document.title == 'tickets'")
        browser.run("document.getElementById('text-history').value = 'i0 对\\ni1 ✗'")
        browser.run("document.getElementById('send').click()")
        browser.until(f"({shown('label')} || {{}}).innerText?.includes('下一题')")
        told = browser.run("document.getElementById('skills').innerText")
        assert "2 题中答对 1 题" in told
        assert "尚未作答" in told
        widths = "[...document.querySelectorAll('#skills meter')].map((each) => each.offsetWidth)"
        assert min(browser.run(widths)) > 100, "bars are wide enough to be compared"
        assert browser.run("document.getElementById('feedback').hidden"), "no answer corrects it"
        browser.run("document.getElementById('text-skill').value = 'zz'")
        browser.run("document.getElementById('send').click()")
        browser.until(f"({shown('reason')} || {{}}).innerText?.includes('没有名为')")
