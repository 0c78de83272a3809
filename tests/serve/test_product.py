"""A product of two bundles: in process, over HTTP, and on its page."""

import json
from pathlib import Path

import pytest

from sartor.bundle import Bundle, open_bundle
from sartor.core.errors import BundleError, RequestError
from sartor.core.store import Store
from sartor.listen.export import corrections
from sartor.listen.feedback import summary
from sartor.serve.runtime import Runtime, load
from tests.composed import BASE, OUTCOMES, PARTS, answers, desk, intent, product
from tests.serve.conftest import LABELS, Serving
from tests.serve.test_browser import BROWSER, Browser, browser, shown

__all__ = ["browser"]

TEXTS = ["money back", "bill tax", "hello weather", "money", "nothing known"]


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """Takes the place of the bundle of labels."""
    return desk(tmp_path)


def said(*turns: str) -> str:
    """A conversation of a user, answered with "Go on." each time."""
    messages = [{"role": "user", "content": turns[0]}]
    for turn in turns[1:]:
        messages += [
            {"role": "assistant", "content": "Go on."},
            {"role": "user", "content": turn},
        ]
    return json.dumps(messages)


def test_a_row_goes_from_part_to_part_and_its_way_is_told(bundle: Bundle):
    money, bill, hello = load(bundle.folder, threads=1).predict(TEXTS[:3])
    assert (money["outcome"], money["say"]) == ("refunds", BASE["refunds"])
    assert [step["part"] for step in money["path"]] == ["intent", "answers"]
    assert [step["best"] for step in money["path"]] == ["refund", "refunds"]
    whole = money["path"][0]["confidence"] * money["path"][1]["confidence"]
    assert money["confidence"] == pytest.approx(whole, rel=1e-4)
    assert (bill["outcome"], bill["say"], len(bill["path"])) == ("invoice", "invoice", 1)
    assert (hello["outcome"], hello["reason"]) == ("hand_off", "nothing we sell")
    assert "say" not in hello
    json.dumps([money, bill, hello], allow_nan=False)


@pytest.mark.parametrize("floor", [0.0, 0.9])
def test_a_product_of_one_part_answers_exactly_as_the_part(tmp_path: Path, floor: float):
    alone = intent(tmp_path / "one", abstain_below=floor)
    made = product(tmp_path / "bundle", {"intent": alone}, outcomes=list(LABELS))
    rows = [*TEXTS, "money bill", "money money bill"]
    expected = load(alone.folder, threads=1).predict(rows)
    found = load(made.folder, threads=1).predict(rows)
    assert [each["path"][0]["answer"] for each in found] == expected
    kept = [None if each["outcome"] == "hand_off" else each["outcome"] for each in found]
    assert kept == [each["label"] for each in expected]
    assert (None in kept) is bool(floor)
    assert all(
        f["reason"] == e["reason"] for f, e in zip(found, expected, strict=True) if "reason" in e
    )


def test_each_part_is_asked_once_about_the_rows_that_reach_it(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
):
    loaded = load(bundle.folder, threads=1)
    one_by_one = [loaded.predict([text])[0] for text in TEXTS]
    asked: list[tuple[str, int]] = []
    plain = Runtime.answer

    def counting(self: Runtime, texts, whose=()):
        asked.append((self.name, len(texts)))
        return plain(self, texts, whose)

    monkeypatch.setattr(Runtime, "answer", counting)
    assert loaded.predict(TEXTS) == one_by_one
    reached = sum(len(each["path"]) == 2 for each in one_by_one)
    assert asked == [("tickets", 5), ("intent", 5), ("answers", reached)]
    assert loaded.predict([]) == []


def test_a_part_reads_the_last_message_or_all_that_the_user_said(bundle: Bundle):
    loaded = load(bundle.folder, threads=1)
    (alone,) = loaded.predict(["money"])
    (after,) = loaded.predict([said("hello hello weather", "money")])
    assert after["path"][0] == alone["path"][0], "the first part reads the last message"
    assert alone["outcome"] == "refunds"
    assert after["outcome"] == "hours", "the second reads both"
    with pytest.raises(RequestError, match="the turns are assistant"):
        loaded.predict(['[{"role": "assistant", "content": "Hello"}]'])


