"""A bundle that finds documents: in process, over HTTP, beside its successor, and on the page."""

import random
from pathlib import Path

import httpx
import numpy as np
import pytest

from sartor.bundle import Bundle, record_verdicts, write_bundle
from sartor.core.errors import BundleError, DataError, SettingError
from sartor.core.store import Store
from sartor.listen.export import corrections
from sartor.search import indexing
from sartor.search.reindexing import reindex
from sartor.serve import oip
from sartor.serve.deployment import contract
from sartor.serve.indexed import embed
from sartor.serve.runtime import UnreleasedWarning, load, start
from sartor.tasks.retrieval.cells import CELLS, CODES
from sartor.tasks.retrieval.index import DOCUMENTS, INDEX, write_documents, write_index
from sartor.tasks.retrieval.partition import cells_of
from tests.serve.conftest import WORDS, Serving, manifest_of, write_parts
from tests.serve.test_browser import BROWSER, Browser, browser, shown
from tests.serve.test_oip import INFER

__all__ = ["browser"]

BASE = {
    "refunds": "Refunds\nYour money comes back within five days.",
    "invoices": "Invoices\nA bill is sent by mail.",
    "hours": "Opening hours\nWe open at nine.",
}
SURE = {"temperature": 1.0, "sureness": [0.0, 1.0, 0.0], "answer_from": 0.9, "shown": 10}


def written(tmp_path: Path, base: dict[str, str], vectors: np.ndarray, name: str) -> Bundle:
    """A bundle whose graph gives the mean of its words' vectors, each along one of three axes."""
    place = tmp_path / f"{name} parts"
    place.mkdir()
    parts = write_parts(place, 1.0)
    parts |= {file: place / file for file in (INDEX, DOCUMENTS)}
    parts[INDEX].write_bytes(write_index(vectors))
    parts[DOCUMENTS].write_bytes(write_documents(base))
    changed = {"task": "retrieval", "outputs": list(base), "decision": SURE}
    manifest = manifest_of().model_copy(update=changed)
    found = write_bundle(tmp_path / name, manifest, parts, "name: tickets\n")
    return record_verdicts(found, [], released=True)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """Takes the place of the bundle of labels."""
    return made(tmp_path)


def made(place: Path) -> Bundle:
    return written(place, BASE, np.eye(3, dtype=np.float32), "bundle")


def test_the_nearest_document_is_quoted_and_doubt_is_told(bundle: Bundle):
    loaded = load(bundle.folder, threads=1)
    sure, unsure = loaded.predict(["money back", "money tax"])
    assert (sure["answer"], sure["documents"][0]["text"]) == ("refunds", BASE["refunds"])
    assert next(each["id"] for each in sure["documents"]) == "refunds"
    assert len(sure["documents"]) == 3
    assert unsure["answer"] is None
    assert "less sure" in unsure["reason"]


def test_answers_are_the_same_from_a_cache(bundle: Bundle):
    cached = load(bundle.folder, threads=1, cache_mb=1)
    texts = ["money back", "bill", "money back"]
    assert cached.predict(texts) == load(bundle.folder, threads=1).predict(texts)
    assert cached.predict(texts[:1]) == cached.predict(texts[2:])


def test_a_graph_makes_the_vectors_of_documents(bundle: Bundle):
    found = embed(bundle, ["money back", "bill"], "tax ")
    np.testing.assert_allclose(found, [[2 / 3, 1 / 3, 0], [0, 1, 0]], atol=1e-6)


def test_an_index_of_other_documents_is_refused(tmp_path: Path):
    wrong = written(tmp_path, BASE, np.eye(2, 3, dtype=np.float32), "wrong")
    with pytest.raises(BundleError, match=r"index\.npy"):
        load(wrong.folder)


def test_documents_are_replaced_without_training(bundle: Bundle, tmp_path: Path):
    file = tmp_path / "next.csv"
    file.write_text("id,title,text\nhours,Opening hours,We open at nine.\ntaxes,,tax bill\n")
    found = reindex(bundle.folder, file, tmp_path / "next")
    assert (found.kept, found.new, found.gone, found.judged) == (1, 1, 2, None)
    manifest = found.bundle.manifest
    assert manifest.outputs == ["hours", "taxes"]
    assert manifest.lineage["reindexed"]["of"] == bundle.manifest.id
    assert (manifest.released, manifest.verdicts) == (False, [])
    with pytest.warns(UnreleasedWarning):
        loaded = load(tmp_path / "next", threads=1)
    (answer,) = loaded.predict(["bill"])
    assert (answer["answer"], answer["documents"][0]["text"]) == ("taxes", "tax bill")
    file.write_text("id,text\nonly,one\n")
    with pytest.raises(DataError, match="holds 1 document"):
        reindex(bundle.folder, file, tmp_path / "another")


