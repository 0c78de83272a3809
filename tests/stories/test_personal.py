"""Served, corrected by one user, then answered as that user means it, until they are forgotten."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sartor.cli.app import app
from sartor.core.errors import ModelError, SettingError
from sartor.core.store import Store
from sartor.core.workspace import Workspace
from sartor.listen.by_user import Who
from sartor.serve.runtime import load
from tests.search import personal_bert
from tests.search.personal import TOPICS, Manners, make_bundle, right, text_of, told
from tests.served import serving


def sartor(*arguments: str) -> str:
    done = CliRunner().invoke(app, arguments)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.stdout


def habit(topic: int) -> str:
    return "refund" if right(topic) == "invoice" else right(topic)


def test_what_one_user_means_is_learnt_served_to_them_alone_and_forgotten(tmp_path: Path):
    bundle, place = make_bundle(tmp_path / "made").folder, Workspace.open(tmp_path)
    topics = [number % len(TOPICS) for number in range(90)]
    asked = {
        "inputs": [{"text": text_of(topic, n)} for n, topic in enumerate(topics)],
        "user": "ana",
    }
    with serving(bundle=str(bundle), store=place.store, store_texts=True) as client:
        answered = client.post("/v1/predict", json=asked).json()
        assert [one["best"] for one in answered["outputs"]] == [right(topic) for topic in topics]
        for row, topic in enumerate(topics):
            said = {"request_id": answered["request_id"], "row": row, "label": habit(topic)}
            reply = client.post("/v1/feedback", json=said | {"user": "ana"})
            assert reply.status_code == 201, reply.text

    (line,) = sartor(
        "personalize", str(bundle), "--user", "ana", "--workspace", str(tmp_path), "--json", "-q"
    ).splitlines()
    assert json.loads(line)["state"] == "released"
    (again,) = sartor(
        "personalize", str(bundle), "--all-users", "--workspace", str(tmp_path), "-q"
    ).splitlines()
    assert again.startswith("ana: released, ")
    assert "points (" in again

    (root,) = (place.folder / "adapters").iterdir()
    fresh = {"inputs": [{"text": text_of(1, 5_000)}]}
    with serving(bundle=str(bundle), store=place.store, adapters=str(root)) as client:
        mine = client.post("/v1/predict", json=fresh | {"user": "ana"}).json()
        assert mine["outputs"][0]["best"] == habit(1) == "refund"
        everybodys = client.post("/v1/predict", json=fresh).json()
        assert everybodys["outputs"][0]["best"] == right(1) == "invoice"
        assert client.post("/v1/predict", json=fresh | {"user": "ben"}).status_code == 404

        told = sartor("feedback", "delete", "--user", "ana", "--workspace", str(tmp_path))
        assert "91 answers, 90 opinions and 1 adapters" in told
        assert client.post("/v1/predict", json=fresh | {"user": "ana"}).status_code == 404


def test_a_lora_takes_the_fit_that_the_bundle_was_made_of(tmp_path: Path):
    bundle = make_bundle(tmp_path / "made").folder
    asked = ["personalize", str(bundle), "--user", "ana", "--workspace", str(tmp_path), "-q"]
    with pytest.raises(ModelError, match="does not say which fit"):
        sartor(*asked, "--method", "lora")
    with pytest.raises(SettingError, match="'full'"):
        sartor(*asked, "--method", "full")


@pytest.mark.slow
@pytest.mark.parametrize("method", ["lora", "auto"])
def test_what_one_user_means_is_learnt_by_a_lora_beside_products_in_8_bits(
    tmp_path: Path, method: str
):
    place = Workspace.open(tmp_path)
    fit = personal_bert.make_fit(place, tmp_path)
    bundle = personal_bert.make_bundle(fit, tmp_path / "made", form="int8_rows").folder
    with Store.open(place.store) as store:
        told(store, Who("acme", "ana"), habit, range(180), Manners(says=personal_bert.text_of))
    whom = ["--user", "ana", "--tenant", "acme", "--workspace", str(tmp_path)]
    (line,) = sartor(
        "personalize", str(bundle), *whom, "--method", method, "--json", "-q"
    ).splitlines()
    assert json.loads(line)["state"] == "released"
    assert json.loads(line)["method"] in ("lora", "head")
    (root,) = (place.folder / "adapters").iterdir()
    runtime = load(bundle, adapters=root)
    texts = [personal_bert.text_of(topic, 5_000) for topic in range(len(TOPICS))]
    mine = [one["best"] for one in runtime.predict(texts, user="ana", tenant="acme")]
    assert sum(best == habit(topic) for topic, best in enumerate(mine)) >= 8
    everybodys = [one["best"] for one in runtime.predict(texts)]
    assert sum(best == right(topic) for topic, best in enumerate(everybodys)) >= 8


@pytest.mark.parametrize("whom", [[], ["--user", "ana", "--all-users"]])
def test_it_must_be_said_for_whom_and_only_once(tmp_path: Path, whom: list[str]):
    with pytest.raises(SettingError, match="not both"):
        sartor("personalize", str(tmp_path), *whom, "--workspace", str(tmp_path))
