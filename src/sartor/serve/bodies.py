"""Request and response bodies: strict, no unknown keys, every text bounded."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)

from sartor.core.errors import RequestError
from sartor.core.texts import written
from sartor.serve.rows import read_row

_Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]
_Label = Annotated[str, StringConstraints(min_length=1, max_length=500)]
_Right = Annotated[str, StringConstraints(min_length=1, max_length=20_000)]


_Value = (
    Annotated[str, StringConstraints(max_length=100_000)]
    | float
    | bool
    | Annotated[list[_Name], Field(max_length=10_000)]
    | Annotated[list[dict[str, _Name | bool]], Field(max_length=10_000)]
    | None
)
"""What a key of a row may hold: a text, the value of a column, ids of items, or answers to them."""


def integral(value: Any) -> Any:
    """JSON has one kind of number: 3.0 is the integer 3, as JSON Schema says too."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


_Place = Annotated[int, Field(ge=0, le=10_000_000), BeforeValidator(integral)]
_Body = TypeVar("_Body", bound=BaseModel)
_STRICT = ConfigDict(extra="forbid", strict=True, frozen=True)


class PredictBody(BaseModel):
    """Texts to answer."""

    model_config = _STRICT

    inputs: list[dict[str, Any]] = Field(
        min_length=1, examples=[[{"text": "It broke after two days."}]]
    )
    """One mapping a row, from the model's input keys to values."""
    user: _Name | None = None
    """Whose text it is: lets feedback be grouped, and everything of a user be deleted. Where users
    have adapters, all rows are answered by this user's."""
    fallback: Literal["global"] | None = None
    """What answers for a user who has no adapter: the model that all share, where it is said."""
    segment: _Name | None = None
    """A group to report on, e.g. a country or a plan."""


class RowsBody(BaseModel):
    """Rows of a program that calls a function without HTTP."""

    model_config = _STRICT

    rows: list[str | dict[str, Any]] = Field(min_length=1)
    """Texts, or mappings from the model's input keys to values."""


class EntityBody(BaseModel):
    """A labelled part of a text."""

    model_config = _STRICT

    start: _Place
    """Of its first character, in code points from 0."""
    end: _Place
    """Behind its last character."""
    label: _Label


class PassageBody(BaseModel):
    """A part of a context that answers a question."""

    model_config = _STRICT

    text: Annotated[str, StringConstraints(max_length=100_000)]
    """As it stands in the context; "" where the context does not answer."""
    start: _Place | None = None
    """Of its first character, in code points from 0; needed where the text stands there more than
    once, or the inputs are not sent along."""


class FeedbackBody(BaseModel):
    """What the right answer was."""

    model_config = _STRICT

    request_id: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    """As it came with the answer."""
    row: Annotated[int, Field(ge=0, le=1_000_000), BeforeValidator(integral)] = 0
    """Which row of that request, from 0."""
    label: _Right | None = None
    """The right label, or reply; the same as the answer's to confirm it."""
    labels: Annotated[list[_Label], Field(max_length=1_000)] | None = None
    """All the right labels, where a text has several; [] for none."""
    value: Annotated[float, Field(allow_inf_nan=False)] | None = None
    """The right number, where the model answers with one."""
    entities: Annotated[list[EntityBody], Field(max_length=1_000)] | None = None
    """All the right parts of the text, where its parts have labels; [] for none."""
    documents: Annotated[list[_Label], Field(max_length=1_000)] | None = None
    """Ids of the right documents, where answers are documents; [] where none is right."""
    outcome: _Label | None = None
    """The right outcome of a product; "hand_off" where a person should have answered."""
    answer: PassageBody | None = None
    """The right part of the context, where questions are answered from one."""
    new_label: bool = False
    """Set it to send a label that the model does not know yet."""
    comment: Annotated[str, StringConstraints(max_length=4_000)] | None = None
    user: _Name | None = None
    segment: _Name | None = None
    text: Annotated[str, StringConstraints(max_length=100_000)] | None = None
    """The text itself, if it may be kept to learn from."""
    inputs: dict[str, _Value] | None = None
    """The same as `text`, for a model that reads several: from its input keys to values."""


class Answer(BaseModel):
    """The answer to one row, of one label; /openapi.json shows that of the model that is served."""

    label: str | None
    """None where the model is not sure enough; `reason` then says so."""
    best: str
    """The likeliest label, even where `label` is None."""
    probabilities: dict[str, float]
    reason: str | None = None


