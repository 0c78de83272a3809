"""The OpenAPI document, written by FastAPI from the same models that check the requests.

The routes themselves run on Starlette; FastAPI is imported only when somebody asks for the
document, because its import would be a third of the time to the first answer. A test compares the
document with the routes that are served.
"""

import json
from functools import lru_cache
from typing import Any

from fastapi import FastAPI, Security
from fastapi.security import HTTPBearer

import sartor
from sartor.serve.bodies import (
    ErrorReply,
    FeedbackBody,
    FeedbackReply,
    HealthReply,
    ModelReply,
    PredictBody,
    PredictReply,
)

_MEANING = {
    400: "The body is not JSON.",
    401: "An API key is missing or wrong.",
    403: "The request comes from a foreign page or under a foreign name.",
    404: "No recorded answer has this request id.",
    408: "The body did not arrive in time.",
    413: "The body, a text or the number of rows is too large.",
    422: "The body has the wrong form.",
    502: "The language model that the bundle asks does not answer.",
    503: "The server is busy or stopping; Retry-After says when to come back.",
    507: "The disk is full; nothing was kept.",
}


@lru_cache
def document() -> bytes:
    """The document as JSON."""
    api = FastAPI(
        title="Sartor",
        version=sartor.__version__,
        summary="Answers of one model, and what its users say about them.",
    )
    key = [Security(HTTPBearer(auto_error=False, description="An API key, where one is set."))]

    @api.post(
        "/v1/predict", dependencies=key, responses=_faults(400, 401, 403, 408, 413, 422, 502, 503)
    )
    def predict(body: PredictBody) -> PredictReply: ...  # type: ignore[reportReturnType]

    faults = _faults(400, 401, 403, 404, 408, 413, 422, 503, 507)

    @api.post("/v1/feedback", dependencies=key, status_code=201, responses=faults)
    def feedback(body: FeedbackBody) -> FeedbackReply: ...  # type: ignore[reportReturnType]

    @api.get("/v1/model", dependencies=key, responses=_faults(401, 403))
    def model() -> ModelReply: ...  # type: ignore[reportReturnType]

    @api.get("/healthz", responses=_faults(403))
    def healthz() -> HealthReply: ...  # type: ignore[reportReturnType]

    @api.get("/readyz", responses=_faults(403) | {503: {"model": HealthReply}})
    def readyz() -> HealthReply: ...  # type: ignore[reportReturnType]

    return json.dumps(api.openapi()).encode()


def _faults(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": ErrorReply, "description": _MEANING[status]} for status in statuses}
