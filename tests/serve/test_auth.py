"""Who is let in: every route with and without a key, foreign hosts, foreign pages."""

import socket

import pytest

from sartor.core.errors import BundleError, SettingError
from sartor.core.store import Store
from sartor.serve import stored_keys
from sartor.serve.app import create_app
from sartor.serve.run import prepare, serve
from sartor.serve.settings import ServeSettings
from tests.serve.conftest import Running, Serving

KEY = "0123456789abcdef0123456789abcdef"
ROUTES = (
    ("POST", "/v1/predict"),
    ("POST", "/v1/feedback"),
    ("GET", "/v1/model"),
    ("GET", "/metrics"),
    ("GET", "/openapi.json"),
    ("GET", "/nothing-here"),
    ("GET", "/healthz/"),
    ("GET", "/static/../metrics"),
    ("GET", "/static/page.css/"),
    ("PUT", "/v1/predict"),
    ("OPTIONS", "/v1/predict"),
)


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_without_a_key_nothing_but_health_and_the_shell_answers(
    serving: Serving, method: str, path: str
):
    with serving(key=KEY) as running:
        wrong = ({}, bearer("wrong" * 8), {"authorization": f"Basic {KEY}"})
        for headers in (
            *wrong,
            bearer(KEY[:-1]),
            {"authorization": KEY},
            {"authorization": "Bearer"},
        ):
            reply = running.client.request(method, path, headers=headers, content=b"{}")
            assert reply.status_code == 401, headers
            assert reply.headers["www-authenticate"] == "Bearer"
            assert "Authorization: Bearer" in reply.json()["error"]["fix"]
        allowed = running.client.request(method, path, headers=bearer(KEY), content=b"{}")
        assert allowed.status_code != 401


PUBLIC = {
    "/",
    "/healthz",
    "/readyz",
    "/static/page.css",
    "/static/page.js",
    "/static/conversation.js",
    "/static/learner.js",
}
PUBLIC |= {"/v2/health/live", "/v2/health/ready"}


def test_what_is_public_is_so_on_purpose_and_tells_nothing_of_the_model(serving: Serving, bundle):
    rights = create_app(ServeSettings(bundle=str(bundle.folder))).desk.routes.rights
    assert {path for path, methods in rights.items() if "public" in methods.values()} == PUBLIC
    with serving(key=KEY) as running:
        for path in PUBLIC:
            reply = running.client.get(path)
            assert reply.status_code == 200
            assert "refund" not in reply.text, "a public route tells what the model is"


def test_a_key_of_the_store_opens_and_a_revoked_one_does_not(
    serving: Serving, tmp_path, monkeypatch
):
    monkeypatch.setattr(stored_keys, "_FRESH_S", 0.0)
    with Store.open(tmp_path / "store.db") as store:
        token = store.add_key("ci")
        with serving() as running:
            assert running.client.get("/v1/model").status_code == 401
            assert running.client.get("/v1/model", headers=bearer(token)).status_code == 200
            store.revoke_key(1)
            assert running.client.get("/v1/model", headers=bearer(token)).status_code == 401
            other = store.add_key("ci 2")
            assert running.client.get("/v1/model", headers=bearer(other)).status_code == 200


def test_the_key_of_the_environment_is_used(bundle, monkeypatch):
    monkeypatch.setenv("SARTOR_API_KEY", KEY)
    server, listener = prepare(ServeSettings(bundle=str(bundle.folder), port=0))
    listener.close()
    assert server.config.app.desk.gate.wants_key


def test_a_short_key_is_refused():
    with pytest.raises(SettingError, match="5 characters"):
        ServeSettings(bundle="x", key="12345")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_others_are_not_served_without_a_key(bundle, host: str):
    with pytest.raises(SettingError, match="no API key exists") as caught:
        create_app(ServeSettings(bundle=str(bundle.folder), host=host))
    assert "SARTOR_API_KEY" in caught.value.fix


def test_an_unreleased_bundle_is_served_only_when_asked_for(make_bundle):
    folder = str(make_bundle(released=False).folder)
    with pytest.raises(BundleError, match="not released"):
        serve(ServeSettings(bundle=folder, port=0))
    create_app(ServeSettings(bundle=folder, unreleased=True))


def test_a_taken_port_is_refused_before_loading(running: Running, bundle):
    port = int(running.url.rpartition(":")[2])
    with pytest.raises(SettingError, match=f"127.0.0.1:{port} cannot be listened on"):
        serve(ServeSettings(bundle=str(bundle.folder), port=port))


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", ""])
def test_a_rebound_name_is_refused(running: Running, host: str):
    reply = running.client.get("/v1/model", headers={"host": host})
    assert reply.status_code == 403


@pytest.mark.parametrize("host", ["localhost:1", "127.0.0.1", "127.8.8.8:99", "[::1]:80"])
def test_names_of_this_machine_are_let_in(running: Running, host: str):
    assert running.client.get("/v1/model", headers={"host": host}).status_code == 200


def test_a_name_that_was_allowed_is_let_in(serving: Serving):
    with serving(allowed_hosts=("models.example",)) as running:
        for host, status in (("models.example:8000", 200), ("localhost", 200), ("x.example", 403)):
            assert running.client.get("/v1/model", headers={"host": host}).status_code == status


def test_where_others_reach_it_health_and_metrics_answer_under_any_name(serving: Serving):
    """Probes and scrapers call a server by its address."""
    with serving(host="0.0.0.0", key=KEY, allowed_hosts=("Models.example",)) as running:

        def status(path: str, host: str, **more: str) -> int:
            return running.client.get(path, headers={"host": host, **more}).status_code

        for path in PUBLIC:
            assert status(path, "10.0.0.7:8000") == 200
        assert status("/metrics", "10.0.0.7:8000") == 401
        assert status("/metrics", "10.0.0.7:8000", **bearer(KEY)) == 200
        for host in ("MODELS.example:80", "localhost", "LOCALHOST:1", "127.0.0.1", "[::1]:80"):
            assert status("/v1/model", host, **bearer(KEY)) == 200
        assert status("/v1/model", "10.0.0.7:8000", **bearer(KEY)) == 403


def test_where_only_this_machine_reaches_it_metrics_want_its_own_name(running: Running):
    for path, status in (("/metrics", 403), ("/readyz", 200)):
        reply = running.client.get(path, headers={"host": "evil.example"})
        assert reply.status_code == status


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1"},
        {"sec-fetch-site": "cross-site"},
    ],
)
def test_a_foreign_page_cannot_send_feedback(running: Running, headers: dict):
    asked = running.predict("money")
    said = {"request_id": asked["request_id"], "label": "other"}
    reply = running.client.post("/v1/feedback", json=said, headers=headers)
    assert reply.status_code == 403
    own = {"origin": running.url, "sec-fetch-site": "same-origin"}
    assert running.client.post("/v1/feedback", json=said, headers=own).status_code == 201


def test_the_socket_says_that_it_is_tcp_so_that_small_answers_leave_at_once(bundle):
    _, listener = prepare(ServeSettings(bundle=str(bundle.folder), port=0))
    with listener:
        assert listener.proto == socket.IPPROTO_TCP, "asyncio sets TCP_NODELAY only then"
