"""The OpenAPI document, written by FastAPI from the same models that check the requests.

The routes themselves run on Starlette; FastAPI is imported only when somebody asks for the
document, because its import would be a third of the time to the first answer. A test compares the
document with the routes that are served. What the models leave open, since they serve every
bundle, is then narrowed to the one that is served: its input's name, its labels, the caps.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from fastapi import FastAPI, Security
from fastapi.security import HTTPBearer
from pydantic import BaseModel

import sartor
from sartor.core.types import TargetKind
from sartor.serve import oip_bodies as oip
from sartor.serve.bodies import (
    ErrorReply,
    FeedbackBody,
    FeedbackReply,
    HealthReply,
    ModelReply,
    PredictBody,
    PredictReply,
)
from sartor.serve.chat_bodies import ChatBody, ChatReply, ModelList

_MEANING = {
    400: "The body is not JSON, or has the wrong form for /v2.",
    401: "An API key is missing or wrong.",
    403: "A foreign page, a foreign name, or a key whose role does not allow it.",
    404: "Nothing of that name or id is known here.",
    408: "The body did not arrive in time.",
    413: "The body, a text or the number of rows is too large.",
    422: "The body has the wrong form.",
    429: "The key's rate limit is used up; Retry-After says when to come back.",
    502: "The language model that the bundle asks does not answer.",
    503: "The server is busy or stopping; Retry-After says when to come back.",
    507: "The disk is full; nothing was kept.",
}
_READ = (401, 403, 429, 503)
_ASK = (400, 401, 403, 408, 413, 429, 502, 503)


@dataclass(frozen=True, slots=True)
class Facts:
    """What the document says of the bundle that is served."""

    name: str
    version: str
    inputs: tuple[str, ...]
    labels: tuple[str, ...]
    max_rows: int
    max_text_chars: int
    target: TargetKind
    answer: str
    """JSON Schema of an answer, as JSON."""


@lru_cache(maxsize=8)
def document(facts: Facts) -> bytes:
    """The document as JSON."""
    api = FastAPI(
        title="Sartor",
        version=sartor.__version__,
        summary="Answers of one model, and what its users say about them.",
    )
    _add_ours(api)
    _add_protocol(api)
    content = api.openapi()
    _narrow(content, facts)
    return json.dumps(content).encode()


def _key() -> list[Any]:
    return [Security(HTTPBearer(auto_error=False, description="An API key, where one is set."))]


def _add_ours(api: FastAPI) -> None:
    key = _key()

    @api.post("/v1/predict", dependencies=key, responses=_faults(*_ASK, 422))
    def predict(body: PredictBody) -> PredictReply: ...  # type: ignore[reportReturnType]

    faults = _faults(400, 401, 403, 404, 408, 413, 422, 429, 503, 507)

    @api.post("/v1/feedback", dependencies=key, status_code=201, responses=faults)
    def feedback(body: FeedbackBody) -> FeedbackReply: ...  # type: ignore[reportReturnType]

    @api.post("/v1/chat/completions", dependencies=key, responses=_faults(*_ASK, 404, 422))
    def chat(body: ChatBody) -> ChatReply: ...  # type: ignore[reportReturnType]

    @api.get("/v1/models", dependencies=key, responses=_faults(*_READ))
    def models() -> ModelList: ...  # type: ignore[reportReturnType]

    @api.get("/v1/model", dependencies=key, responses=_faults(*_READ))
    def model() -> ModelReply: ...  # type: ignore[reportReturnType]

    @api.get("/healthz", responses=_faults(403))
    def healthz() -> HealthReply: ...  # type: ignore[reportReturnType]

    @api.get("/readyz", responses=_faults(403) | {503: {"model": HealthReply}})
    def readyz() -> HealthReply: ...  # type: ignore[reportReturnType]


def _add_protocol(api: FastAPI) -> None:
    key = _key()

    def get(path: str, reply: type[BaseModel], name: str, *statuses: int) -> None:
        responses = _faults(*statuses, model=oip.ProtocolError)
        if path.endswith("/ready"):
            responses[503] = {"model": reply, "description": "Not ready."}
        needed = [] if path.startswith("/v2/health/") else key
        add = api.get(path, response_model=reply, dependencies=needed, responses=responses)
        add(_named(name, "{name}" in path, "{version}" in path))

    get("/v2", oip.ServerMetadata, "v2_server", *_READ)
    get("/v2/health/live", oip.ServerLive, "v2_live", 403)
    get("/v2/health/ready", oip.ServerReady, "v2_ready", 403)
    for base, suffix in (
        ("/v2/models/{name}", ""),
        ("/v2/models/{name}/versions/{version}", "_version"),
    ):
        get(base, oip.ModelMetadata, f"v2_model{suffix}", *_READ, 404)
        get(f"{base}/ready", oip.ModelReady, f"v2_model_ready{suffix}", 401, 403, 404, 429)
        add = api.post(
            f"{base}/infer",
            response_model=oip.InferenceResponse,
            dependencies=key,
            responses=_faults(*_ASK, 404, model=oip.ProtocolError),
        )
        add(_inferring(f"v2_infer{suffix}", bool(suffix)))


def _named(name: str, model: bool, version: bool) -> Callable[..., None]:
    """A function whose parameters FastAPI reads the path's from."""

    def none() -> None: ...

    def of_model(name: str) -> None: ...

    def of_version(name: str, version: str) -> None: ...

    found = of_version if version else of_model if model else none
    found.__name__ = name
    return found


