"""OpenAI's chat completions over HTTP: whole, streamed, counted, recorded and refused."""

import asyncio
import json
import threading
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa

from sartor.bundle import Bundle, Preprocess, record_verdicts, write_bundle
from sartor.core.store import Store
from sartor.core.tables import feedback
from sartor.llm.conversation import Message
from sartor.models.catalogue import find_backbone
from sartor.serve import clients
from sartor.serve.deploying import deploy
from sartor.serve.places import Places
from sartor.serve.room import Busy
from sartor.serve.sampling import Sampling
from sartor.serve.writer import Piece, Writer
from tests.serve.conftest import Running
from tests.serve.deployed import deployment, metric, until_served
from tests.served import serving
from tests.tiny import make_tiny_llama
from tests.written import NEED, bundle_of, saved

PATH = "/v1/chat/completions"


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Bundle:
    """A tiny model that writes."""
    place = tmp_path_factory.mktemp("chat")
    llama = find_backbone(str(make_tiny_llama(place / "llama", max_length=256)), kind="llm")
    saved(place / "fit", llama)
    return record_verdicts(bundle_of(place / "fit", place / "bundle"), [], released=True)


@pytest.fixture(scope="module")
def writing(written: Bundle, tmp_path_factory) -> Iterator[Running]:
    """A server of it."""
    store = tmp_path_factory.mktemp("store") / "store.db"
    told = {"bundle": str(written.folder), "store": str(store), "store_texts": True, "threads": 1}
    with serving(**told, max_wait_s=60.0) as client:
        yield Running.of(client, store)


