"""Every route × role × tenant: who may ask what, and whose answers exist for whom.

The table below states each route's policy a second time. A route that it does not name fails here,
as does one whose policy changes.
"""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from sartor.core.errors import SettingError
from sartor.core.grants import ROLES, UNLIMITED, Grant, Rate
from sartor.core.store import Store
from sartor.core.tables import feedback, predictions
from sartor.listen.export import corrections, delete_user
from sartor.listen.feedback import summary
from sartor.serve.app import create_app
from sartor.serve.settings import ServeSettings
from tests.core.test_store import at_version
from tests.serve.conftest import Running, Serving
from tests.serve.test_auth import bearer
from tests.serve.test_http import rows

PREDICT, FEEDBACK = {"predict", "feedback", "admin"}, {"feedback", "admin"}
METRICS, ANYBODY = {"metrics", "admin"}, {*ROLES, None}
CHAT = "/v1/chat/completions"
MODEL, VERSION = "/v2/models/{name}", "/v2/models/{name}/versions/{version}"
POLICY: dict[tuple[str, str], set[str | None]] = {
    ("POST", "/v1/predict"): PREDICT,
    ("POST", CHAT): PREDICT,
    ("GET", "/v1/models"): PREDICT,
    ("POST", "/v1/feedback"): FEEDBACK,
    ("GET", "/v1/model"): PREDICT,
    ("GET", "/metrics"): METRICS,
    ("GET", "/openapi.json"): PREDICT,
    ("GET", "/healthz"): ANYBODY,
    ("GET", "/readyz"): ANYBODY,
    ("GET", "/"): ANYBODY,
    ("GET", "/static/page.css"): ANYBODY,
    ("GET", "/static/page.js"): ANYBODY,
    ("GET", "/static/conversation.js"): ANYBODY,
    ("GET", "/static/learner.js"): ANYBODY,
    ("GET", "/v2"): PREDICT,
    ("GET", "/v2/health/live"): ANYBODY,
    ("GET", "/v2/health/ready"): ANYBODY,
    ("GET", MODEL): PREDICT,
    ("GET", f"{MODEL}/ready"): PREDICT,
    ("POST", f"{MODEL}/infer"): PREDICT,
    ("GET", VERSION): PREDICT,
    ("GET", f"{VERSION}/ready"): PREDICT,
    ("POST", f"{VERSION}/infer"): PREDICT,
}
TENANTS = (None, "acme", "globex")
TENSOR = {"name": "text", "shape": [1], "datatype": "BYTES", "data": ["money"]}


class World:
    """A server with a key for every role and tenant."""

    def __init__(self, running: Running, keys: dict[tuple[str, str | None], str]) -> None:
        self.running, self.keys = running, keys
        admin = running.client.get("/v1/model", headers=self.headers("admin", None))
        self.model = admin.json()

    def headers(self, role: str | None, tenant: str | None) -> dict[str, str]:
        return bearer(self.keys[role, tenant]) if role else {}

    def ask(self, method: str, path: str, role: str | None, tenant: str | None) -> httpx.Response:
        url = path.format(name=self.model["name"], version=self.model["model"])
        body: dict[str, Any] | None = None
        if method == "POST":
            body = {"inputs": [TENSOR if path.endswith("infer") else {"text": "money"}]}
        if path == CHAT:
            body = {"messages": [{"role": "user", "content": "money"}]}
        if path == "/v1/feedback":
            body = {"request_id": self.asked(tenant), "label": "other"}
        headers = self.headers(role, tenant)
        return self.running.client.request(method, url, json=body, headers=headers)

    def asked(self, tenant: str | None) -> str:
        """The id of an answer to somebody of this tenant."""
        body = {"inputs": [{"text": "money"}], "user": "u-1"}
        headers = self.headers("predict", tenant)
        reply = self.running.client.post("/v1/predict", json=body, headers=headers)
        return reply.json()["request_id"]

    def says(self, request_id: str, tenant: str | None, role: str = "feedback") -> httpx.Response:
        said = {"request_id": request_id, "label": "other", "user": "u-1", "text": "a text"}
        headers = self.headers(role, tenant)
        return self.running.client.post("/v1/feedback", json=said, headers=headers)


@pytest.fixture
def world(serving: Serving, tmp_path: Path) -> Iterator[World]:
    with Store.open(tmp_path / "store.db") as store:
        keys = {
            (role, tenant): store.add_key(f"{role} of {tenant}", Grant(role, tenant))
            for role in ROLES
            for tenant in TENANTS
        }
    with serving() as running:
        yield World(running, keys)


def test_every_route_has_a_policy_that_was_stated_here(bundle):
    routes = create_app(ServeSettings(bundle=str(bundle.folder))).desk.routes
    served = {(one.method, one.path) for one in routes.endpoints}
    assert served == set(POLICY)


def test_every_route_answers_every_role_of_every_tenant_as_its_policy_says(world: World):
    for (method, path), allowed in POLICY.items():
        for role in (*ROLES, None):
            for tenant in TENANTS:
                reply = world.ask(method, path, role, tenant)
                wanted = {200, 201} if role in allowed else {401 if role is None else 403}
                # Who may ask for a reply is told that a model of labels writes none.
                wanted = {404} if path == CHAT and role in allowed else wanted
                assert reply.status_code in wanted, (method, path, role, tenant, reply.text)
                if reply.status_code == 403:
                    assert any(name in reply.text for name in sorted(filter(None, allowed)))


