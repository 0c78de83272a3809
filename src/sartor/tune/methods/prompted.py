"""Prompted: a language model is shown the labels and a few examples, and asked.

Few-shot prompting: Brown et al. 2020, https://arxiv.org/abs/2005.14165. Nothing is trained and no
weight is touched. A model behind a URL is asked by `search.asking`; one on this machine is a graph
like any other, with the prompt in it (see `tasks._encoder.prompted`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from annotated_types import Ge, Le
from numpy.typing import NDArray
from tokenizers import Tokenizer
from transformers import PreTrainedModel

from sartor.core.errors import ModelError, SettingError
from sartor.core.likelihood import fit_temperature
from sartor.core.protocols import Floats
from sartor.core.types import Backbone
from sartor.llm.prompt import draw_examples
from sartor.models.chat_template import read_template
from sartor.models.loading import load_language_model, load_tokenizer
from sartor.models.packed import tokenise
from sartor.tasks._encoder.prompted import Framed, PromptedClassifier, read_before
from sartor.tune.api import METHODS, Dimension, Reads
from sartor.tune.batching import Budget, Tokens, plan_in_order, rounded
from sartor.tune.framing import Question, frame, plain
from sartor.tune.frozen import ClosedFit, Frozen, Point

_BATCH = Budget(tokens=2048, rows=16)
"""What a forward pass may hold: every row carries the prompt's keys and values."""
_EMPTY = ("N/A", "", "[MASK]")
"""Texts without content, as in the paper."""
_PROBE = "a text"
_CLOSE = 1e-2


@METHODS.add
@dataclass(frozen=True, slots=True)
class Prompted:
    """Asks the language model that the need names under `prefer.llm`."""

    reads: ClassVar[Reads] = "answers"
    # Behind what takes seconds here and sends no text away, before what trains for minutes.
    rung: ClassVar[int | None] = 15
    one_label: ClassVar[Literal[True]] = True

    examples: Annotated[int, Ge(0), Le(64)] = 8
    """Labelled training texts that each question shows."""
    calibrate: Literal["measured", "always", "never"] = "measured"
    """Whether what a text without content gets is subtracted (https://arxiv.org/abs/2102.09690):
    where that is better on the validation rows, or without asking them. For a model on this
    machine: one behind a URL gives no probabilities."""

    @staticmethod
    def portfolio() -> Sequence[Mapping[str, Any]]:
        # Every further setting would be asked about every validation row.
        return [{"examples": 8}]

    @staticmethod
    def space() -> Mapping[str, Dimension]:
        return {}

    @staticmethod
    def obstacle(
        backbone: Backbone, outputs: Sequence[str], descriptions: Mapping[str, str]
    ) -> str:
        """Why a model on this machine cannot be asked; empty where it can."""
        if backbone.whole is not None or backbone.drawn is not None:
            return f"{backbone.name} is not a whole model"
        try:
            prompt_of(backbone, Question(outputs, descriptions, ()), 0)
        except (ModelError, SettingError) as error:
            return error.what.rstrip(".")
        return ""

    @staticmethod
    def fit_all(frozen: Frozen, grid: Sequence[Point]) -> list[ClosedFit]:
        why = Prompted.obstacle(frozen.backbone, frozen.outputs, frozen.descriptions)
        if why:
            raise SettingError(f"prompted cannot be used: {why}.", fix="choose another model.")
        return [_fit(frozen, point.method, point.seed) for point in grid]


def prompt_of(backbone: Backbone, question: Question, cut: int) -> Framed:
    """The prompt around a text.

    Args:
        backbone: A chat model.
        question: See `Question`.
        cut: Tokens a text is cut at.

    Raises:
        ModelError: If its folder is damaged, or its template refuses the question.
        SettingError: If it has no template, or prompt and text are more than it reads.
    """
    folder = Path(backbone.path)
    template = read_template(folder)
    if template is None:
        raise SettingError(
            f"{backbone.name} is no chat model: its folder has no chat template.",
            fix="choose a chat model, e.g. smollm2.",
        )
    found = frame(load_tokenizer(folder), template, question)
    longest = len(found.before) + rounded(cut) + len(found.behind) + len(found.choices.ids)
    if longest > backbone.max_length:
        raise SettingError(
            f"a prompt of {len(found.before):,} tokens and a text are more than the "
            f"{backbone.max_length:,} that {backbone.name} reads.",
            fix="show fewer examples: llm: {local: …, examples: 2} under prefer.",
        )
    return found


