"""A fitted classifier, opened again to be trained on, and texts as it reads them."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from tokenizers import Tokenizer

from sartor.core.errors import ModelError, NothingToTune
from sartor.core.texts import Text
from sartor.models.by_piece import tokenise_by_piece
from sartor.models.folder import read_config
from sartor.models.loading import load_tokenizer
from sartor.models.packed import tokenise
from sartor.tasks._encoder.model import TextClassifier
from sartor.tune.batching import Tokens


def reopened(start: Path, task: str, outputs: int) -> TextClassifier:
    """The encoder with a head that a fit left, in eval mode.

    Args:
        start: Folder that the task's `train.load` reads.
        task: Name in the tasks registry.
        outputs: Of the rows that it is to learn.

    Raises:
        NothingToTune: If it is none, or holds layers that a method added.
        ModelError: If it has other outputs, or the folder is damaged.
    """
    model = import_module(f"sartor.tasks.{task}.train").load(start)
    if not isinstance(model, TextClassifier):
        raise NothingToTune(
            f"{start.name} holds a {type(model).__name__}, which has no encoder to train.",
            fix="start from a fitted encoder with a head.",
        )
    if model.added:
        kinds = ", ".join(type(layers).__name__ for layers in model.added)
        raise NothingToTune(
            f"{start.name} holds layers that a method added ({kinds}): they are not trained on.",
            fix="start from a model of a method that folds: full, top_layers, lora or head.",
        )
    if model.head.out_features != outputs:
        raise ModelError(
            f"{start.name} has {model.head.out_features} outputs, the rows have {outputs}.",
            fix="start from a model that was fitted on the same labels.",
        )
    return model


@dataclass(frozen=True, slots=True)
class Reading:
    """How a fitted classifier reads texts.

    Args:
        tokenizer: Cuts them.
        pad: Id of the padding token.
        prefix: Put before every text.
        by_piece: Whether it answers about the pieces of a text.
    """

    tokenizer: Tokenizer
    pad: int
    prefix: str
    by_piece: bool

    @staticmethod
    def of(start: Path, prefix: str, max_length: int, *, by_piece: bool) -> "Reading":
        """As the folder's tokenizer does, `max_length` tokens at most."""
        tokenizer = load_tokenizer(start)
        tokenizer.enable_truncation(max_length)
        pad = read_config(start).get("pad_token_id")
        return Reading(tokenizer, pad if isinstance(pad, int) else 0, prefix, by_piece)

    def tokens(self, texts: Sequence[Text]) -> Tokens:
        if self.by_piece:
            ids, marks = tokenise_by_piece(self.tokenizer, texts, self.prefix)
            return Tokens(ids, self.pad, marks)
        return Tokens(tokenise(self.tokenizer, texts, self.prefix), self.pad)
