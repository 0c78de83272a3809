"""Bodies of OpenAI's chat completions, as far as a model of one's own can mean them.

https://platform.openai.com/docs/api-reference/chat. A key that would change the answer and cannot
be done here is refused; those that change nothing (`n: 1`, `user`, `store: false`) are taken.
"""

from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from sartor.serve.bodies import integral
from sartor.serve.sampling import Sampling

_STRICT = ConfigDict(extra="forbid", strict=True, frozen=True)
MOST_TOKENS = 100_000
_Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]
_Stop = Annotated[str, StringConstraints(min_length=1, max_length=200)]
_Whole = BeforeValidator(integral)
_Tokens = Annotated[int, Field(ge=1, le=MOST_TOKENS), _Whole]


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _joined(value: Any) -> Any:
    """Content in parts, as clients for images send it: the texts, one after the other."""
    if not isinstance(value, list) or not value:
        return cast("Any", value)
    texts: list[str] = []
    for part in value:  # pyright: ignore[reportUnknownVariableType]
        if not isinstance(part, dict) or part.get("type") != "text":  # pyright: ignore[reportUnknownMemberType]
            raise ValueError("only parts of type text are read")
        texts.append(str(part.get("text", "")))  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType]
    return "".join(texts)


class ChatMessage(BaseModel):
    """One turn of a conversation."""

    model_config = _STRICT

    role: Literal["system", "user", "assistant"]
    content: Annotated[
        str, StringConstraints(min_length=1, max_length=1_000_000), BeforeValidator(_joined)
    ]
    name: _Name | None = None
    """Taken and not read."""


class StreamOptions(BaseModel):
    model_config = _STRICT

    include_usage: bool = False
    """Whether the last event counts tokens."""


class ChatBody(BaseModel):
    """A conversation to be replied to."""

    model_config = _STRICT

    messages: list[ChatMessage] = Field(
        min_length=1, max_length=200, examples=[[{"role": "user", "content": "Hello"}]]
    )
    """User and assistant take turns, the user first and last; a system message may stand first."""
    model: _Name | None = None
    """Taken and not read: one model is served here."""
    max_tokens: _Tokens | None = None
    """Of the reply; the bundle's own limit where nothing is said."""
    max_completion_tokens: _Tokens | None = None
    """The same by its newer name."""
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    """0, which is how the model was judged, writes the likeliest token each time."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the probability that tokens are drawn from."""
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] = 0.0
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] = 0.0
    stop: Annotated[list[_Stop], Field(max_length=4), BeforeValidator(_as_list)] | None = None
    """Texts that end the reply; they are no part of it."""
    seed: Annotated[int, Field(ge=0, lt=2**63), _Whole] | None = None
    """Of the draws."""
    stream: bool = False
    """Whether the reply is sent as it is written, as server-sent events."""
    stream_options: StreamOptions | None = None
    n: Annotated[Literal[1], _Whole] = 1
    store: Literal[False] = False
    user: _Name | None = None
    """Whose conversation it is: lets feedback be grouped, and everything of a user be deleted."""

    @property
    def sampling(self) -> Sampling:
        """How the reply is to be written."""
        return Sampling(
            temperature=float(self.temperature),
            top_p=float(self.top_p),
            frequency_penalty=float(self.frequency_penalty),
            presence_penalty=float(self.presence_penalty),
            most=self.max_completion_tokens or self.max_tokens,
            stop=tuple(self.stop or ()),
            seed=self.seed,
        )


class ReplyMessage(BaseModel):
    role: Literal["assistant"]
    content: str


class ChatChoice(BaseModel):
    index: int
    message: ReplyMessage
    finish_reason: Literal["stop", "length"]


class Usage(BaseModel):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class ChatReply(BaseModel):
    """A whole reply; with `stream` it comes as events of `chat.completion.chunk` instead."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Usage


class ModelEntry(BaseModel):
    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelList(BaseModel):
    object: Literal["list"]
    data: list[ModelEntry]
