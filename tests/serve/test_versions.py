"""Versions side by side on a real server: swapped under load, weighed by a canary and a shadow."""

import asyncio
import gc
import os
import threading
import time
import weakref
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa
from scipy.stats import binom

import sartor
from sartor.bundle import Bundle
from sartor.core.errors import BundleError, SettingError
from sartor.core.store import Store
from sartor.core.tables import feedback, predictions
from sartor.serve import following
from sartor.serve.deploying import deploy, promote, rollback, withdraw
from sartor.serve.deployment import Deployment, Step
from sartor.serve.figures import Figures
from sartor.serve.records import Recorder
from sartor.serve.reports import settled
from sartor.serve.run import prepare
from sartor.serve.runtime import Runtime, load
from sartor.serve.settings import ServeSettings
from sartor.serve.shadow import Shadow
from sartor.serve.status import status
from sartor.serve.versions import Lineup, Versions, falls_under
from sartor.tasks import Brief
from tests.serve.conftest import Running, Serving
from tests.serve.deployed import deployment, metric, until_served, version

TEXTS = ["money back", "tax", "hello money", "weather"]


@pytest.fixture(autouse=True)
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers look for changes often, so that a test need not wait."""
    monkeypatch.setattr(following, "_LOOK_S", 0.01)


@pytest.fixture
def three(tmp_path: Path) -> list[Bundle]:
    return [version(tmp_path, number) for number in range(3)]


@pytest.fixture
def place(tmp_path: Path, three: list[Bundle]) -> Deployment:
    """A deployment whose first version is live."""
    found = deployment(tmp_path)
    deploy(found, three[0].folder)
    return found


@dataclass
class Load:
    """What clients that ask without a pause were told."""

    replies: list[httpx.Response] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def ask(self, url: str, user: str) -> None:
        with httpx.Client(base_url=url, timeout=30) as client:
            while not self.stop.is_set():
                body = {"inputs": [{"text": text} for text in TEXTS], "user": user}
                self.replies.append(client.post("/v1/predict", json=body))


@contextmanager
def load_on(running: Running, clients: int) -> Iterator[Load]:
    load = Load()
    with ThreadPoolExecutor(clients) as pool:
        asking = [pool.submit(load.ask, running.url, f"u-{n}") for n in range(clients)]
        try:
            yield load
        finally:
            load.stop.set()
        for one in asking:
            one.result()


def in_memory(folder: Path) -> list[str]:
    """The bundles of a folder that are loaded, once those that left have finished."""
    ids: list[str] = []
    for _ in range(500):
        gc.collect()
        ids = _loaded(folder)
        if len(ids) == 1:
            break
        time.sleep(0.01)
    return ids


def _loaded(folder: Path) -> list[str]:
    # By itself: a model that is still referred to here would never be let go.
    every = [one for one in gc.get_objects() if type(one) is Runtime]
    return [one.id for one in every if one.bundle.folder.parent == folder]


def test_twenty_swaps_and_five_rollbacks_under_load_fail_no_request(
    serving: Serving, place: Deployment, three: list[Bundle]
):
    expected = {one.manifest.id: sartor.load(one.folder).predict(TEXTS) for one in three}
    assert len({str(answers) for answers in expected.values()}) == 3, "all answer alike"
    with serving(deployment=str(place.folder)) as running, load_on(running, 4) as load:
        for number in range(1, 21):
            change = deploy(place, three[number % 3].folder)
            assert until_served(running, change.number)["model"] == change.live.id
        for _ in range(5):
            change = rollback(place)
            assert until_served(running, change.number)["model"] == change.live.id
        assert in_memory(three[0].folder.parent) == [change.live.id]
    assert {reply.status_code for reply in load.replies} == {200}
    answered = [reply.json() for reply in load.replies]
    assert {reply["model"] for reply in answered} == set(expected)
    for reply in answered:
        assert reply["outputs"] == expected[reply["model"]]


def test_a_version_that_leaves_answers_what_it_holds_and_is_let_go(three: list[Bundle]):
    async def story() -> None:
        versions = Versions(old := load(three[0].folder), Figures(), 2.0)
        gone = weakref.ref(old)
        first_id = old.id
        del old
        with versions.leased("u") as version:
            await version.batcher.submit(["tax"])
            new = versions.version(load(three[1].folder))
            assert new.batcher.rate == version.batcher.rate > 0, "it would shed on its first batch"
            versions.take(Lineup(1, new))
            await asyncio.sleep(0.05)
            answers = await version.batcher.submit(["money"])
            assert answers[0]["label"] == "refund"
            assert version.id == first_id
        del version
        await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})
        del new
        gc.collect()
        assert gone() is None
        with versions.leased("u") as version:
            assert version.id == three[1].manifest.id
        await versions.close()

    asyncio.run(story())


def test_a_canary_answers_its_share_of_the_users_and_each_user_stays(
    serving: Serving, place: Deployment, three: list[Bundle]
):
    users = [f"user {number}" for number in range(100)]
    with serving(deployment=str(place.folder)) as running:
        change = deploy(place, three[1].folder, canary=20)
        found = until_served(running, change.number)
        shares = {one["role"]: one["share"] for one in found["versions"]}
        assert shares == {"live": 80, "canary": 20}
        rounds = [[running.predict("money", user=user)["model"] for user in users] for _ in "ab"]
        assert rounds[0] == rounds[1]
        low, high = binom.interval(0.9999, len(users), 0.2)
        assert low <= rounds[0].count(three[1].manifest.id) <= high
        nobodys = Counter(running.predict("money")["model"] for _ in range(60))
        assert set(nobodys) == {three[0].manifest.id, three[1].manifest.id}
        change = deploy(place, three[1].folder, canary=60)
        until_served(running, change.number)
        wider = [running.predict("money", user=user)["model"] for user in users]
        stayed = [b for a, b in zip(rounds[0], wider, strict=True) if a == three[1].manifest.id]
        assert set(stayed) == {three[1].manifest.id}, "a growing share sent a user back"
        assert wider.count(three[1].manifest.id) > len(stayed)
        asked = metric(
            running.client,
            "sartor_model_requests_total",
            model=three[1].manifest.id,
            end="answered",
        )
        assert asked == sum(
            models.count(three[1].manifest.id) for models in (*rounds, wider)
        ) + nobodys.get(three[1].manifest.id, 0)
        change = promote(place)
        assert until_served(running, change.number)["model"] == three[1].manifest.id
        assert {running.predict("money", user=user)["model"] for user in users} == {
            three[1].manifest.id
        }


@pytest.mark.parametrize("share", [1.0, 10.0, 50.0, 99.0])
def test_the_share_of_users_is_binomial_and_another_canary_gets_others(share: float):
    users = [str(number) for number in range(20_000)]
    chosen = {user for user in users if falls_under(share, "a" * 64, user)}
    low, high = binom.interval(1 - 1e-6, len(users), share / 100)
    assert low <= len(chosen) <= high
    again = {user for user in users if falls_under(share, "b" * 64, user)}
    low, high = binom.interval(1 - 1e-6, len(chosen), share / 100)
    assert low <= len(chosen & again) <= high


def test_a_shadow_is_compared_and_never_answers(
    serving: Serving, place: Deployment, tmp_path: Path, three: list[Bundle]
):
    turned = version(tmp_path, 7, turned=True)
    with serving(deployment=str(place.folder)) as running:
        before = running.predict(*TEXTS)["outputs"]
        change = deploy(place, turned.folder, shadow=True)
        roles = [one["role"] for one in until_served(running, change.number)["versions"]]
        assert roles == ["live", "shadow"]
        for _ in range(25):
            reply = running.predict(*TEXTS)
            assert (reply["outputs"], reply["model"]) == (before, three[0].manifest.id)
        pair = {"live": three[0].manifest.id, "shadow": turned.manifest.id}
        ends = compared(running, pair)
        # Of the four texts it calls a refund an invoice and an invoice a refund; "hello money" is
        # a tie of a refund and another, which the first label wins.
        assert ends["failed"] == 0
        assert ends["agreed"] + ends["differed"] + ends["dropped"] == 100
        wrong = sum(
            a["label"] != b["label"]
            for a, b in zip(before, sartor.load(turned.folder).predict(TEXTS), strict=True)
        )
        assert wrong in (2, 3)
        assert ends["differed"] * (4 - wrong) == ends["agreed"] * wrong
        assert settled(place.reports, change.number, 30)
        with Store.open(running.store) as store, store.read() as connection:
            kept = set(connection.scalars(sa.select(predictions.c.bundle)))
        assert kept <= {three[0].manifest.id}
        change = promote(place)
        assert until_served(running, change.number)["model"] == turned.manifest.id
        assert running.predict("money")["outputs"][0]["label"] == "invoice"
    (model,) = [one for one in status(place).models if one.role == "live"]
    assert model.counts.requests == 1, "the answers of a shadow are no requests"


def compared(running: Running, pair: dict[str, str]) -> dict[str, float]:
    """The counts once the shadow has seen all 100 rows."""
    names = ("agreed", "differed", "dropped", "failed")
    for _ in range(1_000):
        ends = {n: metric(running.client, "sartor_shadow_rows_total", end=n, **pair) for n in names}
        if sum(ends.values()) == 100:
            break
    return ends


class Slow:
    """Stands in for a runtime that is far too slow, or broken."""

    id = "5" * 64
    target = "label"

    def __init__(self, broken: bool = False) -> None:
        self.go, self.broken = threading.Event(), broken
        self.priority = 0

    def answer(self, texts: list[str]) -> list[dict[str, str]]:
        assert self.go.wait(20)
        self.priority = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
        if self.broken:
            raise ValueError("no answer")
        return [{"label": text} for text in texts]

    def brief(self, answer: dict[str, str]) -> Brief:
        return Brief(answer["label"], answer["label"], 1.0)


@pytest.mark.parametrize("broken", [False, True])
def test_a_shadow_without_time_drops_copies_and_one_without_answers_fails_alone(
    broken: bool, caplog: pytest.LogCaptureFixture
):
    async def story() -> None:
        slow, figures = Slow(broken), Figures()
        shadow = Shadow(slow, figures)  # type: ignore[arg-type]
        for _ in range(1_000):
            await shadow.offer("live", ["a", "b"], ["a", "x"])
            await asyncio.sleep(0)
        found = figures.against("live", slow.id)
        kept = 2_000 - found.dropped
        assert 2 * 256 <= kept <= 2 * 258
        slow.go.set()
        while found.agreed + found.failed < kept / (1 if broken else 2):
            await asyncio.sleep(0.001)
        assert (found.agreed, found.differed) == ((0, 0) if broken else (kept / 2, kept / 2))
        assert found.failed == (kept if broken else 0)
        await shadow.offer("live", ["x" * 1_000_001], ["a"])
        assert found.dropped == 2_000 - kept + 1, "one copy could fill the memory"
        assert slow.priority == 19
        await shadow.close()

    asyncio.run(story())
    assert ("no answer" in caplog.text) == broken


def test_a_shadow_whose_answers_are_of_another_form_differs_and_goes_on(
    serving: Serving, place: Deployment, tmp_path: Path
):
    number = version(tmp_path, 8, task="text_regression")
    with serving(deployment=str(place.folder)) as running:
        change = deploy(place, number.folder, shadow=True, new_contract=True)
        live = until_served(running, change.number)["model"]
        pair = {"live": live, "shadow": number.manifest.id}
        for _ in range(25):
            running.predict(*TEXTS)
        ends = compared(running, pair)
        assert ends["differed"] + ends["dropped"] == 100
        assert ends["differed"] > 4, "it never ran again"
        last = running.predict("money")["request_id"]
    with Store.open(running.store) as store, store.read() as connection:
        assert last in set(connection.scalars(sa.select(predictions.c.request_id)))


def test_what_breaks_while_a_server_ends_keeps_no_answer_from_being_written(
    serving: Serving, place: Deployment, monkeypatch: pytest.MonkeyPatch
):
    close = Versions.close

    async def broken(versions: Versions) -> None:
        await close(versions)
        raise ValueError("what nobody foresaw")

    monkeypatch.setattr(Versions, "close", broken)
    taken = threading.Event()
    commit = Recorder._commit

    def late(recorder: Recorder, items: object) -> None:
        taken.wait(20)  # so that what was answered waits when the server ends
        commit(recorder, items)

    monkeypatch.setattr(Recorder, "_commit", late)
    with serving(deployment=str(place.folder)) as running:
        last = running.predict("money")["request_id"]
        threading.Timer(0.5, taken.set).start()
    with Store.open(running.store) as store, store.read() as connection:
        assert last in set(connection.scalars(sa.select(predictions.c.request_id)))


class Odd(Slow):
    """Answers with what cannot be compared."""

    def brief(self, answer: dict[str, str]) -> Brief:
        raise KeyError("label")


def test_a_shadow_that_cannot_be_compared_fails_alone_and_closes(caplog: pytest.LogCaptureFixture):
    async def story() -> None:
        odd, figures = Odd(), Figures()
        odd.go.set()
        shadow = Shadow(odd, figures)  # type: ignore[arg-type]
        for count in (1, 2):
            await shadow.offer("live", ["a"], ["a"])
            while figures.against("live", odd.id).failed < count:
                await asyncio.sleep(0.001)
        await shadow.close()

    asyncio.run(asyncio.wait_for(story(), 20))
    assert "KeyError" in caplog.text


def spoil(bundle: Bundle) -> None:
    place = bundle.folder / "model.onnx"
    content = bytearray(place.read_bytes())
    content[-1] ^= 1
    place.write_bytes(content)


def test_a_bundle_that_breaks_after_it_was_deployed_replaces_nothing(
    serving: Serving, place: Deployment, three: list[Bundle]
):
    with serving(deployment=str(place.folder)) as running:
        placed = place.place(three[1].folder, three[1].manifest, unreleased=False)
        spoil(three[1])
        change = place.change(lambda before: Step("deploy", placed))
        found = until_served(running, change.number)
        told = {"name": "tickets", "change": 1, "wanted": 2, "state": "failed"}
        assert found["deployment"] == told
        assert found["model"] == three[0].manifest.id
        assert running.predict("money")["model"] == three[0].manifest.id
        (report,) = settled(place.reports, change.number, 30)
        assert "model.onnx differs from what was judged" in report.problem
        (behind,) = status(place).behind
        assert behind.state == "failed"
        change = deploy(place, three[2].folder)
        assert until_served(running, change.number)["model"] == three[2].manifest.id
        (report,) = settled(place.reports, change.number, 30)
        assert (report.state, report.problem) == ("current", "")


def test_a_change_is_taken_as_a_whole_or_not_at_all(
    serving: Serving, place: Deployment, three: list[Bundle]
):
    with serving(deployment=str(place.folder)) as running:
        live, canary = (place.place(b.folder, b.manifest, unreleased=False) for b in three[1:])
        spoil(three[2])
        change = place.change(lambda before: Step("canary", live, (), canary, 50.0))
        found = until_served(running, change.number)
        assert found["deployment"]["state"] == "failed"
        assert [one["model"] for one in found["versions"]] == [three[0].manifest.id]


def test_a_folder_that_holds_another_bundle_by_now_is_not_served(
    serving: Serving, place: Deployment, three: list[Bundle]
):
    with serving(deployment=str(place.folder)) as running:
        placed = place.place(three[1].folder, three[2].manifest, unreleased=False)
        change = place.change(lambda before: Step("deploy", placed))
        assert until_served(running, change.number)["deployment"]["state"] == "failed"
        (report,) = settled(place.reports, change.number, 30)
        assert "holds the bundle" in report.problem


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({}, "Nothing to serve"),
        ({"bundle": "x", "max_wait_s": -1.0}, "max_wait_s must be at least 0"),
        ({"bundle": "x", "max_wait_s": float("nan")}, "max_wait_s must be at least 0"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict, what: str):
    with pytest.raises(SettingError, match=what):
        ServeSettings(**settings)


def test_a_server_does_not_start_on_a_damaged_live_bundle(place: Deployment, three: list[Bundle]):
    deploy(place, three[1].folder)
    spoil(three[1])
    with pytest.raises(
        BundleError, match=r"(?s)differs from what was judged.*sartor rollback tickets"
    ):
        prepare(ServeSettings(deployment=str(place.folder), port=0))


def test_a_damaged_history_leaves_the_server_answering(serving: Serving, place: Deployment):
    with serving(deployment=str(place.folder)) as running:
        until_served(running, 1)
        with (place.folder / "history.jsonl").open("ab") as file:
            file.write(b'{"number": 2}\n')
        for _ in range(1_000):
            if running.client.get("/v1/model").json()["deployment"]["state"] == "failed":
                break
        else:
            raise AssertionError("the damage was never noticed")
        assert running.predict("money")["outputs"][0]["label"] == "refund"


def test_answers_and_feedback_are_kept_under_the_model_that_gave_the_answer(
    serving: Serving, place: Deployment, tmp_path: Path
):
    other = version(tmp_path, 9, labels=("refund", "bill", "other"))
    with serving(deployment=str(place.folder)) as running:
        first = running.predict("money", "tax")
        change = deploy(place, other.folder, new_contract=True)
        assert until_served(running, change.number)["labels"] == ["refund", "bill", "other"]
        second = running.predict("tax")
        for asked, label in ((first, "invoice"), (second, "bill")):
            said = {"request_id": asked["request_id"], "label": label}
            assert running.client.post("/v1/feedback", json=said).status_code == 201
    with Store.open(running.store) as store, store.read() as connection:
        joined = sa.select(predictions.c.bundle, feedback.c.label).join_from(feedback, predictions)
        kept = {tuple(row) for row in connection.execute(joined)}
    assert kept == {(first["model"], "invoice"), (second["model"], "bill")}
    assert first["model"] != second["model"]


def test_the_counts_of_ended_servers_stay_and_a_restart_begins_where_the_deployment_is(
    serving: Serving, place: Deployment, three: list[Bundle]
):
    deploy(place, three[1].folder)
    deploy(place, three[2].folder, canary=50)
    withdraw(place)
    for _ in range(2):
        with serving(deployment=str(place.folder)) as running:
            until_served(running, 4)
            assert running.predict("money")["model"] == three[1].manifest.id
            assert running.client.post("/v1/predict", json={"inputs": [{}]}).status_code == 422
    found = status(place)
    assert [one.role for one in found.models] == ["live", "previous"]
    counts = found.models[0].counts
    assert (counts.requests, counts.errors) == (2, 0)
    assert counts.percentile_ms(0.95) > 0
    assert found.servers == ()