def _fit(frozen: Frozen, method: Prompted, seed: int) -> ClosedFit:
    backbone, outputs, cut = frozen.backbone, frozen.outputs, frozen.source.max_length
    labels = [outputs[int(index)] for index in frozen.labels]
    shown = draw_examples(frozen.train, labels, outputs, method.examples, seed)
    prompt = prompt_of(backbone, Question(outputs, frozen.descriptions, shown), cut)
    reads = plain(load_tokenizer(Path(backbone.path)))
    with torch.no_grad():
        model = classifier(load_language_model(backbone), prompt, reads)
        bias = _scores(model, tokenise(reads, _EMPTY)).softmax(-1).mean(0).log()
        reads.enable_truncation(cut)
        held = _scores(model, tokenise(reads, frozen.validation, backbone.prefix)).numpy()
        if method.calibrate == "always" or (
            method.calibrate == "measured"
            and _loss(held - bias.numpy(), frozen.held) < _loss(held, frozen.held)
        ):
            model.bias.copy_(bias)
            held -= bias.numpy()
    reads.no_truncation()
    unseen = np.full((len(frozen.train), len(outputs)), np.nan, np.float32)
    return ClosedFit(held, unseen, made=(model, reads))


def classifier(model: PreTrainedModel, prompt: Framed, reads: Tokenizer) -> PromptedClassifier:
    """A language model behind a prompt, without bias.

    Args:
        model: With its head; taken over, and changed in how it attends.
        prompt: Around every text.
        reads: Of the texts.

    Raises:
        SettingError: If the model does not answer so as it does on prompt and text in one piece.
    """
    decoder: Any = model.base_model
    head: Any = model.get_output_embeddings()
    keys, values = read_before(decoder, prompt.before)
    rows = head.weight[list(prompt.choices.tokens)].clone()
    count = len(prompt.choices.paths)
    probe = tokenise(reads, [_PROBE])
    deepest = max(range(count), key=lambda label: len(prompt.choices.paths[label]))
    plainly = written(model, prompt, probe[0].tolist(), deepest)
    known = {"keys": keys, "values": values, "rows": rows, "bias": torch.zeros(count)}
    made = PromptedClassifier(decoder, {**prompt.tensors(), **known}).eval()
    found = float(_scores(made, probe)[0, deepest])
    if not abs(found - plainly) < _CLOSE:
        raise SettingError(
            f"{type(model).__name__} does not answer behind a prompt whose keys are kept as it does"
            f" on the whole ({found:.3f}, {plainly:.3f}).",
            fix="choose a chat model of Llama's kind.",
        )
    return made


def written(model: PreTrainedModel, prompt: Framed, text: Sequence[int], label: int) -> float:
    """log p of a label by the model's own forward pass on prompt, text and label in one piece."""
    choices, total = prompt.choices, 0.0
    for choice in choices.paths[label]:
        place, led = choices.places[choice], list[int]()
        step = place
        while step >= 0:
            led.insert(0, choices.ids[step])
            step = choices.parents[step]
        whole = torch.tensor([[*prompt.before, *text, *prompt.behind, *led]])
        scores = model(input_ids=whole).logits[0, -1]
        rivals = [t for t, at in zip(choices.tokens, choices.places, strict=True) if at == place]
        total += float(scores[choices.tokens[choice]] - scores[rivals].logsumexp(0))
    return total


def _loss(logits: Floats, truth: NDArray[np.int64]) -> float:
    """Log-loss at the temperature that suits best: it is settled afterwards in any case."""
    scaled = torch.from_numpy(logits) / fit_temperature(logits, truth)
    return float(torch.nn.functional.cross_entropy(scaled, torch.from_numpy(truth)))


def _scores(model: PromptedClassifier, ids: Sequence[Any]) -> torch.Tensor:
    """(texts, labels)."""
    tokens = Tokens(ids, 0)
    found = torch.empty(len(ids), len(model.bias))
    for rows in plan_in_order(tokens.lengths(), _BATCH):
        found[torch.from_numpy(rows)] = model(*tokens.batch(rows))
    return found
