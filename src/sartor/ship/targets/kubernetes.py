"""A Kubernetes deployment that scales and is replaced without a gap; or KServe, with one file more.

https://kubernetes.io/docs/concepts/security/pod-security-standards/ (restricted), and
https://kserve.github.io/website/ for the ServingRuntime, which speaks the Open Inference Protocol.
"""

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

from annotated_types import Ge, Le

from sartor.core.errors import SettingError
from sartor.ship.api import TARGETS, Handed, Parcel, Step
from sartor.ship.asking import curl, new_key, of_keys, of_llm
from sartor.ship.image import USER, Image
from sartor.ship.yaml import to_yaml

_IMAGE = re.compile(r"[a-z0-9][A-Za-z0-9._/:@-]{0,299}")
_EMPTY_MIB, _COPIES = 192, 3
"""A server of next to no model takes 110 MiB, one of 100 to 230 MB up to 1.5 times its size beside
that, as `serve.using` measures; a second session of the same graph takes as much again."""
_STEP_MIB = 64


@TARGETS.add
@dataclass(frozen=True, slots=True)
class Kubernetes:
    """A cluster of version 1.23 or newer; KServe 0.11 or newer for its file."""

    summary: ClassVar[str] = "a Kubernetes deployment that scales, and a KServe service beside it"

    image: str = ""
    """Name under which the cluster pulls the image, e.g. registry.example.org/team/tickets:7."""
    min_replicas: Annotated[int, Ge(1), Le(1000)] = 2
    """Pods that run when nobody asks."""
    max_replicas: Annotated[int, Ge(1), Le(1000)] = 6
    """Pods that run when many ask."""
    target_cpu: Annotated[int, Ge(10), Le(95)] = 70
    """Percent of the requested processors, on average, above which pods are added."""
    cpus: Annotated[int, Ge(1), Le(256)] = 1
    """Processors that a pod asks for; a forward pass has as many threads."""
    memory_mib: Annotated[int, Ge(64)] | None = None
    """Memory of a pod, in MiB, best as `sartor cost` measured; estimated when left out."""
    rate_limit: str = "none"
    """Rows that each key may ask of each pod, e.g. 50/s."""
    postgres: bool = False
    """Keep predictions and feedback in Postgres, whose URL is given as SARTOR_STORE_URL."""
    network_policy: bool = True
    """Let a pod take connections on its port only, and open none unless the bundle needs to."""
    base: str = ""
    """Image to build on; empty takes the slim Python that the versions are pinned for."""
    port: Annotated[int, Ge(1024), Le(65_535)] = 8080
    """Port of the container; the service has port 80."""

    def write(self, folder: Path, parcel: Parcel) -> Handed:
        self._check()
        (folder / "image").mkdir()
        image = Image(self.base, self.port, self.cpus, self.rate_limit, self.postgres)
        image.write(folder / "image", parcel)
        secrets = image.secrets(parcel)
        heading = f"The bundle {parcel.tag}. Secrets come from the secret {parcel.name}-secrets."
        plain = [self._deployment(parcel, secrets), self._service(parcel)]
        plain += [self._scaler(parcel), self._budget(parcel)]
        plain += [self._policy(parcel)] if self.network_policy else []
        (folder / "kubernetes.yaml").write_text(to_yaml(plain, heading), "utf-8")
        kserve = [self._runtime(parcel, secrets), self._inference_service(parcel)]
        (folder / "kserve.yaml").write_text(to_yaml(kserve, heading), "utf-8")
        return Handed(self._steps(parcel, secrets), self._notes(parcel))

    def _check(self) -> None:
        if self.image and not _IMAGE.fullmatch(self.image):
            raise SettingError(
                f"image={self.image!r:.100} is no name of an image.",
                fix="write e.g. registry.example.org/team/tickets:7.",
            )
        if self.max_replicas < self.min_replicas:
            raise SettingError(
                f"max_replicas is {self.max_replicas} and min_replicas {self.min_replicas}.",
                fix="raise max_replicas, or lower min_replicas.",
            )

    def _image(self, parcel: Parcel) -> str:
        return self.image or f"{parcel.name}:{parcel.tag}"

    def _steps(self, parcel: Parcel, secrets: tuple[str, ...]) -> tuple[Step, ...]:
        image, name = self._image(parcel), parcel.name
        values = " ".join(f'--from-literal={secret}="${secret}"' for secret in secrets)
        return (
            Step(f"docker build --tag {image} image", "build the image"),
            Step(f"docker push {image}", "bring it where the cluster pulls from"),
            *new_key(secrets),
            Step(f"kubectl create secret generic {name}-secrets {values}", "hand the secrets over"),
            Step("kubectl apply --filename kubernetes.yaml", "start it"),
            Step(f"kubectl rollout status deployment/{name}", "wait until it answers"),
            Step(
                f"kubectl port-forward service/{name} {self.port}:80 >/dev/null & sleep 3",
                "reach it from here",
            ),
            Step(curl(parcel, f"http://127.0.0.1:{self.port}"), "ask it"),
        )

    def _notes(self, parcel: Parcel) -> tuple[str, ...]:
        found = [
            "With KServe, apply kserve.yaml in place of kubernetes.yaml: it speaks the Open"
            " Inference Protocol, version 2.",
            *of_keys(),
            *of_llm(parcel),
        ]
        if not self.image:
            found.append(
                f"The image is called {self._image(parcel)}, which no cluster can pull: ship with"
                " `--set image=REGISTRY/NAME:TAG`."
            )
        if self.memory_mib is None:
            found.append(
                f"The {self._memory(parcel)} MiB of a pod are an estimate from the bundle's size."
                " `sartor cost BUNDLE` measures; set memory_mib to what it says with eight asking"
                " at once, and a fifth more."
            )
        if not self.postgres:
            found.append(
                "Each pod keeps its own predictions, and loses them with its end: feedback finds an"
                " answer only in the pod that gave it, and keys added with `sartor keys add` are"
                " not there. Set postgres=true where feedback matters."
            )
        if self.network_policy and not self._needs_network(parcel):
            found.append(
                "The network policy lets a pod open no connection: this bundle needs none."
            )
        return tuple(found)

    def _memory(self, parcel: Parcel) -> int:
        """MiB of a pod."""
        if self.memory_mib is not None:
            return self.memory_mib
        found = _EMPTY_MIB + _COPIES * parcel.size_mib
        return _STEP_MIB * math.ceil(found / _STEP_MIB)

    def _needs_network(self, parcel: Parcel) -> bool:
        return self.postgres or parcel.asks is not None

    def _container(self, parcel: Parcel, secrets: tuple[str, ...]) -> dict[str, Any]:
        memory = f"{self._memory(parcel)}Mi"
        # PORT is the image's: Knative allows nobody else to set it.
        env: list[dict[str, Any]] = [
            {"name": key, "value": value} for key, value in parcel.variables.items()
        ]
        for secret in secrets:
            place = {"name": f"{parcel.name}-secrets", "key": secret}
            env.append({"name": secret, "valueFrom": {"secretKeyRef": place}})
        return {
            "image": self._image(parcel),
            "env": env,
            # No limit of the processor: it would stop answers midway; a pass has few threads.
            "resources": {
                "requests": {"cpu": str(self.cpus), "memory": memory},
                "limits": {"memory": memory},
            },
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": USER,
                "readOnlyRootFilesystem": True,
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "volumeMounts": [
                {"name": "data", "mountPath": "/data"},
                {"name": "tmp", "mountPath": "/tmp"},
            ],
            "livenessProbe": self._probe("/healthz", 10, 3),
            "readinessProbe": self._probe("/readyz", 5, 2),
        }

    def _probe(self, path: str, seconds: int, failures: int) -> dict[str, Any]:
        return {
            "httpGet": {"path": path, "port": self.port},
            "periodSeconds": seconds,
            "timeoutSeconds": 3,
            "failureThreshold": failures,
        }

    def _deployment(self, parcel: Parcel, secrets: tuple[str, ...]) -> dict[str, Any]:
        container = {
            "name": "model",
            **self._container(parcel, secrets),
            "ports": [{"name": "http", "containerPort": self.port}],
            "startupProbe": self._probe("/readyz", 2, 60),
            # Balancers go on sending for a moment after a pod was told to stop.
            "lifecycle": {"preStop": {"exec": {"command": ["sleep", "5"]}}},
        }
        spread = {
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": _selector(parcel)},
        }
        pod = {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 40,
            "securityContext": {"fsGroup": USER},
            "topologySpreadConstraints": [spread],
            "containers": [container],
            "volumes": _volumes(),
        }
        return {
            **_head("apps/v1", "Deployment", parcel),
            "spec": {
                # How many there are is the autoscaler's to say.
                "selector": {"matchLabels": _selector(parcel)},
                "strategy": {
                    "type": "RollingUpdate",
                    "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
                },
                "template": {"metadata": {"labels": _labels(parcel)}, "spec": pod},
            },
        }

    def _service(self, parcel: Parcel) -> dict[str, Any]:
        ports = [{"name": "http", "port": 80, "targetPort": "http"}]
        spec = {"selector": _selector(parcel), "ports": ports}
        return {**_head("v1", "Service", parcel), "spec": spec}

    def _scaler(self, parcel: Parcel) -> dict[str, Any]:
        target = {"type": "Utilization", "averageUtilization": self.target_cpu}
        spec = {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": parcel.name},
            "minReplicas": self.min_replicas,
            "maxReplicas": self.max_replicas,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
        }
        return {**_head("autoscaling/v2", "HorizontalPodAutoscaler", parcel), "spec": spec}

    def _budget(self, parcel: Parcel) -> dict[str, Any]:
        # Not minAvailable: with one pod that would keep its node from ever being drained.
        spec = {"maxUnavailable": 1, "selector": {"matchLabels": _selector(parcel)}}
        return {**_head("policy/v1", "PodDisruptionBudget", parcel), "spec": spec}

    def _policy(self, parcel: Parcel) -> dict[str, Any]:
        spec: dict[str, Any] = {
            "podSelector": {"matchLabels": _selector(parcel)},
            "policyTypes": ["Ingress"],
            "ingress": [{"ports": [{"protocol": "TCP", "port": self.port}]}],
        }
        if not self._needs_network(parcel):
            spec["policyTypes"] = ["Ingress", "Egress"]
            spec["egress"] = []
        return {**_head("networking.k8s.io/v1", "NetworkPolicy", parcel), "spec": spec}

    def _runtime(self, parcel: Parcel, secrets: tuple[str, ...]) -> dict[str, Any]:
        container = {
            "name": "kserve-container",
            **self._container(parcel, secrets),
            "ports": [{"name": "http1", "containerPort": self.port, "protocol": "TCP"}],
        }
        spec = {
            "supportedModelFormats": [{"name": "sartor", "version": "1"}],
            "protocolVersions": ["v2"],
            "multiModel": False,
            "containers": [container],
            "volumes": _volumes(),
        }
        return {**_head("serving.kserve.io/v1alpha1", "ServingRuntime", parcel), "spec": spec}

    def _inference_service(self, parcel: Parcel) -> dict[str, Any]:
        # No storageUri: the bundle is in the image, where its hashes are checked at every start.
        model = {
            "modelFormat": {"name": "sartor", "version": "1"},
            "protocolVersion": "v2",
            "runtime": parcel.name,
        }
        predictor = {
            "minReplicas": self.min_replicas,
            "maxReplicas": self.max_replicas,
            "model": model,
        }
        head = _head("serving.kserve.io/v1beta1", "InferenceService", parcel)
        return {**head, "spec": {"predictor": predictor}}


def _head(version: str, kind: str, parcel: Parcel) -> dict[str, Any]:
    metadata = {"name": parcel.name, "labels": _labels(parcel)}
    return {"apiVersion": version, "kind": kind, "metadata": metadata}


def _selector(parcel: Parcel) -> dict[str, str]:
    return {"app.kubernetes.io/name": parcel.name}


def _labels(parcel: Parcel) -> dict[str, str]:
    more = {"app.kubernetes.io/version": parcel.tag, "app.kubernetes.io/managed-by": "sartor"}
    return {**_selector(parcel), **more}


def _volumes() -> list[dict[str, Any]]:
    return [{"name": "data", "emptyDir": {}}, {"name": "tmp", "emptyDir": {}}]