class PredictReply(BaseModel):
    outputs: list[Answer]
    model: str
    request_id: str
    personal: bool | None = None
    """Whether the user's own adapter answered; left out where no user can have one."""


class FeedbackReply(BaseModel):
    id: int
    request_id: str
    row: int


class VersionReply(BaseModel):
    """One of the models that are loaded."""

    role: Literal["live", "canary", "shadow"]
    model: str
    name: str
    released: bool
    share: float
    """Percent of the users whom it answers."""


class DeploymentReply(BaseModel):
    """The deployment that this server follows."""

    name: str
    change: int
    """The change that it serves."""
    wanted: int
    """The newest change that it knows of."""
    state: Literal["current", "changing", "failed", "stopped"]
    """How the newest change went; where it failed, `sartor deployments` says why."""


class FieldReply(BaseModel):
    """One key of a row."""

    name: str
    kind: str
    """"text", or of a column "number", "category", "date", "items", a list of ids, or "answers", a
    list of ids each with whether it was answered right; "item" and "skill" may be left out."""
    values: list[str] = []
    """What a category was seen to hold, the most frequent first; of a skill all there are."""


class ModelReply(BaseModel):
    """What is served here: the live model."""

    name: str
    model: str
    inputs: list[str]
    fields: list[FieldReply]
    """The same keys with what each holds."""
    labels: list[str]
    """What it can answer; empty where that is a number."""
    target: str
    """What an answer holds: "label", "labels" where a text has several, "value", a number,
    "entities" where its parts have labels, "documents", "answer", a part of a context, or
    "outcome", that of a product. Feedback says what is right under the same key."""
    replies: bool
    """Whether it replies to conversations, at /v1/chat/completions."""
    released: bool
    feedback: bool
    """Whether feedback is taken here."""
    texts_kept: bool
    """Whether texts that are sent for an answer are kept."""
    personal: bool
    """Whether users can have adapters here."""
    versions: list[VersionReply]
    deployment: DeploymentReply | None


class HealthReply(BaseModel):
    status: str


class Fault(BaseModel):
    what: str
    fix: str
    message: str | None = None
    """Both in one, where OpenAI's clients look for it; only there."""
    type: str | None = None
    """OpenAI's name of the kind of fault; only there."""


class ErrorReply(BaseModel):
    error: Fault


def parse(kind: type[_Body], raw: bytes) -> _Body:
    """Read a body that nobody vouches for.

    Raises:
        RequestError: 400 where it is not JSON, 422 where it has the wrong form.
    """
    try:
        return kind.model_validate_json(raw)
    except ValidationError as error:
        raise _refusal(kind, error.errors(include_url=False)[0]) from None


def checked(kind: type[_Body], given: Any) -> _Body:
    """Read what somebody else has read from JSON already.

    Raises:
        RequestError: 422 where it has the wrong form.
    """
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        raise _refusal(kind, error.errors(include_url=False)[0]) from None


def _refusal(kind: type[BaseModel], fault: Any) -> RequestError:
    if fault["type"] == "json_invalid":
        return RequestError(
            f"The body is not usable JSON: {fault['ctx']['error']}.",
            fix="send UTF-8 JSON with content-type application/json.",
        )
    place = ".".join(map(str, fault["loc"])) or "the body"
    shown = f" Got {fault['input']!r:.80}." if fault["type"] != "missing" else ""
    keys = ", ".join(kind.model_fields)
    return RequestError(
        f"{place}: {fault['msg']}.{shown}",
        fix=f"see /openapi.json; the keys are {keys}.",
        status=422,
    )


def said_text(body: FeedbackBody, inputs: Mapping[str, str]) -> str | None:
    """What a user sends along to be learnt from, as it is kept; None where they send nothing.

    Args:
        body: Holds `text` for a model of one input, `inputs` for one of several.
        inputs: Of the manifest: key to what it holds.

    Raises:
        RequestError: If it is sent under the other name, or lacks an input.
    """
    alone = list(inputs.values()) == ["text"]
    right, wrong = ("text", body.inputs) if alone else ("inputs", body.text)
    if wrong is not None:
        other = "inputs" if right == "text" else "text"
        raise RequestError(
            f"{other}: the model reads {', '.join(inputs)}.",
            fix=f"send what is to be kept under {right!r}.",
            status=422,
        )
    given = body.text if right == "text" else body.inputs
    return None if given is None else written(read_row(given, body.row, inputs))
