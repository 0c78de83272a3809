"""The parts of a product: which bundle answers, what it reads, and what follows from its answer.

    parts:
      intent:
        need: intent.yaml                 # or bundle: a folder
        then:
          - {when: [refund, order], go: answers}
          - {when: thanks, say: You are welcome.}
          - {when: complaint, hand_off: a complaint}
          - {answer: intent}
      answers:
        bundle: ../answers-3f2a
        reads: history
        then: {go: order}
      order:
        need: relevance.yaml              # two texts a row: is this document relevant to that?
        reads: [history, answers]
        relevant: "yes"                   # the documents come in the order of how likely this is
        then: {answer: order, reply: writer}
      writer:
        need: replies.yaml                # says it in words, which change no outcome
        reads: [history, order]

The first part reads every row. Of a part's cases the first that holds decides; a part without any
answers for the product. This is all there is: nothing is evaluated, and every row ends at an
answer or at a person. `need.graph` checks that.

A served product holds these too, where no reader of YAML is installed: `need.parts_section` reads
them from a need.
"""

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

TEXT, HISTORY = "text", "history"
"""What a part may read besides another part's answer: the last thing that was said, or all that the
user said."""
MOST_DOCUMENTS = 100
"""That a part reads."""
_RANKED = 10
"""Documents that are put in another order, where nothing is said."""
_STRICT = ConfigDict(
    extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
)


def _as_tuple(value: object) -> object:
    return (value,) if isinstance(value, str | int) else value


def _as_text(value: object) -> object:
    """A label that is a number is read as the text that it is in the data."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _as_written(names: tuple[str, ...]) -> str | list[str]:
    return names[0] if len(names) == 1 else list(names)


_Name = Annotated[str, Field(min_length=1, max_length=500)]
_Label = Annotated[_Name, BeforeValidator(_as_text, json_schema_input_type=_Name | int)]
_Words = Annotated[str, Field(min_length=1, max_length=2_000)]
_Share = Annotated[float, Field(gt=0, le=1)]
Labels = Annotated[
    tuple[_Label, ...],
    BeforeValidator(_as_tuple, json_schema_input_type=_Label | tuple[_Label, ...]),
    Field(min_length=1, max_length=1_000),
]
Reads = Annotated[
    tuple[_Name, ...],
    BeforeValidator(_as_tuple, json_schema_input_type=_Name | tuple[_Name, ...]),
    PlainSerializer(_as_written),
    Field(min_length=1, max_length=10),
]


class Case(BaseModel):
    """What follows where its conditions hold; one of `go`, `answer`, `say` and `hand_off`."""

    model_config = _STRICT

    when: Labels | None = None
    """Labels of the part, one of which is its answer; any where left out."""
    below: _Share | None = None
    """Holds where the part is less sure than this."""
    above: _Share | None = None
    """Holds where the part is at least as sure as this."""
    go: str | None = None
    """The part that goes on."""
    answer: str | None = None
    """The part whose answer is the product's: this one, or one that every row here has passed."""
    reply: str | None = None
    """Beside `answer`: the part that writes what is said of it, or quotes it, where a person does
    not answer."""
    say: _Words | None = None
    """Words that stand for this part's answer, which is the product's."""
    hand_off: _Words | None = None
    """Why a person should answer."""
    line: int = Field(default=0, exclude=True)

    @property
    def closes(self) -> bool:
        """Whether its labels are decided, however sure the part is."""
        return self.below is None and self.above is None

    def holds(self, label: str | None, confidence: float) -> bool:
        """Whether it decides for an answer.

        Args:
            label: The part's answer.
            confidence: How sure the part is of it, 0 to 1.
        """
        if self.when is not None and label not in self.when:
            return False
        if self.below is not None and confidence >= self.below:
            return False
        return self.above is None or confidence >= self.above


class Part(BaseModel):
    """One bundle of a product."""

    model_config = _STRICT

    bundle: str | None = Field(default=None, min_length=1, max_length=1_000)
    """A bundle's folder, relative to the need file."""
    need: str | None = Field(default=None, min_length=1, max_length=1_000)
    """A need file, relative to this one; it is run first where the workspace holds no run of it."""
    reads: Reads = (TEXT,)
    """`text`, the last thing that was said; `history`, all that the user said, or to a part that
    writes the whole conversation; a part whose answer is read, of a document what it says; or a
    list of these, in the order in which the bundle reads them."""
    documents: int | None = Field(default=None, ge=1, le=MOST_DOCUMENTS)
    """How many documents of a part it reads, the best first: 1 where nothing is said, or 10 where
    it puts them in another order."""
    relevant: _Label | None = None
    """Of a part that reads two texts: its label for a document that answers. It then puts the
    documents of the part that it reads in the order of how likely that is, and answers with the
    first."""
    then: tuple[Case, ...] = Field(default=(), max_length=200)
    """What follows, by its answer; it answers for the product where left out."""
    line: int = Field(default=0, exclude=True)

    def cases(self, name: str) -> tuple[Case, ...]:
        """What follows; `name` is the part's own."""
        return self.then or (Case(answer=name, line=self.line),)

    def leads_to(self) -> list[str]:
        """The parts that may come behind it, each once: that go on, or write."""
        named = (name for case in self.then for name in (case.go, case.reply))
        return list(dict.fromkeys(name for name in named if name is not None))

    def read_parts(self) -> list[str]:
        """The parts whose answers it reads."""
        return [name for name in self.reads if name not in (TEXT, HISTORY)]

    @property
    def ranks(self) -> str | None:
        """The part whose documents it puts in another order; None where it does not."""
        return None if self.relevant is None else next(iter(self.read_parts()), None)

    @property
    def most(self) -> int:
        """Documents of a part that it reads, at most."""
        return self.documents or (1 if self.relevant is None else _RANKED)


Parts = Mapping[str, Part]
