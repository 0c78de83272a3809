"""What a server is told when it starts."""

import ipaddress
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args

from sartor.core.errors import SettingError
from sartor.core.grants import UNLIMITED, Rate

KEY_VARIABLE = "SARTOR_API_KEY"
"""Environment variable that holds a key, so that none has to stand in a command."""
LogFormat = Literal["json", "text", "none"]


@dataclass(frozen=True, slots=True)
class ServeSettings:
    """How a bundle is served."""

    bundle: str = ""
    """Folder of the bundle."""
    host: str = "127.0.0.1"
    """Address to listen on; anything but loopback needs an API key."""
    port: int = 8000
    """Port to listen on; 0 takes any free one."""
    store: str | None = None
    """Path or Postgres URL where predictions and feedback are kept; None keeps nothing."""
    unreleased: bool = False
    """Serve a bundle whose need was not shown to be met."""
    threads: int | None = None
    """Threads of one forward pass; all cores this process may use when None."""
    cache_mb: float | None = None
    """Memory for answers to texts that come again; None keeps nothing."""
    adapters: str | None = None
    """Folder with the adapters of the bundle's users; None answers all alike."""
    adapters_mb: float = 256.0
    """Most memory for adapters; those asked for last stay in it."""
    key: str | None = None
    """A bearer token that opens every route, beside those in the store."""
    allowed_hosts: tuple[str, ...] = ()
    """Names under which browsers may reach this server, beside the loopback ones."""
    allow_llm: tuple[str, ...] = ()
    """URLs of language models that the bundle may send texts to; see `llm.access`."""
    store_texts: bool = False
    """Keep the texts that are sent, so that corrections can be learnt from."""
    retention_days: int = 90
    """Days after which kept texts and comments are deleted."""
    verify_key: str | None = None
    """PEM file of the public key that must have signed a bundle; SARTOR_VERIFY_KEY when None."""
    deployment: str | None = None
    """Folder of a deployment to follow, instead of a bundle."""
    max_body_bytes: int = 1_000_000
    """Longest request body."""
    max_rows: int = 256
    """Most rows in one request."""
    max_text_chars: int = 20_000
    """Longest text, in characters."""
    max_requests: int = 2_000
    """Most requests in progress at once; health and metrics are not counted."""
    max_held_bytes: int = 64_000_000
    """Most bytes of bodies that requests in progress hold together."""
    rate_limit: str = UNLIMITED
    """Rows that each key, or each address where there are no keys, may ask: 50/s, 1000/m, none."""
    max_wait_s: float = 2.0
    """Requests that would wait longer than this are turned away with 503."""
    tls_cert: str | None = None
    """PEM file of a certificate; the server then speaks HTTPS itself."""
    tls_key: str | None = None
    """PEM file of its private key; in the certificate's file when None."""
    log_format: LogFormat = "none"
    """How the line that each request leaves on stderr looks; "none" writes none."""
    stop_s: float = 20.0
    """Time for requests in progress when the server is told to stop."""

    def __post_init__(self) -> None:
        at_least_one = ("retention_days", "max_body_bytes", "max_rows", "max_text_chars")
        at_least_one += ("max_requests", "max_held_bytes")
        for name in at_least_one:
            if getattr(self, name) < 1:
                raise SettingError(
                    f"{name} must be at least 1. Got {getattr(self, name)!r}.",
                    fix="raise it, or leave it out.",
                )
        if not self.bundle and not self.deployment:
            raise SettingError(
                "Nothing to serve: neither a bundle nor a deployment is named.",
                fix="name a bundle's folder, or a deployment.",
            )
        if self.adapters is not None and self.deployment is not None:
            raise SettingError(
                "Adapters belong to one bundle, and a deployment goes from one to the next.",
                fix="serve the bundle itself: sartor serve BUNDLE --adapters FOLDER.",
            )
        if not self.max_wait_s >= 0:
            raise SettingError(
                f"max_wait_s must be at least 0. Got {self.max_wait_s}.",
                fix="raise it, or leave it out.",
            )
        if self.log_format not in get_args(LogFormat):
            raise SettingError(
                f"log_format must be {', '.join(get_args(LogFormat))}. Got {self.log_format!r}.",
                fix="take json for machines, text for people.",
            )
        if not 0 <= self.port <= 65_535:
            raise SettingError(
                f"port must be 0 to 65535. Got {self.port}.", fix="choose another port."
            )
        Rate.parse(self.rate_limit)
        if self.tls_key is not None and self.tls_cert is None:
            raise SettingError(
                f"tls_key is {self.tls_key!r} and there is no tls_cert.",
                fix="give the certificate too, or neither.",
            )
        if self.key is not None and len(self.key) < 16:
            raise SettingError(
                f"The API key has {len(self.key)} characters; it can be guessed.",
                fix="take at least 16, e.g. from `openssl rand -hex 32`.",
            )

    @property
    def rate(self) -> Rate | None:
        """The rate limit; None where there is none."""
        return Rate.parse(self.rate_limit)

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        return is_loopback(self.host)


@lru_cache(maxsize=256)
def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine itself."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