def test_a_large_base_is_parted_into_cells_and_finds_the_same(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    draw = random.Random(0)
    texts = {" ".join(draw.choices(tuple(WORDS), k=draw.randint(1, 12))) for _ in range(900)}
    file = tmp_path / "many.csv"
    file.write_text("id,text\n" + "".join(f"d{i},{t}\n" for i, t in enumerate(sorted(texts))))
    whole = reindex(bundle.folder, file, tmp_path / "whole")
    assert whole.cells is None
    monkeypatch.setattr(indexing, "FEWEST", 500)
    monkeypatch.setattr(indexing, "parted", lambda v, a: cells_of(v.astype(np.float32), a, v))
    parted = reindex(bundle.folder, file, tmp_path / "parted")
    assert parted.cells is not None
    assert "cells and finds" in parted.sentence()
    assert {CELLS, CODES} <= set(parted.bundle.manifest.files)
    with pytest.warns(UnreleasedWarning):
        one, other = (load(tmp_path / name, threads=1) for name in ("whole", "parted"))
    for text in ("money back", "bill tax tax hello", "weather"):
        (right,), (found,) = one.predict([text]), other.predict([text])
        best = [max(each["score"] for each in a["documents"]) for a in (right, found)]
        assert best[0] == pytest.approx(best[1], rel=0.05)
        assert (right["answer"] is None) == (found["answer"] is None)
    # What was searched in part is searched as a whole where the base is small again.
    file.write_text("id,text\na,money\nb,bill\n")
    small = reindex(tmp_path / "parted", file, tmp_path / "small")
    assert CELLS not in small.bundle.manifest.files
    (tmp_path / "parted" / CODES).write_bytes(b"other")
    with pytest.raises(BundleError, match=CODES):
        load(tmp_path / "parted")


def test_users_have_no_adapters_on_documents(bundle: Bundle, tmp_path: Path):
    with pytest.raises(SettingError, match="finds documents"):
        start(bundle, adapters=tmp_path)


def test_other_documents_are_no_other_contract(bundle: Bundle, tmp_path: Path):
    more = {**BASE, "new": "A fourth."}
    other = written(tmp_path, more, np.eye(4, 3, dtype=np.float32), "other")
    assert other.manifest.id != bundle.manifest.id
    assert contract(other.manifest) == contract(bundle.manifest)
    assert contract(manifest_of()) != contract(manifest_of(labels=["a", "b"]))


def test_a_correction_names_documents_that_there_are(serving: Serving):
    with serving() as running:
        reply = running.predict("money back")
        named = {"request_id": reply["request_id"]}
        post = running.client.post
        assert post("/v1/feedback", json=named | {"labels": ["hours"]}).status_code == 422
        assert post("/v1/feedback", json=named | {"documents": ["hour"]}).status_code == 422
        assert post("/v1/feedback", json=named | {"documents": []}).status_code == 201
        good = {"documents": ["hours", "refunds"], "text": "money back"}
        assert post("/v1/feedback", json=named | good).status_code == 201
        store = running.store
    with Store.open(store) as opened:
        found = corrections(opened)
    assert found[-1]["label"] == '["hours", "refunds"]'


def test_a_tensor_of_every_document_is_sent_only_where_it_is_small(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(oip, "_MOST_ELEMENTS", 5)
    with serving() as running:

        def infer(texts: list[str], **more: object) -> httpx.Response:
            tensor = {"name": "text", "shape": [len(texts)], "datatype": "BYTES", "data": texts}
            return running.client.post(INFER, json={"inputs": [tensor], **more})

        assert infer(["money back"]).json()["outputs"][1]["shape"] == [1, 3]
        refused = infer(["money back", "bill"])
        assert refused.status_code == 413
        assert "'probabilities' of 2 rows has 6 elements" in refused.json()["error"]
        alone = infer(["money back", "bill"], outputs=[{"name": "label"}])
        assert alone.json()["outputs"][0]["data"] == ['["refunds"]', '["invoices"]']


def test_a_correction_that_names_none_of_many_documents_is_not_held_against_all(
    serving: Serving, tmp_path: Path
):
    base = {f"d{number:03}": "tax bill" for number in range(300)}
    many = written(tmp_path, base, np.tile(np.eye(3, dtype=np.float32), (100, 1)), "many")
    with serving(bundle=str(many.folder)) as running:

        def fix(document: str) -> str:
            said = {"request_id": "x", "documents": [document]}
            return running.client.post("/v1/feedback", json=said).json()["error"]["fix"]

        assert fix("d150x").startswith("did you mean 'd150'?")
        assert fix("xd000").startswith("use one of d000, d001, d002, d003 … (296 more).")


@pytest.mark.skipif(BROWSER is None, reason="no chromium on this machine")
def test_the_page_shows_documents_in_their_order(browser: Browser, serving: Serving):
    with serving() as running:
        browser.call("Page.navigate", url=f"{running.url}/?lang=zh")
        browser.until("document.readyState == 'complete' && document.title == 'tickets'")
        browser.run("document.getElementById('text').value = 'bill'")
        browser.run("document.getElementById('send').click()")
        browser.until(f"({shown('answer')} || {{}}).innerText?.includes('sent by mail')")
        said = "[...document.querySelectorAll('#documents p')].map((p) => p.textContent)"
        assert browser.run(f"{said}[0]") == BASE["invoices"]
        assert browser.run("document.getElementById('label').textContent") == "Invoices"
        browser.run("document.getElementById('wrong').click()")
        offered = "[...document.getElementById('correct').options].map((o) => o.value).sort()"
        assert browser.run(f"{offered}.join()") == ",".join(sorted(BASE))
        browser.run("document.getElementById('correct').value = 'refunds'")
        browser.run("document.getElementById('keep').click()")
        browser.run("document.getElementById('submit').click()")
        browser.until(shown("thanks") + " && true")
        store = running.store
    with Store.open(store) as opened:
        (found,) = corrections(opened)
    assert found["label"] == '["refunds"]'
