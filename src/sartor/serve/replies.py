"""JSON replies, and the forms that failures take.

Ours is {"error": {"what", "fix"}}. Under /v2 it is the Open Inference Protocol's {"error": "…"},
and there a body of the wrong form is answered with 400, as that protocol does. OpenAI's clients
look for a "message" and a "type" beside ours.
"""

from typing import Any

from pydantic_core import to_json
from starlette.responses import Response

from sartor.core.errors import RequestError
from sartor.serve.wording import worded

JSON = "application/json"
_OPENAI = ("/v1/chat/completions", "/v1/models")


def reply(content: Any, status: int = 200) -> Response:
    """A JSON reply."""
    return Response(to_json(content), status, media_type=JSON)


def refusal(
    error: RequestError, path: str, retry_after_s: int = 1, language: str = "en"
) -> Response:
    """The reply to a request that cannot be answered.

    Args:
        error: Its status becomes the reply's.
        path: As it was asked; decides the form.
        retry_after_s: Sent with 429 and 503.
        language: Of its sentences; under /v2, where programs talk, they are English.
    """
    if path == "/v2" or path.startswith("/v2/"):
        status = 400 if error.status == 422 else error.status
        response = reply({"error": f"{error.what} Fix: {error.fix}"}, status)
    else:
        what, fix = worded(error.what, language), worded(error.fix, language)
        told = {"what": what, "fix": fix}
        if path in _OPENAI:
            told |= {"message": f"{what} {fix}", "type": _kind(error.status)}
        response = reply({"error": told}, error.status)
        response.headers["content-language"] = language
    if error.status in (429, 503):
        response.headers["retry-after"] = str(retry_after_s)
    if error.status == 401:
        response.headers["www-authenticate"] = "Bearer"
    return response


def _kind(status: int) -> str:
    """OpenAI's name of a failure."""
    named = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
    return named.get(status, "server_error" if status >= 500 else "invalid_request_error")
