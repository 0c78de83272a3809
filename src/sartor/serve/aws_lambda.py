"""AWS Lambda's events: an HTTP request of a function URL or a gateway, or rows from a program.

Formats: https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
(2.0, which function URLs speak too; REST APIs and load balancers speak 1.0) and, for whoever may
invoke the function itself, `{"rows": ["a text", {"text": "another"}]}`.
"""

import base64
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import to_json

from sartor.core.errors import RequestError
from sartor.serve.bodies import RowsBody, checked
from sartor.serve.caps import too_long
from sartor.serve.cores import cores
from sartor.serve.function import Asked, Function, refusal
from sartor.serve.ids import new_id

MIB_PER_CORE = 1_769
"""Memory that comes with one whole core: https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html"""
_MEMORY = "AWS_LAMBDA_FUNCTION_MEMORY_SIZE"
_READ = ConfigDict(extra="ignore", frozen=True, populate_by_name=True)


class _Http(BaseModel):
    model_config = _READ

    method: str


class _Context(BaseModel):
    model_config = _READ

    http: _Http | None = None
    """Format 2.0 only."""
    stage: str = "$default"


class _Event(BaseModel):
    """The parts of both HTTP formats that a request is made of."""

    model_config = _READ

    context: _Context = Field(default=_Context(), alias="requestContext")
    method: str | None = Field(default=None, alias="httpMethod")
    path: str = ""
    raw_path: str = Field(default="", alias="rawPath")
    headers: dict[str, str] | None = None
    body: str | None = None
    encoded: bool = Field(default=False, alias="isBase64Encoded")


def open_handler(
    bundle: str | Path, *, unreleased: bool = False
) -> Callable[[Any, Any], dict[str, Any]]:
    """Load a bundle while Lambda starts the process, and give the function that it calls.

    Raises:
        BundleError: See `Function.open`.
        SettingError: Likewise.
    """
    function = Function.open(bundle, threads=threads(), unreleased=unreleased)

    def handler(event: Any, context: Any) -> dict[str, Any]:
        return handle(function, event)

    return handler


def handle(function: Function, event: Any) -> dict[str, Any]:
    """What Lambda is to return for an event.

    An HTTP event gets the platform's form of a reply. Rows get `outputs`, `model` and `request_id`,
    or `error` and `status`: a caller's mistake is not raised, because Lambda would try it again.
    """
    if isinstance(event, dict) and "rows" in event:
        return _rows(function, event)  # pyright: ignore[reportUnknownArgumentType]
    try:
        asked = _asked(event, function.settings.max_body_bytes)
    except RequestError as error:
        body = to_json(refusal(error)).decode()
        return _sent(error.status, {"content-type": "application/json"}, body)
    reply = function.answer(asked)
    return _sent(reply.status, reply.headers, reply.body.decode())


def threads(root: Path = Path("/")) -> int | None:
    """Whole cores that the function's memory buys, at least 1; None outside Lambda.

    A smaller function sees two cores and gets a share of their time: a second thread would only be
    stopped in the middle of a pass.

    Args:
        root: Where `proc` and `sys` lie.
    """
    memory = os.environ.get(_MEMORY, "")
    if not memory.isdecimal():
        return None
    return max(1, min(int(memory) // MIB_PER_CORE, cores(root)))


def _rows(function: Function, event: Any) -> dict[str, Any]:
    try:
        found = function.outputs(checked(RowsBody, event).rows)
    except RequestError as error:
        return {**refusal(error), "status": error.status}
    return {**found, "request_id": new_id()}


def _asked(event: Any, most: int) -> Asked:
    """
    Raises:
        RequestError: 400 where the event is no HTTP request, or its body is not what it says.
    """
    try:
        found = _Event.model_validate(event)
    except ValidationError:
        raise _no_event() from None
    headers = {name.lower(): value for name, value in (found.headers or {}).items()}
    if found.context.http is not None:
        method, path = found.context.http.method, found.raw_path
        # A stage other than $default stands before the path.
        if found.context.stage != "$default":
            path = path.removeprefix(f"/{found.context.stage}")
    elif found.method is not None:
        method, path = found.method, found.path
    else:
        raise _no_event()
    return Asked(method, path or "/", headers, _body(found, most))


def _body(event: _Event, most: int) -> bytes:
    told = event.body or ""
    if not event.encoded:
        # Half of a surrogate pair is no UTF-8: as bytes it is refused like any other such body.
        return told.encode("utf-8", "surrogatepass")
    # Four characters hold three bytes: what is longer need not be decoded to be refused.
    if len(told) > 4 * (most // 3 + 1):
        raise too_long(most)
    try:
        return base64.b64decode(told, validate=True)
    except ValueError:  # also for letters beyond ASCII
        raise RequestError(
            "The body is said to be base64 and is not.", fix="send it as it is.", status=400
        ) from None


def _no_event() -> RequestError:
    return RequestError(
        "This event is neither an HTTP request nor rows.",
        fix='invoke the function with {"rows": ["a text"]}, or by its URL.',
        status=400,
    )


def _sent(status: int, headers: dict[str, str], body: str) -> dict[str, Any]:
    return {"statusCode": status, "headers": headers, "body": body, "isBase64Encoded": False}
