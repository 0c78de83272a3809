"""The upper part of a classifier, as a model of its own: it reads the states of a frozen layer.

The layers and the head are the classifier's, not copies: training the part trains the whole. What
stands below is left out, and the embeddings let the states through, so that the architecture still
builds its own masks and whatever else its layers are given.
"""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from sartor.core.errors import NothingToTune
from sartor.core.types import Backbone
from sartor.models.loading import sketch_model
from sartor.tasks._encoder.by_piece import at_pieces, real_tokens
from sartor.tasks._encoder.model import TextClassifier, each_token, layer_stack, pooled
from sartor.tasks._encoder.reading import Reading
from sartor.tasks._encoder.segments import segments

_TOLERANCE = 1e-4


class Upper(nn.Module):
    """The layers above `below` of a classifier, and its head.

    Tensors are named as in a classifier with that many layers fewer.

    Args:
        model: Put into eval mode.
        below: The layer whose states are read, in [0, the lowest layer the head reads].

    Raises:
        NothingToTune: If the architecture cannot be cut there with equal outputs.
    """

    def __init__(self, model: TextClassifier, below: int) -> None:
        super().__init__()
        model.eval()
        self.depth = model.encoder.config.num_hidden_layers - below
        """Layers of this part."""
        self.layers = tuple(layer - below for layer in model.layers)
        self.by_piece = model.by_piece
        tokens = _probe(model.encoder)
        # Before the cut: asking for hidden states puts hooks on the layers, once for all of them.
        states = _hidden_states(model.encoder, _told_apart(tokens, model.separator))
        self.encoder = _cut(model.encoder, below)
        self.dropout, self.head = model.dropout, model.head
        _check_equal(self, model, (states[below], tokens))

    def forward(self, states: Tensor, attention_mask: Tensor) -> Tensor:
        """Logits, as the classifier gives them.

        Args:
            states: (batch, tokens, width), of the layer below; anything at padding.
            attention_mask: (batch, tokens), as the classifier takes it.
        """
        logits = self.head(self.dropout(self.features(states, attention_mask)))
        return at_pieces(logits, attention_mask) if self.by_piece else logits

    def features(self, states: Tensor, attention_mask: Tensor) -> Tensor:
        """The head's input: (batch, len(layers) * width), or by piece that of each token."""
        mask = real_tokens(attention_mask) if self.by_piece else attention_mask
        inputs = {"inputs_embeds": states, "attention_mask": mask}
        read = each_token if self.by_piece else pooled
        return read(self.encoder, inputs, self.layers, self.depth)


class UpperReading(Reading, Upper):
    """The upper part of a classifier whose outputs are documents: it reads their states too."""

    def forward(self, states: Tensor, attention_mask: Tensor) -> Tensor:
        return self.answer(self.features(states, attention_mask))


def upper_of(model: TextClassifier, below: int) -> Upper:
    """The layers above `below` of any classifier.

    Raises:
        NothingToTune: If the architecture cannot be cut there with equal outputs.
    """
    kind = UpperReading if isinstance(model, Reading) else Upper
    return kind(model, below)


def check_cut(backbone: Backbone) -> None:
    """Whether the backbone's architecture can be cut, tried on a small one of its kind.

    Raises:
        NothingToTune: If it cannot.
    """
    # Whatever is drawn next must not depend on a try.
    with torch.random.fork_rng(devices=[]):
        Upper(TextClassifier(sketch_model(backbone, depth=2), 2, [2]), 1)


class _LetThrough(nn.Module):
    """Stands for the embeddings: returns the states that it is given in their place."""

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        given = (x for x in (*args, *kwargs.values()) if isinstance(x, Tensor))
        return next(x for x in given if x.is_floating_point())


def _cut(encoder: PreTrainedModel, below: int) -> PreTrainedModel:
    stack, embeddings = layer_stack(encoder), _embeddings(encoder)
    if stack is None or embeddings is None:
        raise _not_cut(encoder, "its layers or its embeddings are not kept apart")
    # Copied around them: the upper layers and the configuration, which they look into.
    kept: dict[int, Any] = {
        id(stack): nn.ModuleList(list(stack)[below:]),
        id(embeddings): _LetThrough(),
        id(encoder.config): encoder.config,
    }
    return deepcopy(encoder, kept)


def _embeddings(encoder: PreTrainedModel) -> nn.Module | None:
    """The child that turns token ids into the first hidden states."""
    words = encoder.get_input_embeddings()
    return next((c for c in encoder.children() if any(m is words for m in c.modules())), None)


def _probe(encoder: PreTrainedModel) -> Mapping[str, Tensor]:
    """Two short rows, one of them padded."""
    words = min(encoder.config.vocab_size, 32)
    ids = torch.arange(12).view(2, 6) % words
    mask = torch.ones_like(ids)
    mask[1, 4:] = 0
    device = next(encoder.parameters()).device
    return {"input_ids": ids.to(device), "attention_mask": mask.to(device)}


def _told_apart(tokens: Mapping[str, Tensor], separator: int | None) -> Mapping[str, Tensor]:
    """With the segments of two texts, as the classifier and the cached states have them."""
    if separator is None:
        return tokens
    return {**tokens, "token_type_ids": segments(tokens["input_ids"], separator)}


def _hidden_states(encoder: PreTrainedModel, tokens: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
    with torch.no_grad():
        return encoder(**tokens, output_hidden_states=True).hidden_states


def _check_equal(
    upper: Upper, model: TextClassifier, probe: tuple[Tensor, Mapping[str, Tensor]]
) -> None:
    states, tokens = probe
    mask = tokens["attention_mask"]
    with torch.no_grad():
        whole = model.features(tokens["input_ids"], mask)
        try:
            part = upper.features(states, mask)
        # Whatever a forward that was not made for this may stumble over.
        except (RuntimeError, TypeError, ValueError, LookupError, AttributeError) as error:
            raise _not_cut(model.encoder, str(error)) from error
    if part.shape != whole.shape or not torch.allclose(part, whole, _TOLERANCE, _TOLERANCE):
        raise _not_cut(model.encoder, "its upper layers need more than the states below them")


def _not_cut(encoder: PreTrainedModel, why: str) -> NothingToTune:
    return NothingToTune(
        f"{type(encoder).__name__} cannot be trained from cached states: {why}.",
        fix="use a BERT-like backbone, or a method that reads tokens: lora or full.",
    )
