"""The manifests: they fit one another, the image that is beside them, and the server's routes."""

import json

import pytest
from ruamel.yaml import YAML

from sartor.core.errors import SettingError
from sartor.ship.writing import ship
from tests.serve.conftest import serving
from tests.ship.conftest import instructions

__all__ = ["serving"]


def read(path) -> dict[str, dict]:
    return {document["kind"]: document for document in YAML(typ="safe").load_all(path)}


@pytest.fixture
def shipped(bundle, tmp_path):
    return ship(bundle.folder, "kubernetes", tmp_path / "out").folder


@pytest.fixture
def kinds(shipped):
    return read(shipped / "kubernetes.yaml")


def container_of(kinds) -> dict:
    (found,) = kinds["Deployment"]["spec"]["template"]["spec"]["containers"]
    return found


def test_what_belongs_together_finds_one_another(shipped, kinds):
    assert set(kinds) == {
        *("Deployment", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget"),
        "NetworkPolicy",
    }
    spec = kinds["Deployment"]["spec"]
    labels = spec["template"]["metadata"]["labels"]
    selectors = [
        spec["selector"]["matchLabels"],
        kinds["Service"]["spec"]["selector"],
        kinds["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        kinds["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
    ]
    assert all(labels.items() >= selector.items() for selector in selectors)
    assert all(selectors)
    assert kinds["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]["name"] == "tickets"
    assert "replicas" not in spec, "it would fight with the autoscaler"
    container = container_of(kinds)
    (port,) = container["ports"]
    assert kinds["Service"]["spec"]["ports"][0]["targetPort"] == port["name"]
    exposed = dict(instructions((shipped / "image" / "Dockerfile").read_text()))["EXPOSE"]
    assert port["containerPort"] == int(exposed)
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    pod = spec["template"]["spec"]
    assert mounted == {volume["name"] for volume in pod["volumes"]}


def test_every_probe_is_a_route_that_needs_no_key(kinds, serving):
    container = container_of(kinds)
    probes = [container[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")]

    with serving(host="0.0.0.0", key="k" * 20) as running:
        for probe in probes:
            # As a node asks: by the pod's address, without a key.
            head = {"host": "10.1.2.3:8080"}
            assert running.client.get(probe["path"], headers=head).status_code == 200
        assert running.client.get("/v2/models/tickets").status_code == 401
    assert all(probe["port"] == 8080 for probe in probes)


def test_a_pod_is_as_restricted_as_the_standard_wants(kinds):
    pod = kinds["Deployment"]["spec"]["template"]["spec"]
    allowed = container_of(kinds)["securityContext"]

    assert pod["automountServiceAccountToken"] is False
    assert allowed["runAsNonRoot"] is True
    assert allowed["runAsUser"] > 0
    assert allowed["readOnlyRootFilesystem"] is True
    assert allowed["allowPrivilegeEscalation"] is False
    assert allowed["capabilities"] == {"drop": ["ALL"]}
    assert allowed["seccompProfile"] == {"type": "RuntimeDefault"}


def test_memory_follows_from_the_bundle_unless_it_was_measured(bundle, tmp_path):
    def memory(name: str, **settings: str) -> dict:
        out = ship(bundle.folder, "kubernetes", tmp_path / name, settings).folder
        return container_of(read(out / "kubernetes.yaml"))["resources"]

    estimated, told = memory("a"), memory("b", memory_mib="900", cpus="2")
    assert estimated["requests"]["memory"] == estimated["limits"]["memory"] == "256Mi"
    assert told["requests"] == {"cpu": "2", "memory": "900Mi"}
    assert "--threads 2" in (tmp_path / "b" / "image" / "Dockerfile").read_text()


def test_a_pod_may_open_connections_only_where_the_bundle_needs_one(bundle, tmp_path, kinds):
    assert kinds["NetworkPolicy"]["spec"]["egress"] == []
    out = ship(bundle.folder, "kubernetes", tmp_path / "db", {"postgres": "true"}).folder

    found = read(out / "kubernetes.yaml")
    assert found["NetworkPolicy"]["spec"]["policyTypes"] == ["Ingress"]
    given = [one for one in container_of(found)["env"] if "valueFrom" in one]
    names = {one["name"]: one["valueFrom"]["secretKeyRef"] for one in given}
    assert set(names) == {"SARTOR_API_KEY", "SARTOR_STORE_URL"}
    assert {one["name"] for one in names.values()} == {"tickets-secrets"}


def test_kserve_is_told_the_protocol_that_the_server_speaks(shipped, serving):
    found = read(shipped / "kserve.yaml")
    runtime, service = found["ServingRuntime"]["spec"], found["InferenceService"]["spec"]
    model = service["predictor"]["model"]

    assert model["runtime"] == found["ServingRuntime"]["metadata"]["name"]
    assert model["protocolVersion"] in runtime["protocolVersions"] == ["v2"]
    formats = [(one["name"], one["version"]) for one in runtime["supportedModelFormats"]]
    assert (model["modelFormat"]["name"], model["modelFormat"]["version"]) in formats
    (container,) = runtime["containers"]
    assert container["name"] == "kserve-container"
    assert "PORT" not in {one["name"] for one in container["env"]}, "Knative refuses it"
    with serving() as running:
        assert running.client.get("/v2/health/ready").status_code == 200


@pytest.mark.parametrize(
    "settings",
    [{"min_replicas": "4", "max_replicas": "3"}, {"image": "a b"}, {"target_cpu": "99"}],
)
def test_what_no_cluster_would_take_is_refused(bundle, tmp_path, settings):
    with pytest.raises(SettingError) as caught:
        ship(bundle.folder, "kubernetes", tmp_path / "out", settings)
    assert next(iter(settings)) in str(caught.value)


def test_the_api_s_own_schemas_accept_every_manifest(shipped):
    schemas = pytest.importorskip("kubernetes_validate")
    for document in YAML(typ="safe").load_all(shipped / "kubernetes.yaml"):
        schemas.validate(json.loads(json.dumps(document)), "1.32", strict=True)
