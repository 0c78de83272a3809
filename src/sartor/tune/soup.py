"""Model soup: fits of one pretrained model, averaged weight by weight, are one model again.

θ = (1/n) Σ_i θ_i,  fits taken in turn, the best first, each kept where the average then does better
Wortsman et al. 2022, https://arxiv.org/abs/2203.05482 (greedy soup)

Fits that start from the same weights often end in one basin of the loss, and its middle lies lower
than its rim. The average costs nothing more to serve than one of them.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from shutil import copyfile
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor, nn

from sartor.core.likelihood import Truth, fit_temperature
from sartor.core.protocols import Floats
from sartor.core.ragged import fit_to, rows_scored
from sartor.core.texts import Text
from sartor.core.types import Examples
from sartor.models.by_piece import tokenise_by_piece
from sartor.models.packed import tokenise
from sartor.tasks import TASKS
from sartor.tune.batching import Tokens
from sartor.tune.scoring import log_loss, score
from sartor.tune.windows import Windowed, room_of

_SOUP, _LOGITS, _TEXT = "soup.json", "logits.safetensors", "text.json"


@dataclass(frozen=True, slots=True)
class Soup:
    """A soup as made.

    Args:
        kept: Of the fits offered, the positions of those that were averaged; only the first where
            no average did better.
        validation_logits: (validation rows, outputs).
        train_logits: (training rows, outputs); rows that the first fit did not score are NaN.
    """

    kept: tuple[int, ...]
    validation_logits: Floats
    train_logits: Floats


def make_soup(fits: Sequence[Path], rows: tuple[Examples, Examples], task: str, to: Path) -> None:
    """Average fits greedily and write the result as a fit's folder.

    Args:
        fits: `Fitted.folder` of each, the best first; those of another architecture than the first
            are left out.
        rows: Training and validation rows of the fits.
        task: Its training half rebuilds the model.
        to: An empty folder.
    """
    load = import_module(f"sartor.tasks.{task}.train").load
    train, validation = rows
    text = json.loads((fits[0] / _TEXT).read_text(encoding="utf-8"))
    truth = TASKS.get(task)().truth(validation, text["outputs"])
    model = load(fits[0])
    mean = {name: value.clone() for name, value in model.state_dict().items()}
    logits = load_file(fits[0] / _LOGITS)
    best, kept = _calibrated_loss(logits["validation"], truth), [0]
    reader = _Reader(fits[0], text, model.encoder.config.pad_token_id or 0, model.by_piece)
    for index in range(1, len(fits)):
        more = load(fits[index]).state_dict()
        if not alike(mean, more):
            continue
        stirred = stir(mean, more, len(kept))
        model.load_state_dict(stirred)
        found = fit_to(reader.scored(model, validation.texts), logits["validation"])
        if (loss := _calibrated_loss(found, truth)) < best:
            best, mean, logits = loss, stirred, logits | {"validation": found}
            kept.append(index)
    model.load_state_dict(mean)
    if len(kept) > 1:
        scored = rows_scored(logits["train"])
        texts = train.take(scored.tolist()).texts
        found = reader.scored(model, texts)
        logits["train"][scored] = fit_to(found, logits["train"])
    model.save(to)
    for name in ("tokenizer.json", _TEXT):
        copyfile(fits[0] / name, to / name)
    save_file({k: np.ascontiguousarray(v, np.float32) for k, v in logits.items()}, to / _LOGITS)
    (to / _SOUP).write_text(json.dumps({"kept": kept}) + "\n", encoding="utf-8")


def alike(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    """Whether two models hold the same tensors, by name and shape."""
    shapes = ({name: value.shape for name, value in model.items()} for model in (one, other))
    return next(shapes) == next(shapes)


def stir(mean: Mapping[str, Tensor], more: Mapping[str, Tensor], count: int) -> dict[str, Tensor]:
    """The mean of `count` models and one more; what is not a fraction stays as it was."""
    return {
        name: value + (more[name] - value) / (count + 1) if value.is_floating_point() else value
        for name, value in mean.items()
    }


def read_soup(folder: Path) -> Soup:
    """What `make_soup` wrote."""
    kept = json.loads((folder / _SOUP).read_text(encoding="utf-8"))["kept"]
    logits = load_file(folder / _LOGITS)
    return Soup(tuple(kept), logits["validation"], logits["train"])


def _calibrated_loss(logits: Floats, truth: Truth) -> float:
    # An average is less sure of itself than its parts; the decision rule sets that right anyhow.
    return log_loss(logits / np.float32(fit_temperature(logits, truth)), truth)


@dataclass(frozen=True, slots=True)
class _Reader:
    """How the fits read texts.

    Args:
        fit: Folder of one of them.
        text: What its text.json says.
        pad: Id of the padding token.
        by_piece: Whether they answer about pieces.
    """

    fit: Path
    text: Mapping[str, Any]
    pad: int
    by_piece: bool

    def scored(self, model: nn.Module, texts: Sequence[Text]) -> Floats:
        """Logits of a model of theirs on texts."""
        tokenizer = Tokenizer.from_file(str(self.fit / "tokenizer.json"))
        tokenizer.no_padding()
        prefix, cut = self.text["prefix"], self.text["max_length"]
        windows = None
        if self.by_piece and texts and not isinstance(texts[0], str):
            windows = Windowed.of(texts, room_of(tokenizer, prefix, cut))
            texts = windows.texts
        tokenizer.enable_truncation(cut)
        if not self.by_piece:
            return score(model, Tokens(tokenise(tokenizer, texts, prefix), self.pad))
        ids, marks = tokenise_by_piece(tokenizer, texts, prefix)
        found = score(model, Tokens(ids, self.pad, marks))
        return found if windows is None else windows.joined(found)