def _inferring(name: str, version: bool) -> Callable[..., None]:
    def of_model(name: str, body: oip.InferenceRequest) -> None: ...

    def of_version(name: str, version: str, body: oip.InferenceRequest) -> None: ...

    found = of_version if version else of_model
    found.__name__ = name
    return found


def _faults(*statuses: int, model: type[BaseModel] = ErrorReply) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": model, "description": _MEANING[status]} for status in statuses}


def _narrow(content: dict[str, Any], facts: Facts) -> None:
    """Say what this very bundle takes."""
    schemas = content["components"]["schemas"]
    text = {"type": "string", "maxLength": facts.max_text_chars}
    rows = schemas["PredictBody"]["properties"]["inputs"]
    rows["maxItems"] = facts.max_rows
    rows["items"] = {
        "type": "object",
        "properties": dict.fromkeys(facts.inputs, text),
        "required": list(facts.inputs),
        "additionalProperties": False,
    }
    rows["examples"] = [[dict.fromkeys(facts.inputs, "It broke after two days.")]]
    said = schemas["FeedbackBody"]["properties"]
    if len(facts.inputs) == 1:
        del said["inputs"]
    else:
        del said["text"]
        said["inputs"] = {**rows["items"], "description": said["inputs"].get("description", "")}
    # A label that the model does not know is taken where it is said to be new.
    one = {"enum": list(facts.labels)}
    known = {"type": "array", "items": one} if facts.target == "labels" else one
    key = "labels" if facts.target == "labels" else "label"
    _narrow_feedback(schemas["FeedbackBody"], key)
    if facts.target != "text":  # of replies there is no list
        schemas["FeedbackBody"]["anyOf"] = [
            {"properties": {key: known}},
            {"properties": {"new_label": {"const": True}}, "required": ["new_label"]},
        ]
    schemas["Answer"] = json.loads(facts.answer)
    tensors = schemas["InferenceRequest"]["properties"]["inputs"]
    tensors["minItems"] = tensors["maxItems"] = len(facts.inputs)
    tensors["examples"] = [
        [
            {"name": name, "shape": [1], "datatype": "BYTES", "data": ["It broke."]}
            for name in facts.inputs
        ]
    ]
    tensor = schemas["RequestInput"]["properties"]
    tensor["name"]["enum"] = list(facts.inputs)
    tensor["datatype"]["enum"] = ["BYTES"]
    schemas["RequestOutput"]["properties"]["name"]["enum"] = ["label", "probabilities"]
    values = {"name": facts.name, "version": facts.version}
    for path, methods in content["paths"].items():
        for operation in methods.values():
            if path.startswith("/v2/"):
                # FastAPI's own; the protocol answers a wrong form with 400.
                operation["responses"].pop("422", None)
            for parameter in operation.get("parameters", ()):
                parameter["schema"]["enum"] = [values[parameter["name"]]]
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)


def _narrow_feedback(schema: dict[str, Any], target: str) -> None:
    """Leave the one key that this bundle is corrected with, and require it."""
    properties = schema["properties"]
    for name in ("label", "labels"):
        found = properties.pop(name)
        if name == target:
            # Not null: the other key is left out, this one is not.
            (kind,) = [one for one in found["anyOf"] if one != {"type": "null"}]
            properties[name] = {"title": found["title"], **kind}
    schema["required"] = [*schema["required"], target]
