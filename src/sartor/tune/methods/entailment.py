"""Entailment: a text belongs to the label whose sentence follows from it, before any is learnt.

logits_k = z(text, "This text is about {label_k}.")[entailment] − z(…)[contradiction]
Yin et al. 2019, https://arxiv.org/abs/1909.00161

The backbone is a model trained on natural language inference, with its classification head. Nothing
is learnt; validation labels calibrate the temperature, as they do for every method. A text costs
one forward pass a label, in training and in serving.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import nn
from transformers import PreTrainedModel

from sartor.core.errors import SettingError
from sartor.core.protocols import Floats
from sartor.core.types import Backbone
from sartor.models.folder import read_config
from sartor.models.loading import load_pair_classifier, load_tokenizer
from sartor.models.packed import Packed, tokenise
from sartor.tasks._encoder.entailment import Answers, EntailmentClassifier, Hypotheses
from sartor.tune.api import METHODS, Dimension, Reads, is_head, open_tensors
from sartor.tune.batching import Budget, Tokens, plan_in_order, rounded
from sartor.tune.frozen import ClosedFit, Frozen, Point
from sartor.tune.methods.zero_shot import ZeroShot, in_its_language, sentences

_SAMPLE = 64
"""Training texts that are scored: each costs a forward pass a label."""
_TOKENS, _SEQUENCES = 4096, 64
"""What a forward pass may hold, all labels counted."""
_PROBE = "a"
"""A text to see by how a tokenizer joins two: any will do."""


@METHODS.add
@dataclass(frozen=True, slots=True)
class Entailment:
    """Asks a model of natural language inference whether a text entails a sentence on the label."""

    reads: ClassVar[Reads] = "activations"
    rung: ClassVar[int | None] = None
    names: ClassVar[Literal[True]] = True

    template: str = ""
    """The sentence, with `{label}` in it; empty for one in the label's language. A label that the
    need describes has its description instead."""

    def attach(self, model: nn.Module) -> None:
        open_tensors(model, is_head)

    def fold(self, model: nn.Module) -> None:
        model.requires_grad_(True)

    def rate(self, name: str, depth: int) -> float:
        # Only the laws descend on it; the tuner asks.
        return 1e-2

    @staticmethod
    def obstacle(
        backbone: Backbone, outputs: Sequence[str], descriptions: Mapping[str, str]
    ) -> str:
        if backbone.whole is not None or backbone.drawn is not None:
            return f"{backbone.name} is not a whole model, and a classifier reads the last layer"
        if _answers(backbone) is None:
            return (
                f"{backbone.name} was not trained on natural language inference: its config.json"
                " names no class 'entailment'"
            )
        return ZeroShot.obstacle(backbone, outputs, descriptions)

    @staticmethod
    def fit_all(frozen: Frozen, grid: Sequence[Point]) -> list[ClosedFit]:
        why = Entailment.obstacle(frozen.backbone, frozen.outputs, frozen.descriptions)
        if why:
            raise SettingError(f"entailment cannot be used: {why}.", fix="choose another method.")
        return [_fit(frozen, point.method) for point in grid]

    @staticmethod
    def portfolio() -> Sequence[Mapping[str, Any]]:
        return [{}]

    @staticmethod
    def pair_obstacle(outputs: Sequence[str]) -> str:
        return "it compares a text with sentences on the labels, and a row has two"

    @staticmethod
    def pair_portfolio() -> Sequence[Mapping[str, Any]]:
        return Entailment.portfolio()

    @staticmethod
    def space() -> Mapping[str, Dimension]:
        return {}


def _fit(frozen: Frozen, method: Entailment) -> ClosedFit:
    tokenizer = load_tokenizer(Path(frozen.backbone.path))
    said = [
        hypothesis(name, frozen.descriptions.get(name, ""), method.template)
        for name in frozen.outputs
    ]

    def build(_: PreTrainedModel | None) -> EntailmentClassifier:
        pairs, answers = load_pair_classifier(frozen.backbone), _answers(frozen.backbone)
        assert answers is not None, "the obstacle was asked for"
        joined = joined_to(tokenizer, said, pairs.config.pad_token_id or 0)
        return EntailmentClassifier(pairs, joined, answers).eval()

    model = build(None)
    _refuse_long(frozen, model.ids.shape[1])
    tokenizer.enable_truncation(frozen.source.max_length)

    def logits(texts: Sequence[str]) -> Floats:
        tokens = Tokens(tokenise(tokenizer, texts, frozen.backbone.prefix), model.pad)
        found = np.empty((len(texts), len(said)), np.float32)
        # A row is as many sequences as there are labels.
        budget = Budget(_TOKENS // len(said), max(1, _SEQUENCES // len(said)))
        with torch.inference_mode():
            for rows in plan_in_order(tokens.lengths(), budget):
                found[rows] = model(*tokens.batch(rows)).numpy()
        return found

    count = len(frozen.train)
    sample = np.unique(np.linspace(0, count - 1, min(count, _SAMPLE)).astype(int)).tolist()
    seen = np.full((count, len(said)), np.nan, np.float32)
    seen[sample] = logits([frozen.train[int(i)] for i in sample])
    held = logits(frozen.validation)
    tokenizer.no_truncation()
    return ClosedFit(held, seen, build)


def hypothesis(label: str, description: str, template: str) -> str:
    """The sentence that stands for a label: its description, or the template filled in.

    Raises:
        SettingError: If the template has no place for the label.
    """
    found = sentences(label, "", (template or in_its_language(label),))
    return description or found[0]


def joined_to(tokenizer: Tokenizer, sentences: Sequence[str], pad: int) -> Hypotheses:
    """What the tokenizer puts behind a text when a sentence follows, separators included.

    Args:
        tokenizer: Cuts and pads nothing.
        sentences: At least one.
        pad: Id of the padding token.

    Raises:
        SettingError: If it changes the text before the sentence, so that they cannot be joined.
    """
    alone = tokenizer.encode(_PROBE)
    pairs = [tokenizer.encode(_PROBE, sentence) for sentence in sentences]
    start = len(alone.ids)
    if any(pair.ids[:start] != alone.ids or any(pair.type_ids[:start]) for pair in pairs):
        raise SettingError(
            "the tokenizer writes a text otherwise where a sentence follows.",
            fix="choose a BERT-like or RoBERTa-like model for entailment.",
        )
    ids = Packed.of([pair.ids[start:] for pair in pairs])
    found, lengths = Tokens(ids, pad).batch(np.arange(len(pairs)))[0], ids.lengths
    longest = int(lengths.max())
    types = torch.zeros(len(pairs), rounded(longest), dtype=torch.long)
    for row, pair in zip(types, pairs, strict=True):
        row[: len(pair.ids) - start] = torch.tensor(pair.type_ids[start:])
    return Hypotheses(found[:, :longest], types[:, :longest], torch.from_numpy(lengths), pad)


def _refuse_long(frozen: Frozen, longest: int) -> None:
    cut, most = rounded(frozen.source.max_length), frozen.backbone.max_length
    if cut + longest > most:
        raise SettingError(
            f"a text of {cut} tokens and a sentence of {longest} are more than the {most} that "
            f"{frozen.backbone.name} reads.",
            fix="shorten data.label_descriptions, or choose a model that reads longer texts.",
        )


def _answers(backbone: Backbone) -> Answers | None:
    """Where a folder's classifier says that a sentence follows, or does not; None for no such."""
    config = read_config(Path(backbone.path))
    named = config.get("label2id")
    if not isinstance(named, dict):
        return None
    places = {str(name).casefold(): place for name, place in named.items()}
    yes = next((p for name, p in places.items() if name.startswith("entail")), None)
    denied = ("contradict", "not_entail", "not entail", "non_entail")
    no = next((p for name, p in places.items() if name.startswith(denied)), None)
    if not all(p is None or (isinstance(p, int) and 0 <= p < len(places)) for p in (yes, no)):
        return None
    return None if yes is None else Answers(yes, no)
