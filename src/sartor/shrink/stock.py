"""What a fitted model is elsewhere: a folder that stock libraries load, without any code of ours.

A form of such a folder is a file in `shrink/stocks/`. It writes what a fit left, loads it again
with stock classes alone, and says how far their answers are from the bundle's.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Protocol

from transformers import PreTrainedTokenizerFast

from sartor.core.errors import ModelError
from sartor.core.protocols import Floats
from sartor.core.registry import Registry
from sartor.core.texts import Text
from sartor.models.chat_template import SETTINGS
from sartor.models.loading import load_tokenizer
from sartor.tasks._encoder.files import write_json

_SPECIAL: Mapping[str, tuple[str, ...]] = {
    "pad_token": ("[PAD]", "<pad>", "<|pad|>"),
    "unk_token": ("[UNK]", "<unk>"),
    "cls_token": ("[CLS]", "<s>"),
    "sep_token": ("[SEP]", "</s>"),
    "mask_token": ("[MASK]", "<mask>"),
}


@dataclass(frozen=True, slots=True)
class Told:
    """What the bundle says of the model.

    Args:
        task: Name in the tasks registry.
        outputs: Names of the outputs, in the order of the logits.
        decision: Its decision rule.
        prefix: Put before every text.
        passage: Put before every document instead, where there are documents.
        max_length: Tokens a text is cut at.
        windows: Whether the bundle reads on in windows where a text is longer.
    """

    task: str
    outputs: tuple[str, ...]
    decision: Mapping[str, Any]
    prefix: str
    passage: str
    max_length: int
    windows: bool


@dataclass(frozen=True, slots=True)
class Answered:
    """What the bundle answers, for a stock class to be held against.

    Args:
        texts: That both are asked.
        logits: The bundle's, a row a text: of one that finds documents the texts' vectors, of one
            that writes what it writes in numbers.
        written: What it writes of each text; empty where it does not write.
    """

    texts: Sequence[Text]
    logits: Floats
    written: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Usage:
    """What the card of such a folder says.

    Args:
        pipeline: Hugging Face's word for what it is for.
        loader: Whose classes load it: "transformers" or "sentence-transformers".
        text: Markdown: how it is loaded, and what no library does by itself.
    """

    pipeline: str
    loader: str
    text: str


class Stock(Protocol):
    """One file in `shrink/stocks/`."""

    tasks: ClassVar[tuple[str, ...]]
    """Whose models it holds."""

    def write(self, fit: Path, told: Told, folder: Path) -> Usage:
        """Write the model that a fit left into an empty folder.

        Args:
            fit: What the task's tuner left.
            told: See `Told`.
            folder: Empty.

        Raises:
            ModelError: If no stock class can hold such a model, or the fit is damaged.
        """
        ...

    def apart(self, folder: Path, told: Told, answered: Answered) -> float:
        """Largest difference of a probability between stock classes and the bundle, before any
        decision rule.

        Raises:
            ModelError: If they do not read the same.
        """
        ...


STOCKS: Registry[Stock] = Registry(
    "form of an exported model", package="sartor.shrink.stocks", group="sartor.stocks"
)


def stock_of(task: str) -> Stock:
    """The form that holds the models of a task.

    Raises:
        ModelError: If none does.
    """
    known: dict[str, Any] = {name: STOCKS.get(name) for name in STOCKS.names()}
    found = next((stock for stock in known.values() if task in stock.tasks), None)
    if found is None:
        tasks = sorted(name for stock in known.values() for name in stock.tasks)
        raise ModelError(
            f"Models of {task} cannot be exported.",
            fix=f"serve the bundle itself; what can be exported: {', '.join(tasks)}.",
        )
    return found()


def no_class(what: str, instead: str = "") -> ModelError:
    """That stock libraries have no class for a model.

    Args:
        what: The model is.
        instead: Methods whose models can be exported.
    """
    other = f", or run the need with --method {instead}" if instead else ""
    return ModelError(
        f"This bundle's model is {what}, which no class of transformers holds.",
        fix=f"serve the bundle itself{other}.",
    )


def load_fit(fit: Path, task: str) -> Any:
    """The model that a fit left, in eval mode.

    Raises:
        ModelError: If the fit is damaged.
    """
    return import_module(f"sartor.tasks.{task}.train").load(fit)


def write_tokenizer(tokenizer: Any, folder: Path, **settings: Any) -> None:
    """Write a tokenizer as every version of transformers since 4 loads it.

    Args:
        tokenizer: Of the tokenizers library.
        folder: To write to.
        settings: Of `PreTrainedTokenizerFast`.
    """
    told = {"model_input_names": ["input_ids", "attention_mask"], **settings}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **told).save_pretrained(folder)
    path = folder / SETTINGS
    found = json.loads(path.read_text(encoding="utf-8"))
    # Version 5 names a class that version 4 does not have.
    found.pop("backend", None)
    write_json(path, {**found, "tokenizer_class": "PreTrainedTokenizerFast"})


def write_encoder_tokenizer(
    fit: Path, max_length: int, folder: Path, *, segments: bool = False
) -> None:
    """The same of an encoder's, which a fit keeps.

    Args:
        fit: Holds tokenizer.json.
        max_length: Tokens a text is cut at.
        folder: To write to.
        segments: Whether the encoder is told which of two texts a token is of.
    """
    tokenizer = load_tokenizer(fit)
    known = {
        role: next((name for name in names if tokenizer.token_to_id(name) is not None), None)
        for role, names in _SPECIAL.items()
    }
    types = ["token_type_ids"] if segments else []
    write_tokenizer(
        tokenizer,
        folder,
        model_max_length=max_length,
        model_input_names=["input_ids", *types, "attention_mask"],
        **{role: name for role, name in known.items() if name is not None},
    )
