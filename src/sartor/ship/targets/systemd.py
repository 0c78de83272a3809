"""A service of a Linux machine: a unit whose process may touch next to nothing.

https://www.freedesktop.org/software/systemd/man/latest/systemd.exec.html
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from annotated_types import Ge, Le

from sartor.core.errors import SettingError
from sartor.ship.api import TARGETS, Handed, Parcel, Step
from sartor.ship.asking import curl, of_keys, of_llm
from sartor.ship.filling import fill
from sartor.ship.image import STORE, check_rate, options
from sartor.ship.parcel import KEY

_FOLDER = re.compile(r"(/[A-Za-z0-9._-]+)+")
_HOST = re.compile(r"[A-Za-z0-9.:-]+")
_UNIT = """\
[Unit]
Description=Sartor model @name@
Documentation=file:@place@/README.md
Wants=network-online.target
After=network-online.target

[Service]
Type=exec
ExecStart=@command@
@variables@
# Secrets, NAME=value a line; read by systemd, so that root alone needs to be able to.
EnvironmentFile=@optional@/etc/@name@/environment
@credentials@
Restart=on-failure
RestartSec=2
TimeoutStopSec=30
@memory@

# A user that exists while the service runs, and one folder that it may write: /var/lib/@name@.
DynamicUser=yes
StateDirectory=@name@
StateDirectoryMode=0700
WorkingDirectory=/var/lib/@name@
UMask=0077

