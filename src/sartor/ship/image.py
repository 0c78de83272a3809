"""What a container image is built from: a Dockerfile, and beside it all that it copies.

What changes seldom is installed first, so that a new bundle reinstalls nothing; the image's user
may write nowhere but to `/data`; the server is the process that gets the signals.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from sartor.core.errors import SettingError
from sartor.core.grants import Rate
from sartor.ship.api import Parcel
from sartor.ship.filling import fill

USER = 10001
STORE = "SARTOR_STORE_URL"
"""Environment variable with the URL of a Postgres database, which holds a password."""
_BASE = re.compile(r"[a-z0-9][A-Za-z0-9._/:@-]{0,299}")
_RATE = re.compile(r"[0-9a-z/]+")

_DOCKERFILE = """\
FROM @base@

# What changes seldom comes first: a new bundle reinstalls nothing.
WORKDIR /opt/sartor
COPY requirements.txt ./
RUN pip install --no-cache-dir --no-deps --only-binary=:all: -r requirements.txt
COPY @wheel@ ./
RUN pip install --no-cache-dir --no-deps ./@wheel@
RUN mkdir /data && chown @user@:@user@ /data
COPY bundle ./bundle

# Predictions and feedback are kept in /data; nothing else is written.
VOLUME /data
USER @user@:@user@
ENV PORT=@port@ \\
    PYTHONDONTWRITEBYTECODE=1 \\
    PYTHONUNBUFFERED=1
@variables@
EXPOSE @port@
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD @healthy@
# The shell only reads $PORT: exec makes the server the process that SIGTERM reaches.
CMD @command@
"""
_IGNORED = """\
# What the image does not hold.
*
!requirements.txt
!*.whl
!bundle
"""
_HEALTHY = (
    "import os, urllib.request as r;"
    " r.urlopen('http://127.0.0.1:' + os.environ['PORT'] + '/readyz', timeout=4)"
)


@dataclass(frozen=True, slots=True)
class Image:
    """How an image serves.

    Args:
        base: Image to build on; "" for the slim one of the Python that the pins are for.
        port: Where it listens unless $PORT says otherwise.
        threads: Of one forward pass; None for all cores that the container may use.
        rate_limit: As `sartor serve --rate-limit`.
        postgres: Whether the store may be a Postgres database.
    """

    base: str = ""
    port: int = 8080
    threads: int | None = None
    rate_limit: str = "none"
    postgres: bool = False

    def __post_init__(self) -> None:
        if self.base and not _BASE.fullmatch(self.base):
            raise SettingError(
                f"base={self.base!r:.100} is no name of an image.",
                fix="write e.g. python:3.11-slim, or python@sha256:… for builds that repeat.",
            )
        check_rate(self.rate_limit)

    def secrets(self, parcel: Parcel) -> tuple[str, ...]:
        """Names of the environment variables that the container must be given."""
        return (*parcel.secrets, *([STORE] if self.postgres else []))

    def write(self, folder: Path, parcel: Parcel) -> None:
        """Write Dockerfile, requirements, wheel and bundle into `folder`."""
        parcel.put_bundle(folder / "bundle")
        wheel = parcel.put_wheel(folder)
        pinned = parcel.pins("server", *(["psycopg[binary]"] if self.postgres else []))
        (folder / "requirements.txt").write_text("".join(f"{p}\n" for p in pinned), "utf-8")
        (folder / ".dockerignore").write_text(_IGNORED, "utf-8")
        values = {
            "base": self.base or f"python:{parcel.python}-slim",
            "wheel": wheel,
            "user": USER,
            "port": self.port,
            "variables": "\n".join(f"ENV {k}={json.dumps(v)}" for k, v in parcel.variables.items()),
            "healthy": json.dumps(["python", "-c", _HEALTHY]),
            "command": json.dumps(["sh", "-c", self._command(parcel)]),
        }
        (folder / "Dockerfile").write_text(fill(_DOCKERFILE, values), "utf-8")

    def _command(self, parcel: Parcel) -> str:
        words = ["exec sartor serve /opt/sartor/bundle --host 0.0.0.0", '--port "$PORT"']
        words += ["--workspace /data", *options(self.threads, self.rate_limit), *parcel.flags]
        return " ".join(words)


def options(threads: int | None, rate_limit: str) -> list[str]:
    """Words for `sartor serve` that differ from its defaults."""
    found = ["--log-format", "json"]
    if threads is not None:
        found += ["--threads", str(threads)]
    return found if rate_limit == "none" else [*found, "--rate-limit", rate_limit]


def check_rate(rate_limit: str) -> None:
    """
    Raises:
        SettingError: If it is no rate, or could not stand in a shell's line.
    """
    Rate.parse(rate_limit)
    if not _RATE.fullmatch(rate_limit):
        raise SettingError(f"rate_limit={rate_limit!r:.50} is no rate.", fix="write e.g. 50/s.")
