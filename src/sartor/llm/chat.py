"""One question to an OpenAI-compatible endpoint, by `POST URL/chat/completions`.

What comes back is untrusted: its size and time are bounded and redirects are not followed. Faults
that pass (429, 5xx, a broken connection) are tried again a few times, each after a longer wait.
"""

import json
import os
import random
import ssl
import time
from collections.abc import Mapping, Sequence
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from ipaddress import ip_address
from threading import Event
from typing import Any
from urllib.parse import urlsplit

from sartor.core.addresses import origin
from sartor.core.errors import LlmDown, LlmError, SettingError

Message = Mapping[str, str]

TIMEOUT_S = 60.0
"""For a connection, and for each silence within an answer."""
PATIENCE_S = 180.0
"""For a whole answer."""
MOST_BYTES = 1_000_000
"""Of an answer; a label takes a few hundred, a model that thinks aloud some tens of thousand."""
TRIES = 4
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 30.0
_PASSING = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_SHOWN = 200


class Chat:
    """An endpoint and a model there; safe to share between threads.

    Args:
        url: Checked, up to `/v1`.
        model: Its name there.
        key: Name of the environment variable with the key, or None.

    Raises:
        SettingError: If the variable is empty, or its key would travel unencrypted.
    """

    def __init__(self, url: str, model: str, key: str | None = None) -> None:
        self.url, self.model = url, model
        self._secret = _secret(url, key)
        self._form: int | None = None

    @property
    def place(self) -> str:
        """Scheme, host and port: what messages name."""
        return origin(self.url)

    def ask(self, messages: Sequence[Message], schema: Mapping[str, Any], stop: Event) -> str:
        """The content of the answer; "" where the model gave none.

        Args:
            messages: The conversation.
            schema: JSON Schema of the answer, asked for where the server takes it.
            stop: Set by another thread when nobody waits any more.

        Raises:
            LlmDown: If there is no answer, whatever is asked.
            LlmError: If this question is refused, or what is answered is no chat completion.
        """
        fault, tries, form = "", 0, self._form or 0
        while tries < TRIES:
            wait = min(_FIRST_WAIT_S * 2**tries, _LONGEST_WAIT_S) * random.uniform(0.8, 1.2)
            try:
                status, headers, data = self._once(self._body(messages, schema, form))
            except (OSError, HTTPException) as error:
                fault = f"could not be reached ({type(error).__name__}: {self._hidden(str(error))})"
            else:
                if status == 200:
                    self._learn(form)
                    return self._content(data)
                if status == 400 and form < len(_FORMS) - 1:
                    form += 1
                    continue
                if status not in _PASSING:
                    raise self._refused(status, headers, data)
                fault = f"answered {status}"
                wait = _asked_to_wait(headers, wait)
            tries += 1
            if tries < TRIES and stop.wait(wait):
                break
        raise LlmDown(
            f"{self.place} {fault}, {tries} times in a row.",
            fix="check that the server runs there and is not overloaded, then run the same command"
            " again: what was answered is kept.",
        )

    def _learn(self, form: int) -> None:
        """Begin with this form from now on, unless a fuller one was answered.

        A server that does not know a field refuses every question that has it. A question that is
        refused for its text is refused in every form, or where others were answered in that form:
        nothing is learnt of it.
        """
        self._form = form if self._form is None else min(self._form, form)

    def _body(self, messages: Sequence[Message], schema: Mapping[str, Any], form: int) -> bytes:
        asked: dict[str, Any] = {"model": self.model, "messages": [dict(m) for m in messages]}
        wanted: dict[str, Any] = {
            "temperature": 0,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "answer", "strict": True, "schema": dict(schema)},
            },
        }
        asked |= {name: wanted[name] for name in _FORMS[form]}
        return json.dumps(asked).encode("ascii")

    def _once(self, body: bytes) -> tuple[int, Mapping[str, str], bytes]:
        parts = urlsplit(self.url)
        host = parts.hostname or ""
        if parts.scheme == "https":
            context = ssl.create_default_context()
            connection: HTTPConnection = HTTPSConnection(
                host, parts.port, timeout=TIMEOUT_S, context=context
            )
        else:
            connection = HTTPConnection(host, parts.port, timeout=TIMEOUT_S)
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        if self._secret:
            headers["Authorization"] = f"Bearer {self._secret}"
        try:
            connection.request("POST", f"{parts.path}/chat/completions", body, headers)
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return response.status, found, self._read(response)
        finally:
            connection.close()

    def _read(self, response: HTTPResponse) -> bytes:
        until, data = time.monotonic() + PATIENCE_S, bytearray()
        while piece := response.read1(65_536):
            data += piece
            if len(data) > MOST_BYTES:
                raise LlmError(
                    f"{self.place} answered with more than {MOST_BYTES:,} bytes.",
                    fix="check that this is a server of chat completions, or take another model.",
                )
            if time.monotonic() > until:
                raise TimeoutError(f"no whole answer within {PATIENCE_S:.0f} s")
        return bytes(data)

    def _content(self, data: bytes) -> str:
        try:
            found: Any = json.loads(data)
            content: Any = found["choices"][0]["message"].get("content")
        except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
            raise LlmError(
                f"What {self.place} answered is no chat completion.",
                fix="check prefer.llm.url: it usually ends with /v1.",
            ) from None
        return content if isinstance(content, str) else ""

    def _refused(self, status: int, headers: Mapping[str, str], data: bytes) -> LlmError:
        if 300 <= status < 400:
            place = self._hidden(headers.get("location", "nowhere"))
            what = f"{self.place} answered {status}, to {place}: redirects are not followed."
            return LlmError(what, fix="name the final URL under prefer.llm.url.")
        if status in (401, 403):
            what = f"{self.place} answered {status}: it does not take the key."
            fix = "put a valid key into the environment variable that prefer.llm.key names."
            return LlmError(what, fix=fix)
        what = f"{self.place} answered {status}: {self._hidden(data.decode('utf-8', 'replace'))}"
        fix = "check the URL (it usually ends with /v1) and the model under prefer.llm."
        return LlmError(what, fix=fix)

    def _hidden(self, said: str) -> str:
        """What a server says, short, on one line and without the key it may repeat."""
        if self._secret:
            said = said.replace(self._secret, "…")
        plain = "".join(c if c.isprintable() else " " for c in said[: 10 * _SHOWN])
        return " ".join(plain.split())[:_SHOWN]


_FORMS = (("temperature", "response_format"), ("temperature",), ())
"""Fields beside model and messages, fewer after each 400 to a question: not all servers take a
schema, and some models take no temperature."""


def _secret(url: str, key: str | None) -> str:
    if key is None:
        return ""
    found = os.environ.get(key, "").strip()
    if not found:
        raise SettingError(
            f"The environment variable {key}, which holds the key for {origin(url)}, is not set.",
            fix=f"set it, e.g. `export {key}=…`, and run the same command again.",
        )
    if not found.isascii() or not found.isprintable():
        raise SettingError(
            f"The environment variable {key} holds what can be no key.",
            fix="set it to the key alone, on one line.",
        )
    if url.startswith("http:") and not _is_here(urlsplit(url).hostname or ""):
        raise SettingError(
            f"The key in {key} would be sent to {origin(url)} unencrypted.",
            fix="use a URL with https, or leave the key out.",
        )
    return found


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _asked_to_wait(headers: Mapping[str, str], otherwise: float) -> float:
    try:
        wanted = float(headers.get("retry-after", ""))
    except ValueError:  # absent, or a date
        return otherwise
    return min(max(wanted, 0.0), _LONGEST_WAIT_S) if wanted == wanted else otherwise
