"""How an encoder-decoder reads a text and writes another: `translator.json` of a bundle.

The encoder reads  before · text · after;  the decoder begins with  opening  and goes on until a
token of  stop.  What is read is text: a tokenizer that knows no control token reads it.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from sartor.llm.checked import read_checked
from sartor.llm.written import Id

FILE = "translator.json"
ENCODER = "encoder.onnx"
FORMAT = 2
"""2 where another tokenizer writes than reads, which version 1 does not know; else 1."""


class TranslatorFile(BaseModel):
    """The contents of `translator.json`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    format: int = Field(default=1, ge=1, le=FORMAT)
    before: list[Id] = Field(default_factory=list[Id], max_length=1_000)
    after: list[Id] = Field(default_factory=list[Id], max_length=1_000)
    opening: list[Id] = Field(min_length=1, max_length=16)
    """What the decoder is given to begin with; no part of what it writes."""
    stop: list[Id] = Field(min_length=1, max_length=16)
    """Tokens that end it."""
    pad: Id
    silent: list[Id] = Field(default_factory=list[Id], max_length=100_000)
    """Control tokens: they spell nothing, and are never written."""
    most_read: int = Field(ge=1, le=1_000_000)
    """Tokens of a text, `before` and `after` included; what comes behind is not read."""
    max_new_tokens: int = Field(ge=1, le=100_000)
    beams: int = Field(ge=1, le=64)
    """Texts that are kept beside each other while writing; 1 takes the likeliest token each time.
    """
    length_penalty: float = Field(ge=0, le=10)
    """The sum of ln p is divided by tokens to this power, so that long ones are not put back."""
    layers: int = Field(ge=1, le=1_000)
    """Of the decoder."""
    heads: int = Field(ge=1, le=1_000)
    size: int = Field(ge=1, le=10_000)
    """Of a head."""

    @property
    def apart(self) -> bool:
        """Whether target_tokenizer.json writes."""
        return self.format > 1

    def to_json(self) -> str:
        return json.dumps(self.model_dump(mode="json"), indent=1) + "\n"

    def read(self, ids: Sequence[int]) -> list[int]:
        """What the encoder reads of a text's token ids: its end is cut where it is too long."""
        room = max(self.most_read - len(self.before) - len(self.after), 1)
        return [*self.before, *ids[:room], *self.after]


def read_translator(path: Path) -> TranslatorFile:
    """Read the file of a bundle, which nobody vouches for.

    Raises:
        BundleError: If it is too large or not of its form.
    """
    return read_checked(path, TranslatorFile)