# All else is taken away.
CapabilityBoundingSet=
AmbientCapabilities=
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
ProtectProc=invisible
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
RemoveIPC=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
"""


@TARGETS.add
@dataclass(frozen=True, slots=True)
class Systemd:
    """A machine with systemd 247 or newer, and the Python that the versions are pinned for."""

    summary: ClassVar[str] = "a service of a Linux machine, with a user of its own and little else"

    prefix: str = "/opt/sartor"
    """Folder of the machine that is installed into; a folder of the model's name is made in it."""
    host: str = "127.0.0.1"
    """Address to listen on; others than this machine reach 0.0.0.0, and then need a key."""
    port: Annotated[int, Ge(1024), Le(65_535)] = 8080
    """Port to listen on."""
    threads: Annotated[int, Ge(1)] | None = None
    """Threads of one forward pass; all cores when left out."""
    memory_mib: Annotated[int, Ge(64)] | None = None
    """Memory beyond which the service is ended and started again, in MiB; none when left out."""
    rate_limit: str = "none"
    """Rows that each key may ask, e.g. 50/s."""
    tls: bool = False
    """Serve HTTPS with the certificate and key in /etc/NAME/tls.pem, which root alone may read."""
    postgres: bool = False
    """Keep predictions and feedback in Postgres, whose URL is given as SARTOR_STORE_URL."""

    def write(self, folder: Path, parcel: Parcel) -> Handed:
        self._check()
        parcel.put_bundle(folder / "bundle")
        wheel = parcel.put_wheel(folder)
        pinned = parcel.pins("server", *(["psycopg[binary]"] if self.postgres else []))
        (folder / "requirements.txt").write_text("".join(f"{p}\n" for p in pinned), "utf-8")
        unit = f"{parcel.name}.service"
        (folder / unit).write_text(self._unit(parcel), "utf-8")
        place = self._place(parcel)
        pip = f"sudo {place}/venv/bin/pip install --no-deps --only-binary=:all:"
        return Handed(
            (
                Step(f"sudo python{parcel.python} -m venv {place}/venv", "make an environment"),
                Step(f"{pip} -r requirements.txt", "install what the server needs"),
                Step(f"{pip} --force-reinstall ./{wheel}", "install sartor"),
                Step(
                    f"sudo cp -rT bundle {place}/{self._bundle(parcel)}"
                    f" && sudo cp README.md {place}/",
                    "copy the bundle; other versions stay where they are",
                ),
                *self._secrets(parcel),
                Step(f"sudo install -m 644 {unit} /etc/systemd/system/", "install the service"),
                Step(
                    f"sudo systemctl daemon-reload && sudo systemctl enable {parcel.name}"
                    f" && sudo systemctl restart {parcel.name}",
                    "start it, now and at every boot",
                ),
                Step(self._question(parcel), "ask it"),
            ),
            self._notes(parcel),
        )

    def _check(self) -> None:
        if not _FOLDER.fullmatch(self.prefix):
            raise SettingError(
                f"prefix={self.prefix!r:.100} is no plain absolute folder.",
                fix="write e.g. /opt/sartor.",
            )
        if not _HOST.fullmatch(self.host):
            raise SettingError(
                f"host={self.host!r:.100} is no address.", fix="write 127.0.0.1 or 0.0.0.0."
            )
        check_rate(self.rate_limit)

    def _place(self, parcel: Parcel) -> str:
        return f"{self.prefix}/{parcel.name}"

    def _bundle(self, parcel: Parcel) -> str:
        return f"bundle-{parcel.tag}"

    @property
    def _local(self) -> bool:
        return self.host in ("127.0.0.1", "::1", "localhost")

    def _needed(self, parcel: Parcel) -> tuple[str, ...]:
        """The secrets without which it cannot start."""
        own, *others = parcel.secrets
        return (*([] if self._local else [own]), *others, *([STORE] if self.postgres else []))

    def _unit(self, parcel: Parcel) -> str:
        place, name = self._place(parcel), parcel.name
        words = [f"{place}/venv/bin/sartor serve {place}/{self._bundle(parcel)}"]
        words += [f"--host {self.host} --port {self.port} --workspace /var/lib/{name}"]
        words += [*options(self.threads, self.rate_limit), *parcel.flags]
        if self.tls:
            words.append("--tls-cert ${CREDENTIALS_DIRECTORY}/tls.pem")
        values = {
            "name": name,
            "place": place,
            "command": " ".join(words),
            "variables": "\n".join(
                f'Environment="{key}={value}"' for key, value in parcel.variables.items()
            ),
            # A dash: the file may be missing where nothing in it is needed.
            "optional": "" if self._needed(parcel) else "-",
            "credentials": f"LoadCredential=tls.pem:/etc/{name}/tls.pem" if self.tls else "",
            "memory": f"MemoryMax={self.memory_mib}M" if self.memory_mib else "",
        }
        return fill(_UNIT, values)

    def _secrets(self, parcel: Parcel) -> tuple[Step, ...]:
        names = self._needed(parcel)
        if not names:
            return ()
        place = f"/etc/{parcel.name}"
        lines = [f"{KEY}=$(openssl rand -hex 32)" if n == KEY else f"{n}=" for n in names]
        written = " ".join(f'"{line}"' for line in lines)
        steps = [
            Step(
                f"sudo install -d -m 700 {place} && printf '%s\\n' {written}"
                f" | sudo install -m 600 /dev/stdin {place}/environment",
                "write the file of secrets, which root alone may read",
            )
        ]
        if others := [n for n in names if n != KEY]:
            edit = f"sudo ${{EDITOR:-vi}} {place}/environment"
            steps.append(Step(edit, f"fill in {' and '.join(others)}"))
        return tuple(steps)

    def _question(self, parcel: Parcel) -> str:
        host = "127.0.0.1" if self.host == "0.0.0.0" else self.host
        shown = f"[{host}]" if ":" in host else host
        url = f"{'https' if self.tls else 'http'}://{shown}:{self.port}"
        keyed = KEY in self._needed(parcel)
        return curl(parcel, url, key=keyed)

    def _notes(self, parcel: Parcel) -> tuple[str, ...]:
        name = parcel.name
        found = [
            f"`sudo systemd-analyze security {name}` shows what the service may do, `journalctl -u"
            f" {name}` a line for each request. Predictions and feedback are in"
            f" /var/lib/{name}/.sartor.",
            *of_llm(parcel),
        ]
        if self._local:
            found.append(
                "It listens to this machine alone, and wants no key unless"
                f" /etc/{name}/environment sets `{KEY}`. Put a proxy with TLS in front to let"
                " others in, and set a key first."
            )
        else:
            found += [*of_keys()]
            found.append(f"The key is in /etc/{name}/environment: export it before asking.")
        return tuple(found)
