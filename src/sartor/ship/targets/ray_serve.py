"""Ray Serve: replicas of our HTTP application on a Ray cluster, behind Ray's proxies.

Each replica holds the bundle and batches what reaches it (`serve.batcher`), so Ray's own batching
is not used. https://docs.ray.io/en/latest/serve/production-guide/config.html
"""

from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, ClassVar

from annotated_types import Ge, Le

from sartor.core.errors import SettingError
from sartor.ship.api import TARGETS, Handed, Parcel, Step
from sartor.ship.asking import curl, new_key, of_llm
from sartor.ship.filling import fill
from sartor.ship.image import STORE
from sartor.ship.parcel import KEY
from sartor.ship.yaml import to_yaml

_APPLICATION = '''\
"""The bundle as an application of Ray Serve: `serve run config.yaml`."""

import asyncio
import os
from functools import lru_cache
from pathlib import Path

from ray import serve

from sartor.serve.app import create_app
from sartor.serve.runtime import Runtime, open_runtime
from sartor.serve.settings import ServeSettings


@lru_cache(maxsize=1)
def settings() -> ServeSettings:
    """Where Ray's proxies listen decides whether there must be a key."""
    return ServeSettings(
        bundle=str(Path(__file__).parent / "bundle"),
        host="@host@",
        threads=@threads@,
        unreleased=@unreleased@,
        key=os.environ.get("SARTOR_API_KEY") or None,
        store=os.environ.get("@store@") or None,
    )


@lru_cache(maxsize=1)
def runtime() -> Runtime:
    """The bundle, verified, loaded and warm; once a replica."""
    return open_runtime(settings())


def build():
    """What a replica serves; made there, since a loaded graph does not travel."""
    return create_app(settings(), runtime())


@serve.deployment
@serve.ingress(build)
class Sartor:
    """Answers HTTP as `sartor serve` does."""

    async def check_health(self) -> None:
        """A replica that cannot answer a row is replaced by Ray."""
        await asyncio.to_thread(runtime().try_out)


app = Sartor.bind()
'''


@TARGETS.add
@dataclass(frozen=True, slots=True)
class RayServe:
    """Serves the HTTP API from as many replicas as the load asks for."""

    summary: ClassVar[str] = "Ray Serve, replicas on a Ray cluster of yours"

    replicas: Annotated[int, Ge(1), Le(1_000)] = 2
    """Replicas that always run."""
    most: Annotated[int, Ge(1), Le(1_000)] = 4
    """Replicas at most, when more is asked."""
    load: Annotated[int, Ge(1), Le(1_000)] = 8
    """Requests in progress in each replica that Ray aims at; more start further replicas."""
    threads: Annotated[int, Ge(1), Le(64)] = 1
    """Threads of one forward pass, and cores that Ray sets aside for a replica."""
    host: str = "127.0.0.1"
    """Address that Ray's proxies listen on; anything but loopback needs SARTOR_API_KEY."""
    port: Annotated[int, Ge(1), Le(65_535)] = 8_000
    """Port that Ray's proxies listen on."""
    postgres: bool = False
    """Keep predictions and feedback in the Postgres database that SARTOR_STORE_URL names."""

    def write(self, folder: Path, parcel: Parcel) -> Handed:
        if self.most < self.replicas:
            raise SettingError(
                f"most={self.most} is less than replicas={self.replicas}.",
                fix=f"set most to at least {self.replicas}.",
            )
        secrets = self._secrets(parcel)
        parcel.put_bundle(folder / "bundle")
        wheel = parcel.put_wheel(folder)
        more = ["psycopg[binary]"] if self.postgres else []
        pinned = parcel.pins("server", "ray", *more)
        # What Ray Serve needs besides is Ray's to say.
        lines = [p.replace("ray==", "ray[serve]==") if p.startswith("ray==") else p for p in pinned]
        lines.append(f"./{wheel}")
        (folder / "requirements.txt").write_text("".join(f"{p}\n" for p in lines), "utf-8")
        blanks = {
            "host": self.host,
            "threads": self.threads,
            "unreleased": bool(parcel.flags),
            "store": STORE,
        }
        (folder / "application.py").write_text(fill(_APPLICATION, blanks), "utf-8")
        (folder / "config.yaml").write_text(self._config(parcel), "utf-8")
        return self._handed(parcel, secrets)

    def _config(self, parcel: Parcel) -> str:
        deployment: dict[str, Any] = {
            "name": "Sartor",
            # What waits in a replica is batched; what waits in a proxy is not.
            "max_ongoing_requests": max(100, 2 * self.load),
            "autoscaling_config": {
                "min_replicas": self.replicas,
                "max_replicas": self.most,
                "target_ongoing_requests": self.load,
            },
            "ray_actor_options": {"num_cpus": self.threads},
            "health_check_period_s": 10,
            "health_check_timeout_s": 30,
            "graceful_shutdown_timeout_s": 20,
        }
        application: dict[str, Any] = {
            "name": parcel.name,
            "route_prefix": "/",
            "import_path": "application:app",
        }
        if parcel.variables:
            application["runtime_env"] = {"env_vars": dict(parcel.variables)}
        application["deployments"] = [deployment]
        document = {
            "proxy_location": "EveryNode",
            "http_options": {"host": self.host, "port": self.port},
            "applications": [application],
        }
        return to_yaml([document], f"{parcel.name} on Ray Serve.")

    def _handed(self, parcel: Parcel, secrets: tuple[str, ...]) -> Handed:
        here = f"http://127.0.0.1:{self.port}"
        steps = (
            *new_key(secrets),
            Step("pip install -r requirements.txt", "on every node of the cluster"),
            Step("serve run config.yaml", "on one machine: start Ray, and answer until Ctrl-C"),
            Step(
                "serve deploy config.yaml",
                "on a cluster, where every node has this folder in its PYTHONPATH",
            ),
            Step(curl(parcel, here, key=KEY in secrets), "ask it"),
        )
        notes = [
            f"Nodes run Python {parcel.python}, the one that the versions are for.",
            "Ray's proxies speak plain HTTP: put a proxy with TLS in front before others use it.",
        ]
        if secrets:
            notes.append(f"Replicas read {', '.join(secrets)} from the environment of their node.")
        if not self.postgres:
            notes.append("No feedback is kept: --set postgres=true keeps it in a database.")
        return Handed(steps, (*notes, *of_llm(parcel)))

    def _secrets(self, parcel: Parcel) -> tuple[str, ...]:
        """Names of the variables that replicas must be given.

        Raises:
            SettingError: If `host` is no address.
        """
        try:
            inside = ip_address(self.host).is_loopback
        except ValueError:
            raise SettingError(
                f"host={self.host!r:.100} is no address.", fix="write 127.0.0.1 or 0.0.0.0."
            ) from None
        own = tuple(name for name in parcel.secrets if name != KEY or not inside)
        return (*own, *([STORE] if self.postgres else []))
