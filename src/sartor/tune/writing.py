"""`WritingTuner`: a candidate that writes replies in, a folder with its model out.

The ways to come by one are files in `tune/writers/`. Their fits lie beside all others, keyed by
what decides their bytes, with the loop's checkpoints.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, ClassVar, Protocol

import numpy as np

from sartor.core.errors import SettingError
from sartor.core.events import Emit
from sartor.core.hashing import digest, sources_sha256
from sartor.core.near import near_miss
from sartor.core.protocols import Fitted, Floats
from sartor.core.registry import Registry
from sartor.core.replies import HEAD
from sartor.core.settings import read_as
from sartor.core.types import Backbone, Candidate, Examples
from sartor.llm.conversation import Message, conversation_of
from sartor.llm.written import Shown, WriterFile, asked
from sartor.tune.conversing import Conversing
from sartor.tune.fit import Making, Tuner
from sartor.tune.job import Result
from sartor.tune.packing import Lesson
from sartor.tune.recipe import Watch
from sartor.tune.settings import Loop

LONGEST_REPLY = 256
"""Tokens of a reply, where the training rows have longer ones."""
CONTEXT = 1_024
"""Tokens of a conversation with its reply, where the model could read more."""
_ROOM = 1.25
"""How much longer than the longest usual reply a reply may be."""
_USUAL = 0.95


@dataclass(frozen=True, slots=True)
class WritingJob:
    """A candidate and its rows.

    Args:
        candidate: What to fit.
        loop: Settings of the loop.
        backbone: The candidate's.
        train: Training rows.
        validation: Rows that choose and stop.
        bf16: Whether the matrix products of training run in bfloat16.
    """

    candidate: Candidate
    loop: Loop
    backbone: Backbone
    train: Examples
    validation: Examples
    bf16: bool


class WritingMethod(Protocol):
    """One file in `tune/writers/`. Its dataclass fields are its settings."""

    rung: ClassVar[int]
    """Its place on the ladder, cheapest first."""
    learns: ClassVar[bool]
    """Whether it goes through the loop, and so takes its settings."""
    writes: ClassVar[bool]
    """Whether it ships a model."""
    reads: ClassVar[tuple[str, ...]]
    """What is answered: "conversation" where it may be one, "text" where it is not."""
    begins: ClassVar[str]
    """With which weights: "pretrained", "drawn" or "any"."""

    def fit(self, job: WritingJob, watch: Watch) -> Result:
        """Make the model, and its replies to the validation rows as `core.replies` has them.

        Raises:
            SettingError: If it cannot work on this backbone, or with these settings.
        """
        ...

    @staticmethod
    def portfolio() -> Sequence[Mapping[str, Any]]:
        """Candidate settings, best first."""
        ...


WRITERS: Registry[WritingMethod] = Registry(
    "way to write replies", package="sartor.tune.writers", group="sartor.writers"
)


def writers(wanted: Sequence[str] | None, reads: str = "conversation") -> list[str]:
    """Those to climb: the need's own list in its order, else all, cheapest first.

    Args:
        wanted: The need's list.
        reads: See `WritingMethod.reads`.

    Raises:
        UnknownName: If the need names one that does not exist.
        SettingError: If it names one that reads something else.
    """
    known: dict[str, Any] = {name: WRITERS.get(name) for name in WRITERS.names()}
    fitting = [name for name in known if reads in known[name].reads]
    fitting.sort(key=lambda name: known[name].rung)
    for name in wanted or ():
        WRITERS.get(name)
        if name not in fitting:
            raise SettingError(
                f"{name!r} answers a {' or a '.join(known[name].reads)}, and this task a {reads}.",
                fix=f"choose among {', '.join(fitting)}.",
            )
    return fitting if wanted is None else list(wanted)


def owners_of(method: str) -> list[Any]:
    """The method, and the loop where it learns."""
    chosen: Any = WRITERS.get(method)
    return [chosen, *([Loop] if chosen.learns else [])]


def read_writing(flat: Mapping[str, Any], method: str) -> tuple[WritingMethod, Loop]:
    """Validate a candidate's settings.

    Raises:
        SettingError: If a key belongs to nobody or a value is out of range.
    """
    owners = owners_of(method)
    chosen = owners[0]
    known = {field.name: owner for owner in owners for field in fields(owner)}
    for key in flat:
        if key not in known:
            raise SettingError(
                f"{method!r} has no setting {key!r}.", fix=near_miss(key, sorted(known))
            )
    shares = [{k: v for k, v in flat.items() if known[k] is owner} for owner in (chosen, Loop)]
    return read_as(chosen, shares[0]), read_as(Loop, shares[1])


class WritingTuner:
    """Fits candidates of `WRITERS`.

    Args:
        tuner: Keeps the results, and knows backbones, deadline and precision.
    """

    def __init__(self, tuner: Tuner) -> None:
        self.tuner = tuner

    def __call__(
        self, candidate: Candidate, train: Examples, validation: Examples, emit: Emit
    ) -> Fitted:
        """Fit one candidate, or return its finished result; errors are those of `Tuner`."""
        method, loop = read_writing(candidate.settings, candidate.method)
        backbone = self.tuner.backbones[candidate.backbone]
        bf16 = self.tuner.options.bf16
        job = WritingJob(candidate, loop, backbone, train, validation, bf16)

        def making() -> Making:
            return Making(lambda watch: method.fit(job, watch), "", context_of(backbone))

        return self.tuner.kept(self.key(candidate, train, validation), making, emit)

    def key(self, candidate: Candidate, train: Examples, validation: Examples) -> str:
        """Hash of everything that decides a fit's bytes, 64 hex digits."""
        code = sources_sha256("sartor.core.replies", "sartor.llm")
        return digest(self.tuner.key(candidate, _plain(train), _plain(validation)), code)


