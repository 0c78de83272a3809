"""A function of a platform answers, and refuses, in the words of the server."""

import json
import subprocess
import sys
from collections.abc import Callable

import pytest

from sartor.bundle import Bundle
from sartor.core.errors import BundleError, SettingError
from sartor.serve.function import Asked, Function
from tests.serve.conftest import Serving

KEY = "k-0123456789abcdef"
ONE = b'{"inputs": [{"text": "money back"}]}'
ROWS = json.dumps({"inputs": [{"text": "tax"}] * 257}).encode()
LONG = json.dumps({"inputs": [{"text": "x" * 20_001}]}).encode()


@pytest.fixture
def function(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> Function:
    monkeypatch.delenv("SARTOR_API_KEY", raising=False)
    return Function.open(bundle.folder, threads=1)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v1/predict", ONE),
        ("POST", "/v1/predict", b'{"inputs": [{"text": "tax"}, {"text": ""}], "user": "u-1"}'),
        ("POST", "/v1/predict", b"{"),
        ("POST", "/v1/predict", b"\xff"),
        ("POST", "/v1/predict", b'{"inputs": []}'),
        ("POST", "/v1/predict", b'{"inputs": [{"txt": "tax"}]}'),
        ("POST", "/v1/predict", b'{"inputs": [{"text": 1}]}'),
        ("POST", "/v1/predict", b'{"rows": ["tax"]}'),
        ("POST", "/v1/predict", ROWS),
        ("POST", "/v1/predict", LONG),
        ("POST", "/v1/predict", b'{"inputs": "' + b"x" * 1_000_000 + b'"}'),
        ("GET", "/v1/model", b""),
        ("GET", "/healthz", b""),
        ("GET", "/readyz", b""),
        ("HEAD", "/readyz", b""),
    ],
)
def test_a_function_replies_as_the_server_does(
    function: Function, serving: Serving, method: str, path: str, body: bytes
):
    with serving(store=None) as running:
        wanted = running.client.request(method, path, content=body)
    found = function.answer(Asked(method, path, {}, body))
    assert found.status == wanted.status_code
    if method == "HEAD":
        assert found.body == wanted.content == b""
        return
    said, expected = json.loads(found.body), wanted.json()
    for one in (said, expected):
        one.pop("request_id", None)
    assert said == expected
    for name in found.headers.keys() - {"x-request-id"}:
        assert found.headers[name] == wanted.headers[name]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/v1/predict", 405), ("PUT", "/healthz", 405), ("GET", "/v1/predit", 404)],
)
def test_what_nothing_answers_is_named(
    function: Function, serving: Serving, method: str, path: str, status: int
):
    with serving(store=None) as running:
        wanted = running.client.request(method, path)
    found = function.answer(Asked(method, path, {}))
    assert found.status == wanted.status_code == status
    assert json.loads(found.body)["error"]["what"] == wanted.json()["error"]["what"]
    assert ("allow" in found.headers) == ("allow" in wanted.headers) == (status == 405)


def test_feedback_is_refused_because_nothing_would_keep_it(function: Function):
    said = b'{"request_id": "r", "label": "refund"}'
    reply = function.answer(Asked("POST", "/v1/feedback", {}, said))
    assert (reply.status, reply.headers["retry-after"]) == (503, "1")
    assert "keeps no feedback" in json.loads(reply.body)["error"]["what"]


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("", 401),
        (f"Bearer {KEY}x", 401),
        (f"Basic {KEY}", 401),
        ("Bearer ключ", 401),
        (f"Bearer {KEY}", 200),
        (f"bearer  {KEY} ", 200),
    ],
)
def test_a_key_in_the_environment_is_wanted_of_callers(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, header: str, status: int
):
    monkeypatch.setenv("SARTOR_API_KEY", KEY)
    function = Function.open(bundle.folder, threads=1)
    reply = function.answer(Asked("POST", "/v1/predict", {"authorization": header}, ONE))
    assert reply.status == status
    assert ("www-authenticate" in reply.headers) == (status == 401)
    assert function.answer(Asked("GET", "/readyz", {})).status == 200
    assert function.answer(Asked("GET", "/nothing", {})).status == 401


def test_a_key_that_can_be_guessed_is_refused(bundle: Bundle, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SARTOR_API_KEY", "short")
    with pytest.raises(SettingError, match="can be guessed"):
        Function.open(bundle.folder)


def test_an_unreleased_bundle_is_opened_only_where_that_is_meant(
    make_bundle: Callable[..., Bundle],
):
    folder = make_bundle(released=False).folder
    with pytest.raises(BundleError, match="not released"):
        Function.open(folder)
    assert not Function.open(folder, unreleased=True).runtime.released


def test_a_sane_id_comes_back_and_is_never_the_answers(function: Function):
    def ask(id: str) -> tuple[str, str]:
        reply = function.answer(Asked("POST", "/v1/predict", {"x-request-id": id}, ONE))
        return reply.headers["x-request-id"], json.loads(reply.body)["request_id"]

    told, own = ask("mine-1")
    assert (told, len(own)) == ("mine-1", 32)
    told, own = ask("two\nlines")
    assert told == own != "two\nlines"


def test_a_function_starts_without_a_web_framework_or_a_store(bundle: Bundle):
    code = (
        "import sys; from sartor.serve.function import Asked, Function;"
        f"f = Function.open({str(bundle.folder)!r});"
        f"assert f.answer(Asked('POST', '/v1/predict', {{}}, {ONE!r})).status == 200;"
        "names = {'starlette', 'sqlalchemy', 'asyncio', 'ssl', 'rich'};"
        "print(sorted(names & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
