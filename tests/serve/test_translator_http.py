"""Translations over HTTP: asked, corrected, and no conversation."""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from sartor.bundle import record_verdicts
from sartor.core.store import Store
from sartor.core.tables import feedback
from sartor.models.catalogue import find_backbone
from tests.serve.conftest import Running
from tests.served import serving
from tests.tiny import make_tiny_seq2seq
from tests.translated import bundle_of, saved


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Iterator[Running]:
    """A server of a tiny model that translates."""
    place = tmp_path_factory.mktemp("translator")
    backbone = find_backbone(str(make_tiny_seq2seq(place / "bart")), kind="seq2seq")
    saved(place / "fit", backbone, 2)
    bundle = record_verdicts(bundle_of(place / "fit", place / "bundle"), [], released=True)
    store = place / "store.db"
    told = {"bundle": str(bundle.folder), "store": str(store), "store_texts": True, "threads": 1}
    with serving(**told) as client:
        yield Running.of(client, store)


def test_a_translation_is_answered_and_corrected(served: Running):
    rows = [{"text": "red cat"}, {"text": '[{"role": "tool"}]'}]
    found = served.client.post("/v1/predict", json={"inputs": rows}).json()
    assert [each["finish"] in ("stop", "length") for each in found["outputs"]] == [True, True]
    better = {"request_id": found["request_id"], "row": 0, "label": "红猫", "text": "red cat"}
    assert served.client.post("/v1/feedback", json=better).status_code == 201
    with Store.open(served.store) as store, store.read() as connection:
        rows = connection.execute(sa.select(feedback.c.label)).all()
    assert rows == [("红猫",)]


def test_it_is_no_chat_model_and_says_so(served: Running):
    told = served.client.get("/v1/model").json()
    assert (told["target"], told["replies"]) == ("text", False)
    body = {"messages": [{"role": "user", "content": "red cat"}]}
    refused = served.client.post("/v1/chat/completions", json=body)
    assert refused.status_code == 404
    assert "/v1/predict" in refused.json()["error"]["fix"]


def test_the_page_has_a_place_for_the_text_beside_what_was_written(served: Running):
    assert 'id="source"' in served.client.get("/").text
    assert 'show("source"' in served.client.get("/static/page.js").text
