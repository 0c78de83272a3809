"""The head of a request is bounded in size and time, and pieces of any size are put together."""

import json
import re
import socket
import time
from contextlib import closing

import pytest

from sartor.serve import heads
from tests.serve.conftest import Running, Serving

ASKED = json.dumps({"inputs": [{"text": "money back"}]}).encode()
WHOLE = (
    b"POST /v1/predict HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
    b"content-length: " + str(len(ASKED)).encode() + b"\r\n\r\n" + ASKED
)
LAST = WHOLE.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")


def connected(running: Running) -> socket.socket:
    url = running.client.base_url
    found = socket.create_connection((url.host, url.port), timeout=30)
    found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return found


def rest(connection: socket.socket) -> bytes:
    """Everything until the server hangs up."""
    found = b""
    while piece := connection.recv(65_536):
        found += piece
    return found


def test_a_request_may_come_a_byte_at_a_time(running: Running):
    with closing(connected(running)) as connection:
        for place in range(len(LAST)):
            connection.sendall(LAST[place : place + 1])
        reply = rest(connection)
    assert reply.startswith(b"HTTP/1.1 200")
    assert b'"label":"refund"' in reply


def test_requests_that_come_together_are_answered_in_order(running: Running):
    with closing(connected(running)) as connection:
        second = WHOLE.replace(b"money back", b"bill  tax ")
        connection.sendall(WHOLE + second + LAST)
        reply = rest(connection)
    assert re.findall(rb'"label":"(\w+)"', reply) == [b"refund", b"invoice", b"refund"]


@pytest.mark.parametrize("line", [b"x-more: " + b"x" * 990 + b"\r\n", b"x" * 1_000])
def test_headers_without_end_are_refused(running: Running, line: bytes):
    with closing(connected(running)) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n")
        # The first piece is taken as it is; of what follows it, one byte too many.
        time.sleep(0.2)
        connection.sendall((line * 66)[: heads.HEAD_BYTES + 1])
        reply = rest(connection)
    assert reply.startswith(b"HTTP/1.1 431 ")
    assert json.loads(reply.partition(b"\r\n\r\n")[2])["error"]["fix"]
    assert running.predict("tax")["outputs"][0]["label"] == "invoice"


@pytest.mark.parametrize(
    ("begun", "answered"), [(b"", b""), (b"GET /healthz HTTP/1.1\r\nhost: a\r\n", b"HTTP/1.1 408 ")]
)
def test_a_head_that_does_not_come_is_not_waited_for(
    running: Running, monkeypatch: pytest.MonkeyPatch, begun: bytes, answered: bytes
):
    monkeypatch.setattr(heads, "HEAD_S", 0.2)
    with closing(connected(running)) as connection:
        connection.sendall(begun)
        reply = rest(connection)
    assert reply[:13] == answered


def test_a_second_head_has_its_own_time(running: Running, monkeypatch: pytest.MonkeyPatch):
    with closing(connected(running)) as connection:
        connection.sendall(WHOLE)
        answered = b""
        while not answered.endswith(b"}"):
            answered += connection.recv(65_536)
        monkeypatch.setattr(heads, "HEAD_S", 0.2)
        connection.sendall(WHOLE[:30])
        reply = rest(connection)
    assert answered.startswith(b"HTTP/1.1 200")
    assert reply.startswith(b"HTTP/1.1 408 ")


def test_what_is_no_http_is_refused(running: Running):
    with closing(connected(running)) as connection:
        connection.sendall(b"\x16\x03\x01 not http\r\n\r\n")
        assert rest(connection).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    "offer",
    [
        # As Java's HttpClient sends it with every request over plain HTTP.
        b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n",
        b"Connection: keep-alive, upgrade\r\nUpgrade: websocket\r\nx-empty:\r\n",
    ],
)
@pytest.mark.parametrize("cut", [0, 100, 250])
def test_an_offer_of_another_protocol_is_declined_and_the_body_read(
    running: Running, offer: bytes, cut: int
):
    asked = WHOLE.replace(b"\r\n\r\n", b"\r\n" + offer + b"\r\n")
    with closing(connected(running)) as connection:
        connection.sendall(asked[:cut])
        time.sleep(0.1)
        connection.sendall(asked[cut:] + asked + LAST)
        reply = rest(connection)
    assert re.findall(rb"HTTP/1.1 (\d+)", reply) == [b"200"] * 3
    assert reply.count(b'"label":"refund"') == 3


def test_an_offer_does_not_let_a_long_body_in(running: Running):
    offer = b"\r\nconnection: upgrade\r\nupgrade: h2c\r\nconnection: close\r\n\r\n"
    asked = WHOLE.partition(b"content-length")[0] + b"content-length: 9000000" + offer
    with closing(connected(running)) as connection:
        connection.sendall(asked)
        assert rest(connection).startswith(b"HTTP/1.1 413 ")


def test_connect_is_refused(running: Running):
    with closing(connected(running)) as connection:
        connection.sendall(b"CONNECT example.org:443 HTTP/1.1\r\nhost: example.org:443\r\n\r\n")
        assert rest(connection).startswith(b"HTTP/1.1 400 ")


def test_thousands_of_offers_in_one_piece_are_declined_one_after_the_other(running: Running):
    offer = (
        b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n"
    )
    with closing(connected(running)) as connection:
        connection.sendall(offer * 2_000 + LAST)
        reply = rest(connection)
    assert reply.count(b"HTTP/1.1 200") == 2_001


UNREAD = b"POST /v1/predict HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 10\r\n\r\n"


@pytest.mark.parametrize(
    ("asked", "then", "status"),
    [
        (b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n", b"\r\n", b"200"),
        (UNREAD, b"", b"401"),
        (UNREAD, b"x", b"401"),
        (UNREAD, b"x" * 10 + b"\r\n", b"401"),
        (UNREAD.replace(b": 10", b": 9000000"), b"x", b"401"),
    ],
)
def test_an_answered_connection_that_begins_nothing_is_closed(
    serving: Serving, monkeypatch: pytest.MonkeyPatch, asked: bytes, then: bytes, status: bytes
):
    monkeypatch.setattr(heads, "IDLE_S", 1)
    monkeypatch.setattr(heads, "REST_S", 1)
    with serving(key="k" * 16) as running, closing(connected(running)) as connection:
        connection.sendall(asked)
        reply = b""
        while not reply.endswith(b"}"):
            reply += connection.recv(65_536)
        connection.sendall(then)
        assert rest(connection) == b""
    assert reply.split(b" ")[1] == status


def test_an_answer_does_not_cut_the_head_that_has_begun_behind_it(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(heads, "IDLE_S", 1)
    with serving() as running, closing(connected(running)) as connection:
        connection.sendall(WHOLE + LAST[:40])
        answered = b""
        while not answered.endswith(b"}"):
            answered += connection.recv(65_536)
        time.sleep(1.2)
        connection.sendall(LAST[40:])
        assert b'"label":"refund"' in rest(connection)


def test_the_rest_of_a_body_that_was_refused_leaves_the_connection_usable(serving: Serving):
    with serving(key="k" * 16) as running, closing(connected(running)) as connection:
        connection.sendall(UNREAD)
        reply = b""
        while not reply.endswith(b"}"):
            reply += connection.recv(65_536)
        connection.sendall(b"x" * 10)
        connection.sendall(
            LAST.replace(b"host:", b"authorization: Bearer " + b"k" * 16 + b"\r\nhost:")
        )
        assert rest(connection).startswith(b"HTTP/1.1 200 ")
