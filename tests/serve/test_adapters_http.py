"""Every tenant × every user over HTTP: whose adapter answers, and who learns that there is one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sartor.bundle import Bundle
from sartor.bundle.adapter import adapter_folder, delete_adapter, write_adapter
from sartor.bundle.base import read_base
from sartor.core.errors import SettingError
from sartor.core.grants import Grant
from sartor.core.store import Store
from sartor.serve.runtime import load
from sartor.serve.settings import ServeSettings
from sartor.shrink.adaptable import make_base
from tests.serve.adapted import own_head, write_adaptable
from tests.serve.conftest import Running, Serving
from tests.serve.test_auth import bearer

TENANTS = (None, "acme", "globex")
USERS = ("ann", "eve", "sam")
"""ann and eve each exist under two tenants, with adapters of their own; sam under none."""
OWNERS = {"ann": ("acme", "globex"), "eve": (None, "acme"), "sam": ()}
TEXT = "tax money"


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return write_adaptable(tmp_path / "bundle")


@pytest.fixture
def root(bundle: Bundle, tmp_path: Path) -> Path:
    root = tmp_path / "adapters"
    base, seed = make_base(bundle, root), 10
    for user, owners in OWNERS.items():
        for owner in owners:
            write_adapter(root, owner, user, own_head(base, seed := seed + 1))
    return root


@pytest.fixture
def keys(tmp_path: Path) -> dict[str | None, str]:
    with Store.open(tmp_path / "store.db") as store:
        return {tenant: store.add_key(f"of {tenant}", Grant("admin", tenant)) for tenant in TENANTS}


@pytest.fixture
def running(serving: Serving, root: Path, keys: dict[str | None, str]) -> Iterator[Running]:
    with serving(adapters=str(root)) as started:
        yield started


def ask(running: Running, key: str, **more: object):
    body = {"inputs": [{"text": TEXT}], **more}
    return running.client.post("/v1/predict", json=body, headers=bearer(key))


def test_every_tenant_gets_its_own_users_adapters_and_no_others(
    running: Running, bundle: Bundle, root: Path, keys: dict[str | None, str]
):
    alone = load(bundle.folder, adapters=root)
    words = set()
    for tenant in TENANTS:
        for user in USERS:
            reply = ask(running, keys[tenant], user=user)
            if tenant not in OWNERS[user]:
                assert reply.status_code == 404, (tenant, user)
                assert f"'{user}'" in reply.text
                words.add(reply.text.replace(user, "USER"))
                continue
            (wanted,) = alone.predict([TEXT], user=user, tenant=tenant)
            found = reply.json()
            assert found["personal"] is True
            assert found["outputs"][0]["probabilities"] == pytest.approx(wanted["probabilities"])
    assert len(words) == 1, "another tenant's user must look like one who never was"
    answers = {
        tuple(ask(running, keys[t], user=u).json()["outputs"][0]["probabilities"].values())
        for u, owners in OWNERS.items()
        for t in owners
    }
    assert len(answers) == 4, "four adapters, four answers; else nothing was told apart"


def test_who_names_no_user_gets_the_answer_that_all_get(
    running: Running, bundle: Bundle, keys: dict[str | None, str]
):
    (wanted,) = load(bundle.folder).predict([TEXT])
    for tenant in TENANTS:
        found = ask(running, keys[tenant]).json()
        assert found["personal"] is False
        assert found["outputs"][0]["probabilities"] == wanted["probabilities"]


def test_the_shared_model_stands_in_where_that_is_said(
    running: Running, bundle: Bundle, keys: dict[str | None, str]
):
    (wanted,) = load(bundle.folder).predict([TEXT])
    found = ask(running, keys["globex"], user="eve", fallback="global").json()
    assert found["personal"] is False
    assert found["outputs"][0]["probabilities"] == wanted["probabilities"]
    assert ask(running, keys["acme"], user="ann", fallback="global").json()["personal"] is True
    assert ask(running, keys["acme"], user="ann", fallback="other").status_code == 422


def test_the_protocol_knows_users_too(
    running: Running, bundle: Bundle, root: Path, keys: dict[str | None, str]
):
    tensor = {"name": "text", "shape": [1], "datatype": "BYTES", "data": [TEXT]}
    url = f"/v2/models/{bundle.manifest.name}/infer"

    def infer(tenant: str | None, **said: str):
        body = {"inputs": [tensor], "parameters": said}
        return running.client.post(url, json=body, headers=bearer(keys[tenant]))

    (wanted,) = load(bundle.folder, adapters=root).predict([TEXT], user="ann", tenant="acme")
    found = infer("acme", user="ann").json()
    assert found["parameters"]["personal"] is True
    assert found["outputs"][1]["data"] == pytest.approx(list(wanted["probabilities"].values()))
    refused = infer(None, user="ann")
    assert refused.status_code == 404
    assert "'ann'" in refused.json()["error"]
    assert infer(None, user="ann", fallback="global").json()["parameters"]["personal"] is False


def test_a_swap_and_a_deletion_hold_for_the_next_request(
    running: Running, root: Path, keys: dict[str | None, str]
):
    first = ask(running, keys["acme"], user="ann").json()["outputs"]
    write_adapter(root, "acme", "ann", own_head(read_base(root), 99))
    second = ask(running, keys["acme"], user="ann").json()["outputs"]
    assert first != second
    delete_adapter(root, "acme", "ann")
    assert ask(running, keys["acme"], user="ann").status_code == 404
    assert ask(running, keys["globex"], user="ann").status_code == 200


def test_an_adapter_that_is_another_users_is_refused_and_named_to_nobody(
    running: Running, root: Path, keys: dict[str | None, str]
):
    import shutil

    place = adapter_folder(root, "acme", "ann")
    shutil.rmtree(place)
    shutil.copytree(adapter_folder(root, "acme", "eve"), place)
    reply = ask(running, keys["acme"], user="ann")
    assert reply.status_code == 500
    assert "'ann'" in reply.text
    assert "eve" not in reply.text
    assert str(root) not in reply.text
    assert ask(running, keys["acme"], user="eve").status_code == 200


def test_adapters_are_counted_and_told_of(running: Running, keys: dict[str | None, str]):
    for user in ("ann", "ann", "eve", "sam"):
        ask(running, keys["acme"], user=user)
    headers = bearer(keys[None])
    text = running.client.get("/metrics", headers=headers).text
    for line in ("hits_total 1.0", "loads_total 2.0", "unknown_total 1.0"):
        assert f"sartor_adapter_{line}" in text
    assert "sartor_adapters 2.0" in text
    assert running.client.get("/v1/model", headers=headers).json()["personal"] is True
    document = running.client.get("/openapi.json", headers=headers).json()
    assert "fallback" in document["components"]["schemas"]["PredictBody"]["properties"]


def test_without_adapters_a_user_is_whose_text_it_is_and_no_more(serving: Serving):
    with serving() as running:
        reply = running.predict(TEXT, user="ann")
        assert "personal" not in reply
        assert running.client.get("/v1/model").json()["personal"] is False
        assert "sartor_adapter" not in running.client.get("/metrics").text


def test_adapters_and_a_deployment_do_not_go_together():
    with pytest.raises(SettingError, match="one bundle"):
        ServeSettings(deployment="somewhere", adapters="elsewhere")
