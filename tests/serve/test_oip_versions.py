"""The Open Inference Protocol over versions side by side: each can be asked by its id."""

from pathlib import Path

import pytest

from sartor.serve import following
from sartor.serve.deploying import deploy
from tests.serve.conftest import Serving
from tests.serve.deployed import deployment, metric, until_served, version

TENSOR = {"name": "text", "shape": [1], "datatype": "BYTES", "data": ["money back"]}


def test_a_canary_is_asked_by_its_version_and_counted_as_its_own(
    serving: Serving, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(following, "_LOOK_S", 0.01)
    live, canary = (version(tmp_path, number) for number in range(2))
    place = deployment(tmp_path)
    deploy(place, live.folder)
    with serving(deployment=str(place.folder)) as running:
        until_served(running, deploy(place, canary.folder, canary=1).number)
        told = running.client.get("/v2/models/tickets").json()
        assert told["versions"] == [live.manifest.id, canary.manifest.id]
        for bundle in (live, canary, canary):
            path = f"/v2/models/tickets/versions/{bundle.manifest.id}/infer"
            found = running.client.post(path, json={"inputs": [TENSOR]}).json()
            assert found["model_version"] == bundle.manifest.id
        counted = {"model": canary.manifest.id, "end": "answered"}
        assert metric(running.client, "sartor_model_requests_total", **counted) == 2
        assert metric(running.client, "sartor_batch_rows_count") == 3, "batches of both are told"
        gone = running.client.post(
            "/v2/models/tickets/versions/none/infer", json={"inputs": [TENSOR]}
        )
        assert gone.status_code == 404
        assert "no version" in gone.json()["error"]