@pytest.fixture
def endless(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Replies to "endless" have no end before the test's."""
    over, reply = threading.Event(), Writer.reply

    def held(writer: Writer, messages: Sequence[Message], sampling: Sampling) -> Iterator[Piece]:
        while messages[-1].content == "endless" and not over.wait(0.01):
            yield Piece("on and ", None, 1, 1, 0.0)
        yield from reply(writer, messages, sampling)

    monkeypatch.setattr(Writer, "reply", held)
    yield
    over.set()


def asked(*contents: str, **more: object) -> dict[str, object]:
    turns = [{"role": ("user", "assistant")[i % 2], "content": c} for i, c in enumerate(contents)]
    return {"messages": turns, **more}


def events(writing: Running, body: dict[str, object]) -> list[dict]:
    with writing.client.stream("POST", PATH, json={**body, "stream": True}) as reply:
        assert reply.status_code == 200
        assert reply.headers["content-type"].startswith("text/event-stream")
        lines = [line.removeprefix("data: ") for line in reply.iter_lines() if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def test_a_whole_reply_is_that_of_predict(writing: Running):
    found = writing.client.post(PATH, json=asked("good day")).json()
    (choice,) = found["choices"]
    answer = writing.predict("good day")["outputs"][0]
    assert choice["message"] == {"role": "assistant", "content": choice["message"]["content"]}
    assert choice["message"]["content"].strip() == answer["best"]
    assert choice["finish_reason"] == answer["finish"]
    assert found["usage"]["completion_tokens"] == answer["tokens"]
    usage = found["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert found["object"] == "chat.completion"
    assert found["model"] == "replies"


def test_a_stream_joins_to_the_whole_reply(writing: Running):
    whole = writing.client.post(PATH, json=asked("good day")).json()
    found = events(writing, asked("good day", stream_options={"include_usage": True}))
    assert found[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    text = "".join(c["delta"].get("content", "") for e in found for c in e["choices"])
    assert text == whole["choices"][0]["message"]["content"]
    *_, last, usage = found
    assert last["choices"][0]["finish_reason"] == whole["choices"][0]["finish_reason"]
    assert (usage["choices"], usage["usage"]) == ([], whole["usage"])
    assert {event["object"] for event in found} == {"chat.completion.chunk"}
    assert len({event["id"] for event in found}) == 1


def test_limits_and_draws_are_kept(writing: Running):
    body = asked("good day", "yes", "and now", max_tokens=4, temperature=1.2, seed=3)
    one, two = (writing.client.post(PATH, json=body).json() for _ in range(2))
    assert one["choices"] == two["choices"]
    assert one["usage"]["completion_tokens"] <= 4
    parts = [{"type": "text", "text": "good "}, {"type": "text", "text": "day"}]
    told = writing.client.post(PATH, json={"messages": [{"role": "user", "content": parts}]})
    assert (
        told.json()["choices"][0]["message"]
        == (writing.client.post(PATH, json=asked("good day")).json()["choices"][0]["message"])
    )


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({}, "messages"),
        ({"messages": []}, "messages"),
        (asked("a", "b"), "last message"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "role"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "text"),
        (asked("a", tools=[]), "tools"),
        (asked("a", n=2), "n"),
        (asked("a", temperature=9), "temperature"),
        (asked("a", max_tokens=0), "max_tokens"),
        (asked("a", stop=[""] * 2), "stop"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_both_forms(writing: Running, body, word):
    reply = writing.client.post(PATH, json=body)
    assert reply.status_code == 422
    error = reply.json()["error"]
    assert word in error["what"]
    assert error["fix"]
    assert error["what"] in error["message"]
    assert error["type"] == "invalid_request_error"


def test_half_a_surrogate_pair_in_a_message_is_refused_by_row_and_message(writing: Running):
    text = json.dumps([{"role": "user", "content": "good \ud83d"}])
    rows = {"inputs": [{"text": "good day"}, {"text": text}]}
    reply = writing.client.post("/v1/predict", json=rows)
    assert reply.status_code == 422
    said = "Row 1: message 0 holds half of a surrogate pair at character 5."
    assert reply.json()["error"]["what"] == said
    whole = json.dumps([{"role": "user", "content": "good 😀"}])
    assert "\\ud83d\\ude00" in whole, "both halves are escapes; the test would be vacuous"
    assert writing.predict(whole)


def test_a_conversation_that_is_too_long_is_refused(writing: Running):
    assert writing.client.post(PATH, json=asked("good " * 30_000)).status_code == 413


def test_a_reply_is_recorded_and_can_be_corrected(writing: Running):
    found = writing.client.post(PATH, json=asked("good day", user="u-1")).json()
    request = found["id"].removeprefix("chatcmpl-")
    better = {"request_id": request, "label": "Good day to you too!", "text": "good day"}
    assert writing.client.post("/v1/feedback", json=better).status_code == 201
    with Store.open(writing.store) as store, store.read() as connection:
        rows = connection.execute(sa.select(feedback.c.label)).all()
    assert rows == [("Good day to you too!",)]


def test_models_are_listed_as_clients_ask_for_them(writing: Running):
    (entry,) = writing.client.get("/v1/models").json()["data"]
    assert (entry["id"], entry["object"]) == ("replies", "model")
    told = writing.client.get("/v1/model").json()
    assert told["target"] == "text"
    document = writing.client.get("/openapi.json").json()
    assert "finish" in document["components"]["schemas"]["Answer"]["properties"]


def test_several_conversations_are_replied_to_at_once(writing: Running):
    texts = [f"good {word}" for word in ("day", "order", "refund", "taste", "money")]
    alone = [writing.client.post(PATH, json=asked(text)).json() for text in texts]
    found: dict[str, dict] = {}

    def ask(text: str) -> None:
        with httpx.Client(base_url=writing.url, timeout=30) as client:
            found[text] = client.post(PATH, json=asked(text)).json()

    threads = [threading.Thread(target=ask, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert [found[text]["choices"] for text in texts] == [each["choices"] for each in alone]


@pytest.mark.parametrize("stream", [False, True])
def test_who_finds_no_place_in_time_is_turned_away_before_a_reply_begins(
    written: Bundle, endless: None, stream: bool
):
    reading: list[Iterator[str]] = []  # one that is forgotten ends its stream

    def begun(client: httpx.Client, stack: ExitStack) -> None:
        body = asked("endless", stream=True)
        reading.append(stack.enter_context(client.stream("POST", PATH, json=body)).iter_lines())
        assert next(reading[-1]).startswith("data: ")

    told = {"bundle": str(written.folder), "threads": 1, "max_wait_s": 0.05}
    with serving(**told) as client:
        with ExitStack() as stack:
            for _ in range(2):
                begun(client, stack)
            reply = client.post(PATH, json=asked("good day", stream=stream))
            assert reply.status_code == 503
            assert reply.json()["error"]["what"] == "No reply could be begun within 0.05 s."
            assert int(reply.headers["retry-after"]) >= 1
            assert metric(client, "sartor_shed_requests_total", where="model") == 1
        for _ in range(500):
            reply = client.post(PATH, json=asked("good day", stream=stream))
            if reply.status_code == 200:
                break
        assert reply.status_code == 200, "clients that went away kept their places"


def test_a_client_that_goes_away_ends_its_whole_reply(written: Bundle, endless: None):
    told = {"bundle": str(written.folder), "threads": 1, "max_wait_s": 60.0}
    with serving(**told) as client:
        for _ in range(3):
            with (
                httpx.Client(base_url=client.base_url, timeout=0.3) as leaving,
                pytest.raises(httpx.ReadTimeout),
            ):
                leaving.post(PATH, json=asked("endless"))
        assert client.post(PATH, json=asked("good day")).status_code == 200
        counted = {"route": PATH, "status": "400"}
        while metric(client, "sartor_requests_total", **counted) < 3:
            pass
        model = {"model": written.manifest.id}
        assert metric(client, "sartor_model_requests_total", **model, end="answered") == 1
        assert metric(client, "sartor_model_requests_total", **model, end="error") == 0


def test_a_client_that_reads_no_further_gives_its_place_back(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(clients, "READ_S", 0.05)

    async def events() -> AsyncGenerator[bytes]:
        while True:
            yield b"data: {}\n\n"

    async def send(message: dict[str, object]) -> None:
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    async def receive() -> dict[str, object]:
        await asyncio.Event().wait()
        return {}

    async def story() -> None:
        held, given_back = AsyncExitStack(), []
        held.callback(given_back.append, True)
        scope = {"type": "http", "asgi": {"spec_version": "2.3"}}
        async with asyncio.timeout(20):
            await clients.Events(events(), held)(scope, receive, send)
        assert given_back

    asyncio.run(story())


def test_who_would_wait_for_too_long_is_told_at_once_when_to_come_back():
    now = 0.0

    async def story() -> None:
        nonlocal now
        places = Places(2.0, lambda: now)
        async with places.one():
            now = 10.0
        async with places.one(), places.one():
            waits = asyncio.create_task(places.one().__aenter__())
            await asyncio.sleep(0)
            with pytest.raises(Busy, match="1 conversations wait") as told:
                await places.one().__aenter__()
            assert told.value.retry_after_s == 10
            waits.cancel()
            await asyncio.wait({waits})

    asyncio.run(story())


def test_a_shadow_compares_replies_that_the_model_wrote_by_itself(written: Bundle, tmp_path: Path):
    place = deployment(tmp_path, "replies")
    deploy(place, written.folder)
    manifest = written.manifest.model_copy(update={"preprocess": Preprocess(max_length=512)})
    names = ("model.onnx", "tokenizer.json", "writer.json")
    content = {name: written.path(name) for name in names}
    other = write_bundle(tmp_path / "other", manifest, content, NEED)
    other = record_verdicts(other, [], released=True)
    with serving(deployment=str(place.folder), threads=1, max_wait_s=60.0) as client:
        running = Running.of(client, tmp_path)
        until_served(running, deploy(place, other.folder, shadow=True).number)
        events(running, asked("good day"))
        for body in (
            asked("good day"),
            asked("good day", "yes", "and now", top_p=0.5, seed=3),
            asked("good day", temperature=1.0),
            asked("good day", presence_penalty=1.0),
            asked("good day", stop="it"),
            asked("good day", max_tokens=1),
        ):
            assert client.post(PATH, json=body).status_code == 200
        pair = {"live": written.manifest.id, "shadow": other.manifest.id}

        def ended(end: str) -> float:
            return metric(client, "sartor_shadow_rows_total", end=end, **pair)

        for _ in range(1_000):
            if ended("agreed") + ended("differed") == 3:
                break
        assert [ended(end) for end in ("agreed", "differed", "dropped", "failed")] == [3, 0, 4, 0]


def test_a_bundle_that_writes_nothing_says_so(running: Running):
    reply = running.client.post(PATH, json=asked("money back"))
    assert reply.status_code == 404
    assert "/v1/predict" in reply.json()["error"]["message"]
