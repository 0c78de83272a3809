import json
import threading
import time

import pytest

from sartor.core.errors import LlmDown, LlmError, SettingError
from sartor.llm import chat
from sartor.llm.chat import Chat
from tests.llm.server import Llm, completion

MESSAGES = [{"role": "user", "content": '{"text": "a good order"}'}]
SCHEMA = {"type": "object"}


def ask(llm: Llm, key: str | None = None) -> str:
    return Chat(llm.url, "tiny", key).ask(MESSAGES, SCHEMA, threading.Event())


def test_a_question_carries_model_messages_and_schema_and_brings_the_content(llm: Llm):
    assert ask(llm) == '{"label": "good"}'
    (request,) = llm.requests
    assert (request["model"], request["messages"]) == ("tiny", MESSAGES)
    assert request["temperature"] == 0
    assert request["response_format"]["json_schema"]["schema"] == SCHEMA
    assert llm.keys == [""]


def test_the_key_comes_from_the_environment_and_is_sent_as_a_bearer(llm: Llm, monkeypatch):
    monkeypatch.setenv("SOME_KEY", "secret-123")
    ask(llm, "SOME_KEY")
    assert llm.keys == ["Bearer secret-123"]


def test_a_key_that_is_missing_or_would_travel_in_the_clear_is_refused(monkeypatch):
    with pytest.raises(SettingError, match="SOME_KEY, which holds the key"):
        Chat("http://127.0.0.1:1/v1", "tiny", "SOME_KEY")
    monkeypatch.setenv("SOME_KEY", "secret-123")
    with pytest.raises(SettingError, match="unencrypted") as error:
        Chat("http://example.org/v1", "tiny", "SOME_KEY")
    assert "secret-123" not in str(error.value)
    monkeypatch.setenv("SOME_KEY", "secret\nX-Evil: 1")
    with pytest.raises(SettingError, match="can be no key"):
        Chat("https://example.org/v1", "tiny", "SOME_KEY")


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_fault_that_passes_is_tried_again(llm: Llm, status: int):
    llm.behave = lambda _, __, times: (status, {}, b"busy") if times < 3 else None
    assert ask(llm) == '{"label": "good"}'
    assert len(llm.requests) == 3


def test_a_server_may_say_how_long_to_wait_but_not_for_ever(llm: Llm, monkeypatch):
    monkeypatch.setattr(chat, "_LONGEST_WAIT_S", 0.3)
    llm.behave = lambda _, __, times: (429, {"Retry-After": "900"}, b"") if times < 2 else None
    began = time.monotonic()
    ask(llm)
    assert 0.3 <= time.monotonic() - began < 5


def test_a_fault_that_stays_ends_after_a_few_tries_and_names_the_server(llm: Llm):
    llm.behave = lambda *_: (503, {}, b"")
    with pytest.raises(LlmDown, match=r"127\.0\.0\.1:\d+ answered 503, 4 times"):
        ask(llm)
    assert len(llm.requests) == chat.TRIES


def test_a_server_that_is_not_there_is_named():
    with pytest.raises(LlmError, match=r"http://127\.0\.0\.1:9 could not be reached"):
        Chat("http://127.0.0.1:9/v1", "tiny").ask(MESSAGES, SCHEMA, _stopped())


def test_a_server_that_takes_no_schema_is_asked_without_it_from_then_on(llm: Llm):
    llm.behave = lambda r, _, __: (400, {}, b"what?") if "response_format" in r else None
    found = Chat(llm.url, "tiny")
    for _ in range(2):
        assert found.ask(MESSAGES, SCHEMA, threading.Event()) == '{"label": "good"}'
    assert ["response_format" in r for r in llm.requests] == [True, False, False]
    assert all(r["temperature"] == 0 for r in llm.requests)


