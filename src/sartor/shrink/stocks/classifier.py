"""A model that answers about a whole text: encoder, sentence-transformers' modules, and the head.

transformers has no class for what this is, a mean over tokens with a head on it: its sequence
classifiers read one token through a pooler. So the folder is three things at once: the encoder
and its tokenizer, which `AutoModel` and `AutoTokenizer` load; the modules of sentence-transformers,
whose `encode` then gives logits; and the head alone, with a page of Python that uses it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from shutil import copyfile
from typing import Any, ClassVar

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from sartor.core.protocols import Floats
from sartor.models.loading import quiet
from sartor.shrink.stock import (
    STOCKS,
    Answered,
    Told,
    Usage,
    load_fit,
    no_class,
    write_encoder_tokenizer,
)
from sartor.shrink.stocks import _predict
from sartor.shrink.stocks._modules import Step, linear, write_encoder, write_modules
from sartor.tasks._decision.logits import softmax
from sartor.tasks._encoder import heads
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
_INSTEAD = "lora, full, top_layers or head"
_KINDS: Mapping[type, str] = {
    StaticClassifier: "a table of word scores (static)",
    EntailmentClassifier: "a model of pairs, asked about every label (entailment)",
    PromptedClassifier: "a language model behind a prompt (prompted)",
}
PREDICT, HEAD, WEIGHTS = "predict.py", "head.json", "head.safetensors"


@STOCKS.add
@dataclass(frozen=True, slots=True)
class Classifier:
    """Holds models that answer about a whole text: a label, several, a level or a number."""

    tasks: ClassVar[tuple[str, ...]] = tuple(_ANSWERS)

    def write(self, fit: Path, told: Told, folder: Path) -> Usage:
        model = load_fit(fit, told.task)
        if not isinstance(model, TextClassifier):
            raise no_class(_KINDS.get(type(model), type(model).__name__), _INSTEAD)
        if model.added:
            raise no_class(
                "an encoder with added layers (adapter, prefix or prompt)", instead=_INSTEAD
            )
        if "sizes" in json.loads((fit / "classifier.json").read_text(encoding="utf-8")):
            raise no_class(
                "an encoder whose layers differ in heads or neurons (pruned)", instead=_INSTEAD
            )
        with quiet():
            write_encoder(model.encoder, folder, told.outputs)
            write_encoder_tokenizer(fit, told.max_length, folder)
        steps = _steps(model.head)
        _write_head(model, steps, told, folder)
        copyfile(_predict.__file__, folder / PREDICT)
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
            temperature = rule.get("temperature", 1.0)
            shares = (softmax(each / temperature) for each in (ours, theirs))
            found = np.abs(np.subtract(*shares))
        return float(found.max())


def logits_of(folder: Path, texts: list[str]) -> Floats:
    """(texts, outputs) float32: what the folder answers when stock classes load it."""
    with quiet():
        return _predict.Model(folder).logits(texts).numpy()


def _steps(head: nn.Module) -> list[Step]:
    """What the head computes, one step after the other.

    Raises:
        ModelError: If it is of a kind that is not known here.
    """
    if isinstance(head, heads.Linear):
        return [linear(head.weight, head.bias)]
    if isinstance(head, heads.Hidden):
        inner, outer = head.inner, head.outer
        return [
            linear(inner.weight, inner.bias),
            Step("gelu", {}),
            linear(outer.weight, outer.bias),
        ]
    if isinstance(head, heads.Cosine):
        none = torch.zeros(head.out_features)
        return [
            Step("shift", {"bias": -head.centre}),
            Step("normalize", {}),
            linear(head.scale * head.directions, none),
        ]
    raise no_class(f"an encoder under a {type(head).__name__} head", _INSTEAD)


def _write_head(model: TextClassifier, steps: list[Step], told: Told, folder: Path) -> None:
    pooled = "add_pooling_layer" in signature(type(model.encoder)).parameters
    about = {
        "prefix": told.prefix,
        "max_length": told.max_length,
        "layers": list(model.layers),
        "without_pooler": {"add_pooling_layer": False} if pooled else {},
        "head": [
            {"kind": step.kind, **({"name": str(at)} if step.tensors else {})}
            for at, step in enumerate(steps)
        ],
        "outputs": list(told.outputs),
        "answers": _ANSWERS[told.task],
        "decision": dict(told.decision),
    }
    tensors = {
        f"{at}.{name}": tensor.contiguous()
        for at, step in enumerate(steps)
        for name, tensor in step.tensors.items()
    }
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    text = json.dumps(about, indent=1, ensure_ascii=False)
    (folder / HEAD).write_text(text + "\n", encoding="utf-8")


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
            "## Decision rule",
            "",
            "No library applies it by itself; `predict.py` does.",
            "",
            *(f"- {line}" for line in _rule(told)),
            f"- `{told.prefix}` is put before every text" if told.prefix else "- no prefix",
            f"- texts are cut after {told.max_length:,} tokens"
            + (", where the bundle reads on in windows" if told.windows else ""),
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
            f"{_stated(rule.get('offsets', {}), 0.0)}",
            "labels = those whose p is at least their threshold: "
            f"{_stated(rule.get('thresholds', {}), 0.5)}",
        ]
    how, lines = rule.get("rule", "mode"), [f"p = softmax(logits / {_number(rule)})"]
    if how == "mode":
        weights = _stated(rule.get("weights", {}), 1.0)
        lines.append(f"best = the label with the largest weight · p; weights {weights}")
    else:
        cuts = f", parted at {list(rule['cuts'])}" if how == "cuts" else ""
        shown = "mean place" if how == "cuts" else how
        lines.append(f"best = the {shown} of the levels by p{cuts}")
    least = rule.get("abstain_below", 0.0)
    return [*lines, f"no label where p of best is below {least:.6g}"]


def _number(rule: Mapping[str, Any]) -> str:
    return f"{rule.get('temperature', 1.0):.6g}"


def _stated(found: Mapping[str, float], usual: float) -> str:
    """Numbers by name, those that are as usual left out."""
    other = {name: round(value, 6) for name, value in found.items() if value != usual}
    return str(other) if other else f"are all {usual:g}"
