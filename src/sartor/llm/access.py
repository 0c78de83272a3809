"""Which servers a bundle may send texts to: those that the user names, and no other.

A bundle is untrusted, so the URL in it opens nothing. A user allows an origin (scheme, host and
port), and with it the one environment variable whose key may be sent there:

    http://localhost:11434            https://api.openai.com=OPENAI_API_KEY
"""

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from sartor.core.addresses import checked_url, origin
from sartor.core.errors import BundleError, SettingError

VARIABLE = "SARTOR_ALLOW_LLM"
_KEY = re.compile(r"[A-Z_][A-Z0-9_]{0,99}")


class Asks(Protocol):
    """A language model behind a URL, as a prompt or a need names it."""

    @property
    def url(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def key(self) -> str | None: ...


def check_access(
    prompt: Asks,
    folder: Path,
    allowed: Iterable[str],
    does: str = "answers by sending every text to",
) -> None:
    """Refuse a prompt that wants to ask what the user did not allow.

    Args:
        prompt: Of a bundle.
        folder: The bundle's, for the message.
        allowed: What the caller allows, beside the environment's `SARTOR_ALLOW_LLM`.
        does: What the bundle does with the server, before its name.

    Raises:
        BundleError: Naming the server, and what allows it.
        SettingError: If an allowance is no URL.
    """
    granted = [_read(each) for each in (*allowed, *os.environ.get(VARIABLE, "").split())]
    here = origin(prompt.url)
    keys = {key for place, key in granted if place == here}
    wanted = f"{here}={prompt.key}" if prompt.key else here
    if not keys:
        raise BundleError(
            f"{folder} {does} {here} (model {prompt.model!r:.100}), which is not allowed.",
            fix=f"if you trust the bundle and that server, add `--allow-llm {wanted}` or set"
            f" {VARIABLE}={wanted}.",
        )
    if prompt.key is not None and prompt.key not in keys:
        raise BundleError(
            f"{folder} would send the key in {prompt.key} to {here}, which is not allowed.",
            fix=f"if that is the key for {here}, add `--allow-llm {wanted}` or set"
            f" {VARIABLE}={wanted}.",
        )


def _read(allowance: str) -> tuple[str, str | None]:
    """(origin, name of the key's variable or None)."""
    url, equals, key = allowance.partition("=")
    try:
        place = origin(checked_url(url))
        if equals and not _KEY.fullmatch(key):
            raise ValueError("a URL whose part after = is no environment variable in capitals")
    except ValueError as error:
        # What stands behind the = may be a key pasted by mistake.
        raise SettingError(
            f"{url!r:.100} cannot be allowed: it is {error}.",
            fix="write http://localhost:11434, or https://api.openai.com=OPENAI_API_KEY.",
        ) from None
    return place, key or None
