"""Rows of every form, over HTTP: what the document allows is answered, all else refused by name."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from sartor.bundle import Bundle, Preprocess, record_verdicts
from sartor.serve.deploying import deploy, promote, rollback
from tests.composed import desk
from tests.serve import (
    test_documents,
    test_in_pieces,
    test_learner,
    test_pairs,
    test_recommending,
    test_table,
)
from tests.serve.conftest import Running
from tests.serve.deployed import deployment, version
from tests.serve.test_contract import INFER, Document, check, fuzz, spoilt, url
from tests.served import serving

few = settings(fuzz, max_examples=8)


def pieces(place: Path) -> Bundle:
    place.mkdir()
    made = test_in_pieces.made(place, Preprocess(max_length=test_in_pieces.LENGTH))
    return record_verdicts(made, [], released=True)


def documents(place: Path) -> Bundle:
    place.mkdir()
    return test_documents.made(place)


FORMS: dict[str, Callable[[Path], Bundle]] = {
    "pair": test_pairs.made,
    "table": lambda place: test_table.made(place, text=False),
    "table and text": lambda place: test_table.made(place, text=True),
    "pieces": pieces,
    "documents": documents,
    "items": test_recommending.made,
    "product": desk,
}
RIGHT = {
    "pair": {"text": "money", "text_pair": "tax"},
    "table": test_table.CASE,
    "table and text": {"text": "money", **test_table.CASE},
    "pieces": {"text": "in new york"},
    "documents": {"text": "money back"},
    "items": {"history": ["i4"], "exclude": ["i5"], "k": 2},
    "answers": {"history": [{"item": "i4", "correct": True}], "item": "i5", "aim": 0.5},
    "product": {"text": "money back"},
}
LONG = "字" * 20_001
WRONG: dict[str, list[tuple[Any, str]]] = {
    "pair": [
        ({"text": "a", "text_pair": LONG}, "20,001 characters"),
        ({"text": "a", "text_pair": ["b"]}, "key 'text_pair' is list"),
        ({"text": {"text": "a"}, "text_pair": "b"}, "key 'text' is dict"),
    ],
    "table": [
        ({**test_table.CASE, "amount": "40"}, "key 'amount' is the text '40'"),
        ({**test_table.CASE, "amount": [40]}, "key 'amount' is [40], not a number"),
        ({**test_table.CASE, "since": "03/01/2026"}, "key 'since' is '03/01/2026', not a date"),
        ({**test_table.CASE, "since": 1774012112345}, "key 'since' is 1774012112345, not a date"),
        ({**test_table.CASE, "purpose": {"of": "car"}}, "key 'purpose' is dict"),
        ({**test_table.CASE, "colour": "red"}, "has the key 'colour'"),
        ({"amount": 40}, "lacks the key 'purpose'"),
    ],
    "table and text": [
        ({"text": 3, **test_table.CASE}, "key 'text' is int"),
        ({"text": LONG, **test_table.CASE}, "characters"),
        (test_table.CASE, "lacks the key 'text'"),
    ],
    "pieces": [({"text": None}, "key 'text' is NoneType"), ({"texts": ["a"]}, "did you mean")],
    "documents": [({"text": 1.5}, "key 'text' is float"), ({"text": LONG}, "characters")],
    "items": [
        ({"history": {"i4": 1}}, "not a list of ids"),
        ({"history": ["i4", None]}, "holds None at place 1"),
        ({"history": [" "]}, "an id of 0 characters"),
        ({"history": ["i" * 201]}, "an id of 201 characters"),
        ({"history": ["i4"] * 10_001}, "10,001 ids"),
        ({"history": [], "k": 101}, "key 'k' is 101"),
        ({"history": [], "k": True}, "key 'k' is True"),
        ({"history": [], "exclude": "i4"}, "key 'exclude' is the text 'i4'"),
    ],
    "answers": [
        ({"history": [["i4", "yes"]]}, "correct = 'yes' at place 0"),
        ({"history": [{"item": "i4"}]}, "has the keys item at place 0"),
        ({"history": [{"item": "i4", "correct": True, "at": 3}]}, "item, correct, at"),
        ({"history": [], "aim": 1.5}, "key 'aim' is 1.5"),
        ({"history": [], "item": {"id": "i4"}}, "key 'item' is"),
        ({"history": [], "skill": ["a"]}, "key 'skill' holds ['a']"),
    ],
    "product": [({"text": [{"role": "user"}]}, "key 'text' is list"), ({}, "lacks the key")],
}


@pytest.fixture(scope="module", params=list(RIGHT))
def form(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def bundle(
    form: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Bundle:
    """Takes the place of the bundle of one text."""
    parts = tmp_path_factory.mktemp("form") / "parts"
    if form == "answers":
        return test_learner.made(parts, request.getfixturevalue("tracer"))
    return FORMS[form](parts)


@pytest.fixture(scope="module")
def running(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    store = tmp_path_factory.mktemp("kept") / "store.db"
    with serving(bundle=str(bundle.folder), store=str(store), threads=1) as client:
        yield Running.of(client, store)


@pytest.fixture(scope="module")
def document(running: Running) -> Document:
    return Document(running.client.get("/openapi.json").json())


def test_a_row_that_the_document_allows_is_answered_and_corrected_as_it_says(
    form: str, running: Running, document: Document
):
    body = {"inputs": [RIGHT[form]]}
    assert not list(document.faults(document.request("POST", "/v1/predict"), body))
    reply = running.client.post("/v1/predict", json=body)
    check(document, "POST", "/v1/predict", reply)
    assert reply.status_code == 200, reply.text
    known = reply.json()["request_id"]

    @few
    @given(document.fitting(document.request("POST", "/v1/predict")))
    def answered(body: dict[str, Any]) -> None:
        reply = running.client.post("/v1/predict", json=body)
        check(document, "POST", "/v1/predict", reply)
        assert reply.status_code == 200, (body, reply.text)

    @few
    @given(document.fitting(document.request("POST", "/v1/feedback")))
    def corrected(body: dict[str, Any]) -> None:
        reply = running.client.post("/v1/feedback", json=body | {"request_id": known, "row": 0})
        check(document, "POST", "/v1/feedback", reply)

    answered()
    corrected()


def test_a_row_that_is_spoilt_is_refused_or_answered_and_never_stumbled_over(
    running: Running, document: Document
):
    seen = set[int]()

    def tried(path: str) -> None:
        @few
        @given(spoilt(document.fitting(document.request("POST", path))))
        def refused(body: Any) -> None:
            reply = running.client.post(url(running, path), content=json.dumps(body))
            check(document, "POST", path, reply)
            seen.add(reply.status_code)

        refused()

    tried("/v1/predict")
    tried("/v1/feedback")
    tried(INFER)
    assert seen & {400, 422}, "nothing was refused; the test would be vacuous"


def test_what_is_wrong_with_a_row_is_told_by_row_and_key(
    form: str, running: Running, document: Document
):
    for row, words in WRONG[form]:
        reply = running.client.post("/v1/predict", json={"inputs": [RIGHT[form], row]})
        check(document, "POST", "/v1/predict", reply)
        said = reply.json()["error"]
        assert reply.status_code in (413, 422), (row, said)
        assert "Row 1" in said["what"], said
        assert words in said["what"] + said["fix"], said
    flat = running.client.post("/v1/predict", json={"inputs": RIGHT[form]})
    nested = running.client.post("/v1/predict", json={"inputs": [[RIGHT[form]]]})
    large = running.client.post("/v1/predict", content=b"[" + b" " * 10_000_000)
    assert [flat.status_code, nested.status_code, large.status_code] == [422, 422, 413]


def test_a_bundle_is_tried_out_with_a_row_of_its_form_before_it_is_put_in_place(
    bundle: Bundle, tmp_path: Path
):
    place = deployment(tmp_path)
    deploy(place, version(tmp_path, 0).folder)
    deploy(place, bundle.folder, canary=10, new_contract=True)
    assert promote(place).live.id == bundle.manifest.id
    deploy(place, version(tmp_path, 1).folder, new_contract=True)
    assert rollback(place).live.id == bundle.manifest.id