def test_below_a_confidence_a_person_answers(tmp_path: Path):
    made = desk(tmp_path, below=0.8)
    sure, unsure = load(made.folder, threads=1).predict(["money back", "bill money bill"])
    assert sure["outcome"] == "hand_off" or sure["confidence"] >= 0.8
    assert unsure["confidence"] < 0.8
    assert (unsure["outcome"], unsure["best"]) == ("hand_off", "invoice")
    assert "less sure than the chosen threshold" in unsure["reason"]


def test_a_case_may_ask_for_confidence_and_speak_for_itself(tmp_path: Path):
    cases = (
        {"when": ["refund"], "below": 0.9, "hand_off": "not sure that it is a refund"},
        {"when": ["refund"], "say": "Your money is on its way."},
        {"hand_off": "anything else"},
    )
    one = intent(tmp_path / "one")
    made = product(tmp_path / "bundle", {"intent": one}, {"intent": {"then": cases}}, ["refund"])
    found = load(made.folder, threads=1).predict(["money", "money bill money", "bill"])
    assert (found[0]["outcome"], found[0]["say"]) == ("refund", "Your money is on its way.")
    assert [each.get("reason") for each in found] == [
        None,
        "not sure that it is a refund",
        "anything else",
    ]


def test_a_part_may_read_what_another_answered(tmp_path: Path):
    parts = {"first": {"then": ({"go": "second"},)}, "second": {"reads": "first"}}
    two = {"first": answers(tmp_path / "one"), "second": intent(tmp_path / "two")}
    made = product(tmp_path / "bundle", two, parts, list(LABELS))
    # The document on refunds says "money" and "back" among words that the second does not know.
    (found,) = load(made.folder, threads=1).predict(["money"])
    assert found["path"][0]["best"] == "refunds"
    (plain,) = load(two["second"].folder, threads=1).predict([BASE["refunds"]])
    assert found["path"][1]["answer"] == plain


def test_a_part_on_which_nothing_hangs_does_not_lower_the_confidence(tmp_path: Path):
    alone = intent(tmp_path / "one")
    two = {"intent": alone, "more": answers(tmp_path / "two")}
    parts = {"intent": {"then": ({"go": "more"},)}, "more": {"then": ({"answer": "intent"},)}}
    made = product(tmp_path / "bundle", two, parts, list(LABELS))
    (found,) = load(made.folder, threads=1).predict(["money bill money"])
    first, second = found["path"]
    assert second["confidence"] < 1
    assert (found["outcome"], found["confidence"]) == ("refund", first["confidence"])


def test_one_bundle_in_two_parts_is_loaded_once(tmp_path: Path):
    one = intent(tmp_path / "one")
    parts = {"first": {"then": ({"when": ["refund"], "go": "again"}, {"answer": "first"})}}
    made = product(tmp_path / "bundle", {"first": one, "again": one}, parts, list(LABELS))
    loaded = load(made.folder, threads=1).product
    assert loaded is not None
    assert loaded.runtimes["first"] is loaded.runtimes["again"]


def test_answers_are_the_same_from_a_cache(bundle: Bundle):
    cached = load(bundle.folder, threads=1, cache_mb=1)
    expected = load(bundle.folder, threads=1).predict(TEXTS)
    assert cached.predict(TEXTS) == expected
    assert cached.predict(TEXTS) == expected


def test_a_decision_that_does_not_describe_the_parts_is_refused(bundle: Bundle, tmp_path: Path):
    other = product(
        tmp_path / "other",
        {"intent": bundle.part("intent"), "answers": bundle.part("answers")},
        {**PARTS, "answers": {"reads": "nobody"}},
    )
    with pytest.raises(BundleError, match="reads 'nobody'"):
        load(other.folder)
    place = bundle.folder / "parts" / "intent" / "model.onnx"
    place.write_bytes(place.read_bytes()[:-1] + b"\0")
    with pytest.raises(BundleError, match=r"intent/model\.onnx"):
        load(bundle.folder)


