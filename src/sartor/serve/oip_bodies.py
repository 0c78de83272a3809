"""Bodies of the Open Inference Protocol v2: tensors by name, datatype, shape and flat data.

https://github.com/kserve/open-inference-protocol, specification/protocol/inference_rest.md
"""

from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
)

from sartor.serve.bodies import integral

_STRICT = ConfigDict(extra="forbid", strict=True, frozen=True)
_Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]
_Size = Annotated[int, Field(ge=1, le=2**63 - 1), BeforeValidator(integral)]


def _not_true(value: bool) -> bool:
    if value:
        raise ValueError("tensors travel as JSON here")
    return value


# Literal[False] would let 0 through.
_False = Annotated[
    bool, AfterValidator(_not_true), WithJsonSchema({"type": "boolean", "const": False})
]


_Flat = Annotated[list[str], Field(min_length=1)]
_Row = Annotated[list[str], Field(min_length=1, max_length=1)]
_Nested = Annotated[list[_Row], Field(min_length=1)]
_Numbers = Annotated[list[float | None], Field(min_length=1)]


class RequestParameters(BaseModel):
    """What may be said of a request."""

    model_config = _STRICT

    user: _Name | None = None
    """As in /v1/predict."""
    fallback: Literal["global"] | None = None
    """As in /v1/predict."""
    segment: _Name | None = None
    """As in /v1/predict."""
    binary_data_output: _False | None = None
    """Tensors travel as JSON here."""


class InputParameters(BaseModel):
    """What may be said of an input."""

    model_config = _STRICT

    content_type: Literal["str"] | None = None


class OutputParameters(BaseModel):
    """What may be said of an output."""

    model_config = _STRICT

    content_type: Literal["str"] | None = None
    binary_data: _False | None = None
    """Tensors travel as JSON here."""


class RequestInput(BaseModel):
    """A tensor of texts, or of the numbers of a column."""

    model_config = _STRICT

    name: str
    """The model's input, as GET /v2/models/{name} tells it."""
    shape: list[_Size] = Field(min_length=1, max_length=2)
    """[n] or [n, 1]."""
    datatype: str
    """BYTES: texts in UTF-8. Of a column of numbers FP64, FP32, INT64 or INT32."""
    parameters: InputParameters | None = None
    data: _Flat | _Nested | _Numbers
    """n texts, flat or nested as the shape says; n numbers, null for one that is missing."""


class RequestOutput(BaseModel):
    """An output that is asked for."""

    model_config = _STRICT

    name: str
    parameters: OutputParameters | None = None


class InferenceRequest(BaseModel):
    """Texts to answer, as one tensor for each input."""

    model_config = _STRICT

    id: Annotated[str, StringConstraints(max_length=200)] | None = None
    """Given back with the answer."""
    parameters: RequestParameters | None = None
    inputs: list[RequestInput] = Field(
        min_length=1,
        max_length=2_000,
        examples=[[{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["It broke."]}]],
    )
    outputs: list[RequestOutput] | None = None
    """All of them where none is named."""


class AnswerParameters(BaseModel):
    request_id: str
    """Under which feedback on this answer is sent to /v1/feedback."""


class ResponseOutput(BaseModel):
    name: str
    shape: list[int]
    datatype: str
    data: list[str] | list[float]


class InferenceResponse(BaseModel):
    model_name: str
    model_version: str
    id: str
    parameters: AnswerParameters
    outputs: list[ResponseOutput]


class ServerMetadata(BaseModel):
    name: str
    version: str
    extensions: list[str]


class TensorMetadata(BaseModel):
    name: str
    datatype: str
    shape: list[int]
    """-1 where any size will do."""


class ModelMetadata(BaseModel):
    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]
    labels: list[str]
    """Ours: what the columns of `probabilities` stand for, in order."""


class ServerLive(BaseModel):
    live: bool


class ServerReady(BaseModel):
    live: bool
    ready: bool


class ModelReady(BaseModel):
    name: str
    ready: bool


class ProtocolError(BaseModel):
    error: str
