"""A container image: a Dockerfile with all that it copies, and a compose file that runs it safely.

https://docs.docker.com/reference/dockerfile/
"""

from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, ClassVar

from annotated_types import Ge, Le

from sartor.core.errors import SettingError
from sartor.ship.api import TARGETS, Handed, Parcel, Step
from sartor.ship.asking import curl, new_key, of_keys, of_llm
from sartor.ship.image import Image
from sartor.ship.yaml import to_yaml


@TARGETS.add
@dataclass(frozen=True, slots=True)
class Docker:
    """Any machine that runs containers."""

    summary: ClassVar[str] = "a container image, and a compose file that runs it"

    base: str = ""
    """Image to build on; empty takes the slim Python that the versions are pinned for."""
    port: Annotated[int, Ge(1024), Le(65_535)] = 8080
    """Where the server listens inside the container, unless $PORT says otherwise."""
    publish: str = "127.0.0.1"
    """Address of this machine on which the port is published; 0.0.0.0 lets others in."""
    threads: Annotated[int, Ge(1)] | None = None
    """Threads of one forward pass; all cores that the container may use when left out."""
    memory_mib: Annotated[int, Ge(64)] | None = None
    """Memory the container may take, in MiB; no limit when left out."""
    rate_limit: str = "none"
    """Rows that each key may ask, e.g. 50/s."""
    postgres: bool = False
    """Keep predictions and feedback in Postgres, whose URL is given as SARTOR_STORE_URL."""

    def write(self, folder: Path, parcel: Parcel) -> Handed:
        self._check()
        image = Image(self.base, self.port, self.threads, self.rate_limit, self.postgres)
        image.write(folder, parcel)
        secrets = image.secrets(parcel)
        (folder / "compose.yaml").write_text(self._compose(parcel, secrets), "utf-8")
        name, tag, data = parcel.name, f"{parcel.name}:{parcel.tag}", f"{parcel.name}-data"
        run = [
            f"docker run --detach --name {name} --read-only --tmpfs /tmp",
            "--cap-drop ALL --security-opt no-new-privileges --stop-timeout 30",
            *([f"--memory {self.memory_mib}m"] if self.memory_mib else []),
            *(f"--env {secret}" for secret in secrets),
            f"--volume {data}:/data --publish {self._published()} {tag}",
        ]
        here = f"http://{self._reached()}:{self.port}"
        return Handed(
            (
                Step(f"docker build --tag {tag} .", "build the image"),
                *new_key(secrets),
                Step(" ".join(run), "run it; `docker compose up --detach` does the same"),
                Step(curl(parcel, here), "ask it, once `docker ps` says healthy"),
            ),
            (
                *of_keys(),
                *of_llm(parcel),
                "Predictions and feedback are in the volume"
                f" `{data}`" + (" only where no Postgres is given." if self.postgres else "."),
                "The server speaks plain HTTP: put a proxy with TLS in front before others use it.",
            ),
        )

    def _check(self) -> None:
        try:
            ip_address(self.publish)
        except ValueError:
            raise SettingError(
                f"publish={self.publish!r:.100} is no address.", fix="write 127.0.0.1 or 0.0.0.0."
            ) from None

    def _published(self) -> str:
        host = f"[{self.publish}]" if ":" in self.publish else self.publish
        return f"{host}:{self.port}:{self.port}"

    def _reached(self) -> str:
        """Under which address this machine itself finds it."""
        address = ip_address(self.publish)
        if address.is_unspecified:
            return "127.0.0.1" if address.version == 4 else "[::1]"
        return f"[{address}]" if address.version == 6 else str(address)

    def _compose(self, parcel: Parcel, secrets: tuple[str, ...]) -> str:
        needed = {name: f"${{{name}:?set it, e.g. in the shell}}" for name in secrets}
        service: dict[str, object] = {
            "build": ".",
            "image": f"{parcel.name}:{parcel.tag}",
            "environment": needed,
            "ports": [self._published()],
            "volumes": ["data:/data"],
            "read_only": True,
            "tmpfs": ["/tmp"],
            "cap_drop": ["ALL"],
            "security_opt": ["no-new-privileges:true"],
            "stop_grace_period": "30s",
            "restart": "unless-stopped",
        }
        if self.memory_mib:
            service["mem_limit"] = f"{self.memory_mib}m"
        found = {"name": parcel.name, "services": {"model": service}, "volumes": {"data": None}}
        return to_yaml([found], "Secrets come from the environment; none is written here.")