def context_of(backbone: Backbone) -> int:
    """Tokens of a conversation with its reply."""
    return min(CONTEXT, backbone.max_length)


def longest_reply(replies: Sequence[Sequence[int]], context: int) -> int:
    """Tokens that a reply may have: a little more than nearly all training replies have.

    Args:
        replies: Token ids of the training rows' replies.
        context: See `context_of`.
    """
    usual = float(np.quantile([len(ids) for ids in replies], _USUAL)) if replies else 1.0
    return max(1, min(int(usual * _ROOM) + 2, LONGEST_REPLY, context // 2))


@dataclass(frozen=True, slots=True)
class Reading:
    """How a model reads the rows of a job.

    Args:
        says: Joints and tokenizer of the model.
        file: What ships beside it.
    """

    says: Conversing
    file: WriterFile

    @staticmethod
    def of(job: WritingJob, model: Any, shown: Sequence[int] = ()) -> "Reading":
        """For a model, with the training rows `shown` standing before every conversation."""
        says, config, train = conversing(job.backbone), model.config, job.train
        texts = [(last_message(train, row), str(train.target[row])) for row in shown]
        context = context_of(job.backbone)
        heads = config.num_attention_heads
        examples = [Shown(text=says.said(a), reply=says.said(b)) for a, b in texts]
        file = WriterFile(
            joints=says.joints,
            stop=says.stop,
            silent=sorted(says.silent),
            shown=_short_enough(examples, context // 4),
            context=context,
            max_new_tokens=longest_reply([says.said(str(r)) for r in train.target], context),
            layers=config.num_hidden_layers,
            heads=getattr(config, "num_key_value_heads", None) or heads,
            size=getattr(config, "head_dim", None) or config.hidden_size // heads,
        )
        return Reading(says, file)

    def prompt(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """A conversation up to where the reply begins."""
        room = self.file.context - self.file.max_new_tokens
        return asked(self.file, messages, self.says.said, room).ids

    def prompts(self, examples: Examples) -> list[tuple[int, ...]]:
        return [self.prompt(conversation_of(str(text))) for text in examples.texts]

    def lessons(self, examples: Examples) -> list[Lesson]:
        """Prompts with the right replies; a reply that is too long is cut, and still closed."""
        found: list[Lesson] = []
        prompts = self.prompts(examples)
        for prompt, reply in zip(prompts, examples.target, strict=True):
            left = self.file.context - len(prompt)
            found.append(
                Lesson(
                    [*prompt, *self.says.said(str(reply))[:left]], len(prompt), self.says.stop[0]
                )
            )
        return found


def _short_enough(shown: Sequence[Shown], most: int) -> list[Shown]:
    """Examples as they come, as long as they leave room for the conversation."""
    found: list[Shown] = []
    for each in shown:
        most -= len(each.text) + len(each.reply)
        if most < 0:
            break
        found.append(each)
    return found


@cache
def conversing(backbone: Backbone) -> Conversing:
    """See `Conversing`; a large tokenizer takes a second to read."""
    return Conversing(backbone)


def last_message(examples: Examples, row: int) -> str:
    """What the user said last in a row."""
    return conversation_of(str(examples.texts[row]))[-1].content


def unscored(train: Examples) -> Floats:
    """Of training rows that nobody was asked to reply to."""
    return np.full((len(train), HEAD), np.nan, np.float32)


def _plain(examples: Examples) -> Examples:
    return Examples(examples.ids, examples.inputs, tuple(map(str, examples.target)))
