"""A model that answers about a whole text: encoder, sentence-transformers' modules, and the head.

transformers has no class for what this is, a mean over tokens with a head on it: its sequence
classifiers read one token through a pooler. So the folder is three things at once: the encoder
and its tokenizer, which `AutoModel` and `AutoTokenizer` load; the modules of sentence-transformers,
whose `encode` then gives logits; and the head alone, with a page of Python that uses it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from sartor.core.protocols import Floats
from sartor.models.loading import quiet
from sartor.shrink.stock import STOCKS, Answered, Told, Usage, load_fit, no_class
from sartor.shrink.stocks import _predict
from sartor.shrink.stocks._heads import (
    INSTEAD,
    Head,
    labels_apart,
    rule_of_label,
    rule_section,
    stated,
    steps_of,
    write_encoder_and_head,
)
from sartor.shrink.stocks._modules import write_modules
from sartor.tasks._encoder.entailment import EntailmentClassifier
from sartor.tasks._encoder.model import TextClassifier
from sartor.tasks._encoder.prompted import PromptedClassifier
from sartor.tasks._encoder.static import StaticClassifier
from sartor.tasks.multi_label.settling import sigmoid

_ANSWERS: Mapping[str, str] = {
    "text_classification": "label",
    "multi_label": "labels",
    "ordinal": "level",
    "text_regression": "number",
}
"""What `predict.py` makes of a task's logits."""
_KINDS: Mapping[type, str] = {
    StaticClassifier: "a table of word scores (static)",
    EntailmentClassifier: "a model of pairs, asked about every label (entailment)",
    PromptedClassifier: "a language model behind a prompt (prompted)",
}


@STOCKS.add
@dataclass(frozen=True, slots=True)
class Classifier:
    """Holds models that answer about a whole text: a label, several, a level or a number."""

    tasks: ClassVar[tuple[str, ...]] = tuple(_ANSWERS)

    def write(self, fit: Path, told: Told, folder: Path) -> Usage:
        model = load_fit(fit, told.task)
        if not isinstance(model, TextClassifier):
            raise no_class(_KINDS.get(type(model), type(model).__name__), INSTEAD)
        if model.added:
            raise no_class(
                "an encoder with added layers (adapter, prefix or prompt)", instead=INSTEAD
            )
        steps = steps_of(model.head)
        about = {"answers": _ANSWERS[told.task]}
        write_encoder_and_head(model, Head(steps), fit, told, folder, about)
        modules = model.layers == (model.encoder.config.num_hidden_layers,)
        if modules:  # that library has no way to read several layers
            prompts = {"text": told.prefix} if told.prefix else {}
            write_modules(folder, told.max_length, prompts, next(iter(prompts), None), steps)
        return Usage(
            "text-classification",
            "sentence-transformers" if modules else "transformers",
            _said(told, modules=modules),
        )

    def apart(self, folder: Path, told: Told, answered: Answered) -> float:
        ours, theirs = answered.logits, logits_of(folder, [str(text) for text in answered.texts])
        rule, answers = told.decision, _ANSWERS[told.task]
        if answers == "number":
            # Of half the width of an interval, where there is one.
            found = np.abs(ours - theirs) / (rule.get("half_width") or np.ptp(theirs) or 1.0)
        elif answers == "labels":
            offsets = np.array([rule.get("offsets", {}).get(name, 0.0) for name in told.outputs])
            shares = (sigmoid(rule.get("slope", 1.0) * each + offsets) for each in (ours, theirs))
            found = np.abs(np.subtract(*shares))
        else:
            return labels_apart(ours, theirs, rule)
        return float(found.max())


def logits_of(folder: Path, texts: list[str]) -> Floats:
    """(texts, outputs) float32: what the folder answers when stock classes load it."""
    with quiet():
        return _predict.Model(folder).logits(texts).numpy()


def _said(told: Told, *, modules: bool) -> str:
    """For the card."""
    lines = [
        "```sh",
        'python predict.py "a text"   # needs torch and transformers; answers by the rule below',
        "```",
        "",
        "```python",
        "from transformers import AutoModel, AutoTokenizer",
        "",
        "encoder = AutoModel.from_pretrained(folder)  # the head is in head.safetensors",
        "```",
        "",
    ]
    if modules:
        lines += [
            "```python",
            "from sentence_transformers import SentenceTransformer",
            "",
            "logits = SentenceTransformer(folder).encode(texts)  # (texts, outputs)",
            "```",
            "",
        ]
    return "\n".join(
        [
            *lines,
            "There is no `AutoModelForSequenceClassification` for it: those read one token through"
            " a pooler, and this reads the mean over the tokens.",
            "",
            *rule_section(_rule(told), told, "texts are"),
            "",
        ]
    )


def _rule(told: Told) -> list[str]:
    rule, answers = told.decision, _ANSWERS[told.task]
    if answers == "number":
        return [f"low and high lie {rule.get('half_width', 0.0):.6g} below and above the value"]
    if answers == "labels":
        return [
            f"p = sigmoid({rule.get('slope', 1.0):.6g} · logit + offset), a label's own: "
            f"{stated(rule.get('offsets', {}), 0.0)}",
            "labels = those whose p is at least their threshold: "
            f"{stated(rule.get('thresholds', {}), 0.5)}",
        ]
    return rule_of_label(rule)