def test_other_methods_of_a_route_and_other_routes_open_nothing(world: World):
    for method, path in [*POLICY, ("GET", "/nothing"), ("GET", "/v2/models/other")]:
        for other in {"GET", "PUT", "DELETE", "PATCH", "OPTIONS"} - {method}:
            public = None in POLICY.get((method, path), set())
            reply = world.ask(other, path, None, None)
            assert reply.status_code == (405 if public else 401), (other, path)
            reply = world.ask(other, path, "metrics", "acme")
            assert reply.status_code in (403, 404, 405), (other, path)


def test_head_wants_what_get_wants(world: World):
    for (method, path), allowed in POLICY.items():
        if method == "GET":
            for role in (*ROLES, None):
                reply = world.ask("HEAD", path, role, "acme")
                assert (reply.status_code == 200) == (role in allowed), (path, role)


def test_another_tenants_answer_does_not_exist_for_feedback(world: World):
    unknown = world.says("0" * 32, "acme")
    assert unknown.status_code == 404
    for owner in TENANTS:
        request_id = world.asked(owner)
        for tenant in TENANTS:
            for role in sorted(FEEDBACK):
                reply = world.says(request_id, tenant, role)
                if tenant == owner:
                    assert reply.status_code == 201
                    continue
                assert reply.status_code == 404
                same = unknown.text.replace("0" * 32, request_id)
                assert reply.text == same, "it tells that the answer exists"


def test_answers_and_feedback_are_kept_with_their_tenant(world: World):
    for tenant in TENANTS:
        assert world.says(world.asked(tenant), tenant).status_code == 201
    store = world.running.store
    for table in (predictions, feedback):
        assert sorted(str(row["tenant"]) for row in rows(store, table)) == [
            "None",
            "acme",
            "globex",
        ]
    with Store.open(store) as opened:
        assert summary(opened).said.n == 3
        assert summary(opened, tenant="acme").said.n == 1
        assert summary(opened, tenant="nobody").requests == 0
        assert len(corrections(opened)) == 3
        assert len(corrections(opened, tenant="acme")) == 1
        gone = delete_user(opened, "u-1", "acme")
        assert (gone.predictions, gone.feedback) == (1, 1)
        assert corrections(opened, tenant="acme") == []
        assert len(corrections(opened)) == 2
        assert delete_user(opened, "u-1").predictions == 2


def test_the_servers_own_key_may_do_everything(serving: Serving):
    with serving(key="0123456789abcdef") as running:
        for path in ("/metrics", "/v1/model", "/openapi.json"):
            assert running.client.get(path, headers=bearer("0123456789abcdef")).status_code == 200


def test_keys_of_an_older_store_go_on_opening_everything_and_nothing_is_lost(
    serving: Serving, tmp_path: Path
):
    path, token = tmp_path / "store.db", "an-old-token"
    at_version(path, "0002")
    from sartor.core.store import token_hash

    with sqlite3.connect(path) as raw:
        raw.execute(
            "INSERT INTO api_keys VALUES (1, 'old', ?, '2026-01-02 00:00:00', NULL)",
            (token_hash(token),),
        )
        raw.execute(
            "INSERT INTO predictions (request_id, row, bundle, time, answer, user, text)"
            " VALUES ('r', 0, 'b', '2026-01-02 00:00:00', '{\"best\": \"a\"}', 'u', 'words')"
        )
        raw.execute(
            "INSERT INTO feedback (request_id, row, time, label)"
            " VALUES ('r', 0, '2026-01-03 00:00:00', 'refund')"
        )
    raw.close()
    with serving(retention_days=100_000) as running:
        assert running.client.get("/metrics", headers=bearer(token)).status_code == 200
        said = {"request_id": "r", "label": "other"}
        reply = running.client.post("/v1/feedback", json=said, headers=bearer(token))
        assert reply.status_code == 201
    with Store.open(path) as store:
        assert store.keys()[0].grant == Grant("admin")
        assert [(c["text"], c["label"]) for c in corrections(store)] == [("words", "other")]
        with store.read() as connection:
            assert connection.scalar(sa.select(sa.func.count()).select_from(feedback)) == 2


@pytest.mark.parametrize(
    ("values", "what", "fix"),
    [
        ({"role": "root"}, "No role is called 'root'", "metrics"),
        ({"role": "feedbck"}, "'feedbck'", "did you mean 'feedback'"),
        ({"tenant": "a b"}, "'a b' cannot be the name", "point, dash"),
        ({"tenant": ""}, "'' cannot be the name", "64"),
        ({"tenant": "x" * 65}, "cannot be the name", "64"),
        ({"tenant": 'a\n{"status": 200}'}, "cannot be the name", "64"),
        ({"rate": "fast"}, "'fast' is not a rate", "50/s"),
        ({"rate": "0/s"}, "'0/s' is not a rate", "50/s"),
        ({"rate": "-1/s"}, "'-1/s' is not a rate", "50/s"),
        ({"rate": "1.5/s"}, "'1.5/s' is not a rate", "50/s"),
        ({"rate": "9999999999/s"}, "is not a rate", "50/s"),
    ],
)
def test_a_grant_that_means_nothing_is_refused(values: dict[str, str], what: str, fix: str):
    with pytest.raises(SettingError) as caught:
        Grant(**values)
    assert what in caught.value.what
    assert fix in caught.value.fix


def test_rates_are_rows_in_seconds():
    assert Rate.parse("50/s") == Rate(50, 1)
    assert Rate.parse("1000/m") == Rate(1000, 60)
    assert Rate.parse("7/h") == Rate(7, 3600)
    assert Rate.parse(UNLIMITED) is None
