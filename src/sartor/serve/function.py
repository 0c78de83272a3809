"""A bundle answers requests that a platform hands over one by one, without a server of ours.

AWS Lambda and Cloud Functions take the connections, queue the requests, start processes and bill
the time to the first answer. So there is no event loop here, no store and no metrics, and nothing
of a web framework is imported. What is answered is answered as the application in `serve.app` does
it, by the same bodies, caps and words; `tests/serve/test_function.py` holds the two side by side.
"""

import hmac
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic_core import to_json

from sartor.core.errors import RequestError
from sartor.core.near import near_miss
from sartor.serve.bodies import FeedbackBody, PredictBody, parse
from sartor.serve.caps import capped, too_long
from sartor.serve.ids import is_sane, new_id
from sartor.serve.runtime import Runtime, open_runtime
from sartor.serve.settings import KEY_VARIABLE, ServeSettings
from sartor.serve.telling import tell_alone
from sartor.serve.wording import language_of, worded, worded_answers

_PUBLIC = frozenset({"/healthz", "/readyz"})


@dataclass(frozen=True, slots=True)
class Asked:
    """One request.

    Args:
        method: Upper case.
        path: Without the query.
        headers: Lower-case name to value.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Reply:
    """What the platform is to send back; the body is JSON in UTF-8."""

    status: int
    headers: dict[str, str]
    body: bytes


class Function:
    """Answers `POST /v1/predict`, `GET /v1/model`, `/healthz` and `/readyz`.

    Safe to share between threads. Feedback is refused: there is no disk that would keep it.
    """

    def __init__(self, runtime: Runtime, settings: ServeSettings) -> None:
        self.runtime, self.settings = runtime, settings
        self._routes: dict[tuple[str, str], Callable[[bytes, str], dict[str, Any]]] = {
            ("POST", "/v1/predict"): self._predict,
            ("POST", "/v1/feedback"): self._feedback,
            ("GET", "/v1/model"): self._model,
            ("GET", "/healthz"): lambda body, id: {"status": "ok"},
            ("GET", "/readyz"): lambda body, id: {"status": "ready"},
        }

    @staticmethod
    def open(
        bundle: str | Path, *, threads: int | None = None, unreleased: bool = False
    ) -> "Function":
        """Verify and load a bundle, and warm it.

        Where the environment variable SARTOR_API_KEY is set, callers must send that key. Where it
        is not, whoever the platform lets through is answered.

        Args:
            bundle: The bundle's folder.
            threads: Of one forward pass; the cores this process may use when None.
            unreleased: Answer although the need was not shown to be met.

        Raises:
            BundleError: If it is damaged, unreleased, or wants to ask a server that is not allowed.
            SettingError: If the key is so short that it can be guessed.
        """
        settings = ServeSettings(
            bundle=str(bundle),
            threads=threads,
            unreleased=unreleased,
            key=os.environ.get(KEY_VARIABLE) or None,
        )
        return Function(open_runtime(settings), settings)

    def answer(self, asked: Asked) -> Reply:
        """The reply to a request; a fault of ours is raised, so that the platform logs it."""
        given = asked.headers.get("x-request-id", "")
        id = given if is_sane(given) else new_id()
        headers = {
            "content-type": "application/json",
            "x-request-id": id,
            "cache-control": "no-store",
            "x-content-type-options": "nosniff",
        }
        status, language = 200, language_of(asked.headers.get("accept-language", ""))
        try:
            # An answer is never known by a client's own id: two clients may send the same one.
            content = self._routed(asked, id if id != given else new_id())
            if "outputs" in content:
                content["outputs"] = worded_answers(content["outputs"], language)
        except RequestError as error:
            status, content = error.status, refusal(error, language)
            headers["content-language"] = language
            headers |= self._said_besides(error, asked.path)
        return Reply(status, headers, b"" if asked.method == "HEAD" else to_json(content))

    def outputs(self, rows: Sequence[str | Mapping[str, str]]) -> dict[str, Any]:
        """Answers to rows, and the id of the bundle that gave them.

        Raises:
            RequestError: 413 beyond the caps, 422 for a row that cannot be used, 502 when a
                language model that the bundle asks does not answer.
        """
        texts = capped(self.runtime, rows, self.settings)
        return {"outputs": self.runtime.answer(texts), "model": self.runtime.id}

    def _routed(self, asked: Asked, id: str) -> dict[str, Any]:
        if asked.path not in _PUBLIC:
            self._admit(asked.headers.get("authorization", ""))
            if len(asked.body) > self.settings.max_body_bytes:
                raise too_long(self.settings.max_body_bytes)
        method = "GET" if asked.method == "HEAD" else asked.method
        route = self._routes.get((method, asked.path))
        if route is not None:
            return route(asked.body, id)
        known = [f"{method} {path}" for method, path in self._routes]
        wanted = f"{asked.method} {asked.path}"
        raise RequestError(
            f"Nothing answers {wanted[:200]}.",
            fix=near_miss(wanted, known),
            status=405 if self._methods(asked.path) else 404,
        )

    def _admit(self, header: str) -> None:
        key = self.settings.key
        scheme, _, token = header.partition(" ")
        told = token.strip().encode("utf-8", "replace")
        if key is None or (
            scheme.lower() == "bearer" and hmac.compare_digest(told, key.encode("utf-8", "replace"))
        ):
            return
        raise RequestError(
            "This needs an API key.",
            fix="send the header `Authorization: Bearer KEY`.",
            status=401,
        )

    def _methods(self, path: str) -> list[str]:
        return [method for method, known in self._routes if known == path]

    def _said_besides(self, error: RequestError, path: str) -> dict[str, str]:
        if error.status == 401:
            return {"www-authenticate": "Bearer"}
        if error.status == 405:
            return {"allow": ", ".join(self._methods(path))}
        return {"retry-after": "1"} if error.status == 503 else {}

    def _predict(self, body: bytes, id: str) -> dict[str, Any]:
        return {**self.outputs(parse(PredictBody, body).inputs), "request_id": id}

    def _feedback(self, body: bytes, id: str) -> dict[str, Any]:
        parse(FeedbackBody, body)
        raise RequestError(
            "This server keeps no feedback.",
            fix="send it to a `sartor serve` that has a store.",
            status=503,
        )

    def _model(self, body: bytes, id: str) -> dict[str, Any]:
        nothing = dict.fromkeys(("feedback", "texts_kept", "personal"), False)
        return {**tell_alone(self.runtime), **nothing}


def refusal(error: RequestError, language: str = "en") -> dict[str, Any]:
    """The body of a request that cannot be answered, its sentences in a language."""
    return {"error": {"what": worded(error.what, language), "fix": worded(error.fix, language)}}