@pytest.mark.parametrize("before", [0, 1])
def test_a_text_that_is_refused_changes_nothing_for_those_after_it(llm: Llm, before: int):
    llm.behave = lambda _, text, __: (400, {}, b"filtered") if text == "odd" else None
    odd = [{"role": "user", "content": '{"text": "odd"}'}]
    found = Chat(llm.url, "tiny")
    for _ in range(before):
        found.ask(MESSAGES, SCHEMA, threading.Event())
    with pytest.raises(LlmError, match="answered 400: filtered") as error:
        found.ask(odd, SCHEMA, threading.Event())
    assert not isinstance(error.value, LlmDown)
    found.ask(MESSAGES, SCHEMA, threading.Event())
    assert "response_format" in llm.requests[-1]
    assert llm.requests[-1]["temperature"] == 0


def test_a_text_that_is_answered_without_a_schema_alone_changes_nothing_either(llm: Llm):
    llm.behave = lambda r, text, _: (
        (400, {}, b"no") if text == "odd" and "response_format" in r else None
    )
    found = Chat(llm.url, "tiny")
    for text in ("a good order", "odd", "a good order"):
        asked = [{"role": "user", "content": json.dumps({"text": text})}]
        assert found.ask(asked, SCHEMA, threading.Event())
    assert ["response_format" in r for r in llm.requests] == [True, True, False, True]


def test_a_request_that_is_refused_for_good_shows_what_the_server_says_without_the_key(
    llm: Llm, monkeypatch
):
    monkeypatch.setenv("SOME_KEY", "secret-123")
    llm.behave = lambda *_: (404, {}, b"no such model\n\x1b[31m for secret-123")
    with pytest.raises(LlmError, match="answered 404: no such model") as error:
        ask(llm, "SOME_KEY")
    assert "secret-123" not in str(error.value)
    assert "\x1b" not in str(error.value)
    llm.behave = lambda *_: (401, {}, b"secret-123")
    with pytest.raises(LlmError, match="does not take the key") as error:
        ask(llm, "SOME_KEY")
    assert "secret-123" not in str(error.value)


def test_a_redirect_is_not_followed(llm: Llm):
    llm.behave = lambda *_: (302, {"Location": llm.url + "/elsewhere"}, b"")
    with pytest.raises(LlmError, match="redirects are not followed"):
        ask(llm)
    assert len(llm.requests) == 1


def test_an_answer_that_is_too_large_is_not_read_to_its_end(llm: Llm):
    llm.behave = lambda *_: completion("x" * 5_000_000)
    with pytest.raises(LlmError, match="more than 1,000,000 bytes"):
        ask(llm)


def test_a_server_that_says_nothing_is_given_up(llm: Llm, monkeypatch):
    monkeypatch.setattr(chat, "TIMEOUT_S", 0.2)
    monkeypatch.setattr(chat, "TRIES", 2)

    def slow(*_: object) -> None:
        time.sleep(1)

    llm.behave = slow
    with pytest.raises(LlmError, match=r"could not be reached \(TimeoutError"):
        ask(llm)
    assert len(llm.requests) == 2


@pytest.mark.parametrize(
    "body", [b"<html>", b"[]", b'{"choices": []}', b'{"choices": [{"message": 1}]}', b"[" * 90_000]
)
def test_what_is_no_chat_completion_is_told_apart_from_a_bad_answer(llm: Llm, body: bytes):
    llm.behave = lambda *_: (200, {}, body)
    with pytest.raises(LlmError, match="is no chat completion"):
        ask(llm)


@pytest.mark.parametrize("content", [None, ["parts"], 7])
def test_a_completion_without_text_is_an_empty_answer(llm: Llm, content: object):
    llm.behave = lambda *_: completion(content)
    assert ask(llm) == ""


def test_what_is_sent_is_plain_ascii_json(llm: Llm):
    odd = [{"role": "user", "content": json.dumps({"text": "太好了 \ud800"}, ensure_ascii=False)}]
    Chat(llm.url, "tiny").ask(odd, SCHEMA, threading.Event())
    assert llm.requests[0]["messages"] == odd


def _stopped() -> threading.Event:
    stop = threading.Event()
    stop.set()
    return stop
