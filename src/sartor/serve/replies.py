"""JSON replies, and the one form that every failure takes: {"error": {"what", "fix"}}."""

from typing import Any

from pydantic_core import to_json
from starlette.responses import Response

from sartor.core.errors import RequestError

JSON = "application/json"


def reply(content: Any, status: int = 200) -> Response:
    """A JSON reply."""
    return Response(to_json(content), status, media_type=JSON)


def refusal(error: RequestError, retry_after_s: int = 1) -> Response:
    """The reply to a request that cannot be answered.

    Args:
        error: Its status becomes the reply's.
        retry_after_s: Sent with 429 and 503.
    """
    response = reply({"error": {"what": error.what, "fix": error.fix}}, error.status)
    if error.status in (429, 503):
        response.headers["retry-after"] = str(retry_after_s)
    if error.status == 401:
        response.headers["www-authenticate"] = "Bearer"
    return response
