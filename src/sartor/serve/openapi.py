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
from sartor.core.histories import left_out
from sartor.core.types import ANSWER_KEYS, VALUE
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
from sartor.serve.kinds import corrected_under, offered
from sartor.serve.oip import datatypes
from sartor.serve.rows import field_schema, option_schemas

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
_MOST_LISTED = 1_000
"""Labels beyond which the document does not list them: documents may be many."""
_READ = (401, 403, 429, 503)
_ASK = (400, 401, 403, 408, 413, 429, 502, 503)


@dataclass(frozen=True, slots=True)
class Facts:
    """What the document says of the bundle that is served."""

    name: str
    version: str
    inputs: tuple[tuple[str, str], ...]
    """Key to what it holds."""
    labels: tuple[str, ...]
    max_rows: int
    max_text_chars: int
    target: str
    answer: str
    """JSON Schema of an answer, as JSON."""
    example: str
    """A row, as JSON."""


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
    free = left_out(dict(facts.inputs))
    keys = [key for key, _ in facts.inputs if key not in free]
    rows = schemas["PredictBody"]["properties"]["inputs"]
    rows["maxItems"] = facts.max_rows
    rows["items"] = {
        "type": "object",
        "properties": {key: field_schema(kind, facts.max_text_chars) for key, kind in facts.inputs}
        | option_schemas(dict(facts.inputs)),
        "required": keys,
        "additionalProperties": False,
    }
    rows["examples"] = [[json.loads(facts.example)]]
    said = schemas["FeedbackBody"]["properties"]
    if [kind for _, kind in facts.inputs] == ["text"]:
        del said["inputs"]
    else:
        del said["text"]
        said["inputs"] = {**rows["items"], "description": said["inputs"].get("description", "")}
    # A label that the model does not know is taken where it is said to be new.
    _narrow_answers(schemas["FeedbackBody"], facts)
    schemas["Answer"] = json.loads(facts.answer)
    tensors = schemas["InferenceRequest"]["properties"]["inputs"]
    tensors["minItems"], tensors["maxItems"] = len(keys), len(facts.inputs)
    row = json.loads(facts.example)
    tensors["examples"] = [
        [
            {"name": key, "shape": [1], "datatype": datatypes(kind)[0], "data": [_flat(row[key])]}
            for key, kind in facts.inputs
            if key in keys
        ]
    ]
    tensor = schemas["RequestInput"]["properties"]
    tensor["name"]["enum"] = [key for key, _ in facts.inputs]
    types = {name: None for _, kind in facts.inputs for name in datatypes(kind)}
    tensor["datatype"]["enum"] = list(types)
    if len(types) == 1:  # texts alone
        tensor["data"]["anyOf"] = [form for form in tensor["data"]["anyOf"] if _of_texts(form)]
    schemas["RequestOutput"]["properties"]["name"]["enum"] = offered(facts.target)
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


def _flat(value: Any) -> Any:
    """A value as an element of a tensor: a list of items is its JSON."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list) else value


def _narrow_answers(schema: dict[str, Any], facts: Facts) -> None:
    """Say what may be sent as right."""
    key = corrected_under(facts.target)
    _narrow_feedback(schema, key)
    few = len(facts.labels) <= _MOST_LISTED
    one: dict[str, Any] = {"enum": list(facts.labels)} if few else {"type": "string"}
    several: dict[str, Any] = {"type": "array", "items": one}
    part = {"type": "object", "properties": {"label": one}}
    known = {
        "label": one,
        "labels": several,
        "entities": {"type": "array", "items": part},
        "documents": several,
        "outcome": one,
    }
    if facts.target in known:
        schema["anyOf"] = [
            {"properties": {key: known[key]}},
            {"properties": {"new_label": {"const": True}}, "required": ["new_label"]},
        ]
    elif facts.target in (VALUE, "answer"):  # these have no name that could be new
        del schema["properties"]["new_label"]


def _of_texts(form: dict[str, Any]) -> bool:
    """Whether a form of a tensor's data holds texts: numbers are told by their choice of null."""
    return "anyOf" not in form["items"]


def _narrow_feedback(schema: dict[str, Any], key: str) -> None:
    """Leave the one key that this bundle is corrected with, and require it."""
    properties = schema["properties"]
    for name in ANSWER_KEYS:
        found = properties.pop(name)
        if name == key:
            # Not null: the other keys are left out, this one is not.
            (kind,) = [one for one in found["anyOf"] if one != {"type": "null"}]
            # A mapping has its title with its form.
            title = {"title": found["title"]} if "title" in found else {}
            properties[name] = {**title, **kind}
    schema["required"] = [*schema["required"], key]