def test_http_answers_as_the_process_does_and_takes_what_is_right(bundle: Bundle, serving: Serving):
    expected = load(bundle.folder, threads=1).predict(TEXTS)
    with serving() as running:
        reply = running.predict(*TEXTS)
        assert reply["outputs"] == json.loads(json.dumps(expected))
        model = running.client.get("/v1/model").json()
        assert (model["target"], model["labels"]) == ("outcome", [*OUTCOMES, "hand_off"])
        named = {"request_id": reply["request_id"]}
        post = running.client.post
        assert post("/v1/feedback", json=named | {"label": "invoice"}).status_code == 422
        assert post("/v1/feedback", json=named | {"outcome": "invoise"}).status_code == 422
        good = {"outcome": "hours", "text": "money back"}
        assert post("/v1/feedback", json=named | good).status_code == 201
        person = {"row": 1, "outcome": "hand_off", "text": "bill tax"}
        assert post("/v1/feedback", json=named | person).status_code == 201
        document = running.client.get("/openapi.json").json()
        assert "outcome" in document["components"]["schemas"]["FeedbackBody"]["properties"]
        asked = {"name": "text", "shape": [2], "datatype": "BYTES", "data": TEXTS[1:3]}
        infer = post("/v2/models/tickets/infer", json={"inputs": [asked]}).json()
        labels, sure = infer["outputs"]
        assert labels["data"] == ["invoice", ""]
        assert sure["name"] == "confidence"
        store = running.store
    with Store.open(store) as opened:
        found, told = corrections(opened), summary(opened)
    assert [each["label"] for each in found] == ["hours", "hand_off"]
    assert set(told.confused) == {("refunds", "hours", 1), ("invoice", "hand_off", 1)}
    assert told.new_labels == ()


def test_it_travels_and_arrives_as_it_was(bundle: Bundle, tmp_path: Path):
    from sartor.ship.parcel import Parcel
    from sartor.ship.transfer import pull, push

    push(bundle.folder, str(tmp_path / "share"))
    arrived = pull(str(tmp_path / "share"), tmp_path / "pulled")
    assert arrived.manifest == bundle.manifest
    Parcel.of(bundle).put_bundle(tmp_path / "shipped")
    assert load(tmp_path / "shipped", threads=1).predict(TEXTS) == load(
        bundle.folder, threads=1
    ).predict(TEXTS)
    Parcel.of(bundle).put_bundle_archive(tmp_path / "bundle.zip")
    import zipfile

    with zipfile.ZipFile(tmp_path / "bundle.zip") as archive:
        archive.extractall(tmp_path / "unpacked")
    assert open_bundle(tmp_path / "unpacked").manifest == bundle.manifest


@pytest.mark.skipif(BROWSER is None, reason="no chromium on this machine")
def test_the_page_shows_the_conversation_and_why_a_person_answers(
    browser: Browser, serving: Serving
):
    def ask(text: str) -> None:
        browser.run(f"document.getElementById('text').value = {json.dumps(text)}")
        browser.run("document.getElementById('send').click()")

    turns = "[...document.querySelectorAll('#turns li')].map((li) => li.textContent)"
    with serving() as running:
        browser.call("Page.navigate", url=f"{running.url}/?lang=en")
        browser.until("document.readyState == 'complete' && document.title == 'tickets'")
        ask("money back")
        browser.until(f"({shown('answer')} || {{}}).innerText?.includes('five days')")
        assert "refund" in browser.run("document.getElementById('understood').innerText")
        ask("hello weather")
        browser.until(f"{turns}.length == 4")
        assert browser.run(f"{turns}[3]") == "Handed to a person: nothing we sell"
        assert browser.run("document.getElementById('label').textContent") == "Handed to a person"
        browser.run("document.getElementById('wrong').click()")
        offered = "[...document.getElementById('correct').options].map((o) => o.value)"
        assert set(browser.run(offered)) == {*OUTCOMES, "hand_off"}
        browser.run("document.getElementById('correct').value = 'hours'")
        browser.run("document.getElementById('submit').click()")
        browser.until("!document.getElementById('thanks').hidden")
        browser.run("document.getElementById('anew').click()")
        assert browser.run("document.getElementById('turns').hidden")
        store = running.store
    with Store.open(store) as opened:
        assert [each["label"] for each in corrections(opened)] == []
