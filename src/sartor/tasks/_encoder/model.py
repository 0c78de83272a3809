"""An encoder, mean pooling, a head: what most tasks on texts train and ship.

logits = head([mean_t h_t^(l) for l in layers]),  the mean over real tokens only

The head is one linear layer unless a method puts another in its place, so that one fitted in closed
form on cached activations and one trained by gradient descent are the same module, exported and
served the same way.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PreTrainedModel
from transformers.initialization import no_init_weights

from sartor.core.errors import ModelError, SettingError
from sartor.tasks._encoder import entailment, prompted, static
from sartor.tasks._encoder.added import Added, describe, install, read_added
from sartor.tasks._encoder.by_piece import at_pieces, real_tokens
from sartor.tasks._encoder.files import plain_config, read_model, write_json, write_model
from sartor.tasks._encoder.heads import build_head
from sartor.tasks._encoder.segments import segments
from sartor.tasks._encoder.sizes import (
    Sizes,
    as_json,
    read_sizes,
    shrink_to,
    sizes_of,
)


class TextClassifier(nn.Module):
    """A transformer encoder with a head over its pooled hidden states.

    Args:
        encoder: BERT-like; taken over and changed in place (layers above the last one read and
            the pooler are cut off).
        outputs: Number of classes.
        layers: Hidden states to read, in [0, encoder layers]; 0 is the embedding layer.
        head: Its shape (see `heads.build_head`); one linear layer where nothing is said.
    """

    def __init__(
        self,
        encoder: PreTrainedModel,
        outputs: int,
        layers: Sequence[int],
        head: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        super().__init__()
        config = encoder.config
        self.layers = tuple(layers)
        self.added: tuple[Added, ...] = ()
        """What a method put into the encoder, and left there when it was folded."""
        self.virtual = 0
        """Virtual tokens that the encoder puts before the text; the mean does not count them."""
        self.separator: int | None = None
        """Where a sequence holds two texts: the token that ends the first (see `segments`)."""
        self.by_piece = False
        """Whether it answers about each piece of a text, and not about the text (`by_piece`)."""
        self.encoder = encoder
        truncate(encoder, max(self.layers))
        self.dropout = nn.Dropout(getattr(config, "hidden_dropout_prob", 0.1))
        self.head: Any = build_head(self.head_width, outputs, head)

    @property
    def head_width(self) -> int:
        """Columns of `features`."""
        return self.encoder.config.hidden_size * len(self.layers)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Logits (batch, outputs); by piece (batch, tokens, outputs), 0 where there is no piece.

        Args:
            input_ids: (batch, tokens), integers.
            attention_mask: (batch, tokens), 1 at real tokens and 0 at padding; by piece also more
                than 1, see `by_piece`.
        """
        logits = self.head(self.dropout(self.features(input_ids, attention_mask)))
        return at_pieces(logits, attention_mask) if self.by_piece else logits

    def features(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """(batch, len(layers) * width): the head's input; by piece that of each token."""
        if not self.by_piece:
            return torch.cat(self.means(input_ids, attention_mask), dim=-1)
        inputs, depth = self._inputs(input_ids, real_tokens(attention_mask))
        return each_token(self.encoder, inputs, self.layers, depth, virtual=self.virtual)

    def means(self, input_ids: Tensor, attention_mask: Tensor) -> list[Tensor]:
        """(batch, width) of each layer that is read: its mean over the text's tokens."""
        inputs, depth = self._inputs(input_ids, attention_mask)
        return means(self.encoder, inputs, self.layers, depth, virtual=self.virtual)

    def _inputs(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[dict[str, Tensor], int]:
        """The encoder's keyword arguments, and its depth."""
        mask = attention_mask
        if self.virtual:
            mask = nn.functional.pad(attention_mask, (self.virtual, 0), value=1)
        inputs = {"input_ids": input_ids, "attention_mask": mask}
        if self.separator is not None:
            inputs["token_type_ids"] = segments(input_ids, self.separator)
        return inputs, self.encoder.config.num_hidden_layers

    def save(self, folder: Path) -> None:
        """Write model.safetensors, config.json (the encoder's) and classifier.json."""
        shape: dict[str, Any] = {"layers": list(self.layers), "outputs": self.head.out_features}
        if head := self.head.shape():
            shape["head"] = head
        if sizes := self._sizes():
            shape["sizes"] = sizes
        if self.added:
            shape["added"] = describe(self.added)
        if self.separator is not None:
            shape["separator"] = self.separator
        if self.by_piece:
            shape["by_piece"] = True
        write_model(self, folder, shape)
        write_config(self.encoder, folder)

    def _sizes(self) -> Mapping[str, list[int]] | None:
        """Of each layer, where they are not those that the configuration says."""
        config: Any = self.encoder.config
        found = sizes_of(list(layer_stack(self.encoder) or ()))
        plain = (getattr(config, name, None) for name in ("num_attention_heads", _neurons(config)))
        depth = config.num_hidden_layers
        if found is None or found == Sizes(*((value,) * depth for value in plain)):
            return None
        return as_json(found)


Classifier = (
    TextClassifier
    | static.StaticClassifier
    | entailment.EntailmentClassifier
    | prompted.PromptedClassifier
)
_REBUILD = {
    static.KIND: static.rebuild,
    entailment.KIND: entailment.rebuild,
    prompted.KIND: prompted.rebuild,
}


def load(folder: Path) -> Classifier:
    """Rebuild what `save` of any classifier wrote, in eval mode.

    Raises:
        ModelError: If a file is missing or does not fit the others, or names layers of a kind
            that is not known.
    """
    return read_model(folder, partial(rebuild, folder))


def rebuild(folder: Path, shape: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Classifier:
    """The same of files that are read already; the encoder's configuration is read here.

    Raises:
        ModelError: If it names layers of a kind that is not known.
        OSError, KeyError, TypeError, ValueError, RuntimeError: If they do not fit one another.
    """
    if shape.get("kind") in _REBUILD:
        return _REBUILD[shape["kind"]](shape, tensors)
    encoder = read_encoder(folder)
    model = TextClassifier(encoder, shape["outputs"], shape["layers"], shape.get("head", {}))
    model.separator = shape.get("separator")
    model.by_piece = shape.get("by_piece", False)
    if "sizes" in shape:
        layers = list(layer_stack(model.encoder) or ())
        shrink_to(layers, read_sizes(shape["sizes"]))
    for added in read_added(shape.get("added", [])):
        install(model, added)
    model.load_state_dict(tensors)
    return model


def read_encoder(folder: Path) -> PreTrainedModel:
    """The encoder that a saved classifier's config.json describes; its weights are not read."""
    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    with no_init_weights():
        return AutoModel.from_config(config)


def write_config(encoder: PreTrainedModel, folder: Path) -> None:
    """What `read_encoder` reads."""
    write_json(folder / "config.json", plain_config(encoder.config))


def layers_of(layers: Sequence[int], depth: int) -> tuple[int, ...]:
    """Hidden states that a head reads, counted from 0, for an encoder of `depth` layers.

    Args:
        layers: Negative ones count from the top.
        depth: Of the encoder.

    Raises:
        SettingError: If the encoder has no such layer.
    """
    found = tuple(layer + depth + 1 if layer < 0 else layer for layer in layers)
    if any(not 0 <= layer <= depth for layer in found):
        raise SettingError(
            f"layers={list(layers)} but the backbone's hidden states are 0 to {depth}.",
            fix=f"choose numbers between {-depth - 1} and {depth}.",
        )
    return found


def pooled(
    encoder: nn.Module,
    inputs: Mapping[str, Tensor],
    layers: Sequence[int],
    depth: int,
    *,
    virtual: int = 0,
) -> Tensor:
    """(batch, len(layers) * width): the chosen hidden states averaged over tokens, side by side.

    Args:
        encoder: Of `depth` layers.
        inputs: Its keyword arguments, `attention_mask` among them.
        layers: Each in [0, depth]; 0 is what enters the first layer.
        depth: Where only the last is read, the others are not kept.
        virtual: Tokens at the front that are not the text's; they are in the mask, not in the mean.
    """
    return torch.cat(means(encoder, inputs, layers, depth, virtual=virtual), dim=-1)


def means(
    encoder: nn.Module,
    inputs: Mapping[str, Tensor],
    layers: Sequence[int],
    depth: int,
    *,
    virtual: int = 0,
) -> list[Tensor]:
    """(batch, width) of each layer, as `pooled` lays them side by side."""
    mask = inputs["attention_mask"][:, virtual:]
    states = _states(encoder, inputs, layers, depth)
    return [mean_over_tokens(state[:, virtual:], mask) for state in states]


def each_token(
    encoder: nn.Module,
    inputs: Mapping[str, Tensor],
    layers: Sequence[int],
    depth: int,
    *,
    virtual: int = 0,
) -> Tensor:
    """(batch, tokens, len(layers) * width): as `pooled`, of each token by itself, float32."""
    states = _states(encoder, inputs, layers, depth)
    return torch.cat([state[:, virtual:] for state in states], dim=-1).float()


def _states(
    encoder: nn.Module, inputs: Mapping[str, Tensor], layers: Sequence[int], depth: int
) -> list[Tensor]:
    """(batch, tokens, width) of each layer."""
    top_only = tuple(layers) == (depth,)
    found = encoder(**inputs, output_hidden_states=not top_only)
    if top_only:
        return [found.last_hidden_state]
    return [found.hidden_states[layer] for layer in layers]


def mean_over_tokens(states: Tensor, attention_mask: Tensor) -> Tensor:
    """(batch, width) mean of (batch, tokens, width) over real tokens, in float32."""
    mask = attention_mask.unsqueeze(-1).to(torch.float32)
    return (states.float() * mask).sum(1) / mask.sum(1).clamp(min=1.0)


def truncate(encoder: PreTrainedModel, depth: int) -> None:
    """Cut the layers above `depth` and the pooler: they would be run, shipped and never read."""
    if getattr(encoder, "pooler", None) is not None:
        del encoder.pooler
        encoder.pooler = None  # type: ignore[assignment]  # its forward asks for None
    total = encoder.config.num_hidden_layers
    if depth == total:
        return
    stack = layer_stack(encoder)
    if stack is None:
        raise ModelError(
            f"{type(encoder).__name__} does not keep its {total} layers in one list, so it cannot "
            f"be cut at layer {depth}.",
            fix="read the last layer: layers: [-1].",
        )
    del stack[depth:]
    encoder.config = deepcopy(encoder.config)
    encoder.config.num_hidden_layers = depth


def _neurons(config: Any) -> str:
    """DistilBERT calls it by another name."""
    return "intermediate_size" if hasattr(config, "intermediate_size") else "hidden_dim"


def layer_stack(encoder: PreTrainedModel) -> nn.ModuleList | None:
    """The list that holds the encoder's layers, bottom first; None where there is not one."""
    total = encoder.config.num_hidden_layers
    stacks = [m for m in encoder.modules() if isinstance(m, nn.ModuleList) and len(m) == total]
    return stacks[0] if len(stacks) == 1 else None
