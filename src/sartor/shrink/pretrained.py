"""A fitted classifier as a folder that stock libraries load, without any code of ours.

transformers has no class for what this is, a mean over tokens with a head on it: its sequence
classifiers read one token through a pooler. So the folder is three things at once: the encoder
and its tokenizer, which `AutoModel` and `AutoTokenizer` load; the modules of sentence-transformers,
whose `encode` then gives logits; and the head alone, with forty lines of Python that use it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from inspect import signature
from pathlib import Path
from shutil import copyfile
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from sartor.core.errors import ModelError
from sartor.models.loading import load_tokenizer, quiet
from sartor.tasks._encoder import heads
from sartor.tasks._encoder.entailment import EntailmentClassifier
from sartor.tasks._encoder.model import TextClassifier
from sartor.tasks._encoder.prompted import PromptedClassifier
from sartor.tasks._encoder.static import StaticClassifier

_PADS = ("[PAD]", "<pad>", "<|pad|>")
_SPECIAL: Mapping[str, tuple[str, ...]] = {
    "pad_token": _PADS,
    "unk_token": ("[UNK]", "<unk>"),
    "cls_token": ("[CLS]", "<s>"),
    "sep_token": ("[SEP]", "</s>"),
    "mask_token": ("[MASK]", "<mask>"),
}
_MODULE = "sentence_transformers.models."
_IDENTITY, _GELU = "torch.nn.modules.linear.Identity", "torch.nn.modules.activation.GELU"
_KINDS: Mapping[type, str] = {
    StaticClassifier: "a table of word scores (static)",
    EntailmentClassifier: "a model of pairs, asked about every label (entailment)",
    PromptedClassifier: "a language model behind a prompt (prompted)",
}
PREDICT, HEAD, WEIGHTS = "predict.py", "head.json", "head.safetensors"


@dataclass(frozen=True, slots=True)
class Told:
    """What the bundle says of the model.

    Args:
        task: Name in the tasks registry.
        outputs: Names of the labels, in the order of the logits.
        decision: Temperature, weights and the confidence below which it abstains.
        prefix: Put before every text.
        max_length: Tokens a text is cut at.
    """

    task: str
    outputs: tuple[str, ...]
    decision: Mapping[str, Any]
    prefix: str
    max_length: int


@dataclass(frozen=True, slots=True)
class _Step:
    """One operation of the head, with its tensors by their name behind the dot."""

    kind: str
    tensors: Mapping[str, Tensor]


def write_pretrained(fit: Path, told: Told, folder: Path) -> bool:
    """Write the model that a fit left as a folder for stock libraries.

    Args:
        fit: Folder that `train.load` reads, with its tokenizer.json.
        told: See `Told`.
        folder: Empty.

    Returns:
        Whether sentence-transformers loads it too; it has no way to read several layers.

    Raises:
        ModelError: If no stock class can hold such a model, the task has no script that answers,
            or the fit is damaged.
    """
    script = _script(told.task)
    model = import_module(f"sartor.tasks.{told.task}.train").load(fit)
    if not isinstance(model, TextClassifier):
        raise _no_class(_KINDS.get(type(model), type(model).__name__))
    if model.added:
        raise _no_class("an encoder with added layers (adapter, prefix or prompt)")
    if "sizes" in json.loads((fit / "classifier.json").read_text(encoding="utf-8")):
        raise _no_class("an encoder whose layers differ in heads or neurons (pruned)")
    with quiet():
        _write_encoder(model, fit, told, folder)
    steps = _steps(model.head)
    _write_head(model, steps, told, folder)
    copyfile(script, folder / PREDICT)
    alone = model.layers == (model.encoder.config.num_hidden_layers,)
    if alone:
        _write_modules(model, steps, told, folder)
    return alone


def logits_of(folder: Path, task: str, texts: list[str]) -> Any:
    """(texts, outputs) float32 array: what the folder answers when stock classes load it."""
    with quiet():
        return import_module(_module(task)).Model(folder).logits(texts).numpy()


def _module(task: str) -> str:
    """What answers by the head and the decision rule of a task, with stock libraries alone."""
    return f"sartor.tasks.{task}.predict_exported"


def _script(task: str) -> str:
    found = find_spec(_module(task))
    if found is None or found.origin is None:
        raise ModelError(
            f"Models of {task} cannot be exported: there is no script that answers as they do.",
            fix="serve the bundle itself.",
        )
    return found.origin


def _no_class(what: str) -> ModelError:
    return ModelError(
        f"This bundle's model is {what}, which no class of transformers holds.",
        fix="serve the bundle itself, or run the need with --method lora, full, top_layers or head,"
        " whose models can be exported.",
    )


def _write_encoder(model: TextClassifier, fit: Path, told: Told, folder: Path) -> None:
    config: Any = model.encoder.config
    config.id2label = dict(enumerate(told.outputs))
    config.label2id = {name: index for index, name in enumerate(told.outputs)}
    # Where the backbone lay on this machine is nobody's business.
    config._name_or_path = ""
    model.encoder.save_pretrained(folder)
    tokenizer = load_tokenizer(fit)
    special = {
        role: next((name for name in names if tokenizer.token_to_id(name) is not None), None)
        for role, names in _SPECIAL.items()
    }
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=told.max_length,
        model_input_names=["input_ids", "attention_mask"],
        **{role: name for role, name in special.items() if name is not None},
    ).save_pretrained(folder)


def _steps(head: nn.Module) -> list[_Step]:
    """What the head computes, one step after the other.

    Raises:
        ModelError: If it is of a kind that is not known here.
    """
    if isinstance(head, heads.Linear):
        return [_linear(head.weight, head.bias)]
    if isinstance(head, heads.Hidden):
        inner, outer = head.inner, head.outer
        return [
            _linear(inner.weight, inner.bias),
            _Step("gelu", {}),
            _linear(outer.weight, outer.bias),
        ]
    if isinstance(head, heads.Cosine):
        none = torch.zeros(head.out_features)
        return [
            _Step("shift", {"bias": -head.centre}),
            _Step("normalize", {}),
            _linear(head.scale * head.directions, none),
        ]
    raise _no_class(f"an encoder under a {type(head).__name__} head")


def _linear(weight: Tensor, bias: Tensor) -> _Step:
    return _Step("linear", {"weight": weight.detach(), "bias": bias.detach()})


def _write_head(model: TextClassifier, steps: list[_Step], told: Told, folder: Path) -> None:
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
        "decision": {
            "temperature": told.decision.get("temperature", 1.0),
            "weights": told.decision.get("weights", {}),
            "abstain_below": told.decision.get("abstain_below", 0.0),
        },
    }
    tensors = {
        f"{at}.{name}": tensor.contiguous()
        for at, step in enumerate(steps)
        for name, tensor in step.tensors.items()
    }
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    _write_json(folder / HEAD, about)


def _write_modules(model: TextClassifier, steps: list[_Step], told: Told, folder: Path) -> None:
    """What sentence-transformers reads, in the form that versions from 2 on know."""
    _write_json(folder / "sentence_bert_config.json", {"max_seq_length": told.max_length})
    prompts = {"text": told.prefix} if told.prefix else {}
    named = {"prompts": prompts, "default_prompt_name": "text" if prompts else None}
    _write_json(folder / "config_sentence_transformers.json", named)
    kinds = ["Transformer", "Pooling"]
    width = model.encoder.config.hidden_size
    pooling = {"word_embedding_dimension": width, "pooling_mode_mean_tokens": True}
    (folder / "1_Pooling").mkdir()
    _write_json(folder / "1_Pooling" / "config.json", pooling)
    for step, following in zip(steps, [*steps[1:], None], strict=True):
        if step.kind == "gelu":
            continue  # the activation of the layer before
        kinds.append("Normalize" if step.kind == "normalize" else "Dense")
        place = folder / f"{len(kinds) - 1}_{kinds[-1]}"
        place.mkdir()
        if step.kind != "normalize":
            curved = following is not None and following.kind == "gelu"
            _write_dense(place, step, _GELU if curved else _IDENTITY)
    names = ["", *(f"{at}_{kind}" for at, kind in enumerate(kinds) if at)]
    modules = [
        {"idx": at, "name": str(at), "path": path, "type": _MODULE + kind}
        for at, (path, kind) in enumerate(zip(names, kinds, strict=True))
    ]
    _write_json(folder / "modules.json", modules)


def _write_dense(place: Path, step: _Step, activation: str) -> None:
    bias = step.tensors["bias"]
    weight = step.tensors.get("weight", torch.eye(len(bias)))
    shape = {
        "in_features": weight.shape[1],
        "out_features": weight.shape[0],
        "bias": True,
        "activation_function": activation,
    }
    _write_json(place / "config.json", shape)
    tensors = {"linear.weight": weight.contiguous(), "linear.bias": bias.contiguous()}
    save_file(tensors, place / "model.safetensors", metadata={"format": "pt"})


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
