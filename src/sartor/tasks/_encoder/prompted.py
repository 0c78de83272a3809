"""A text classifier that is a language model behind a prompt: what would it write after the text?

logits_k = log p(label_k | prompt, text) − bias_k,  p over the labels alone (see `choices`)

The prompt stands before and behind the text. What stands before it is the same for every text, so
its keys and values are computed once and are constants of the graph: a text costs the tokens of the
text and of what follows. Where the text's padding lies does not matter: positions count its real
tokens, and no token sees padding.

The bias is what a text without content gets, subtracted where asked: Zhao et al. 2021,
https://arxiv.org/abs/2102.09690
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    MODEL_MAPPING,
    AttentionInterface,
    DynamicCache,
    PreTrainedModel,
)

from sartor.tasks._encoder.choices import Choices
from sartor.tasks._encoder.files import from_plain, plain_config, write_model

KIND = "prompted"
_BEHIND = "sartor_behind_a_prompt"


@dataclass(frozen=True, slots=True)
class Framed:
    """What stands around a text, as token ids.

    Args:
        before: At least one.
        behind: At least one.
        choices: Between the labels, after `behind`.
    """

    before: Sequence[int]
    behind: Sequence[int]
    choices: Choices

    def tensors(self) -> dict[str, Tensor]:
        """What the graph knows of it, by name; see `PromptedClassifier`."""
        length, choices = len(self.behind), self.choices
        ids = [*self.behind, *choices.ids]
        sees = torch.ones(len(ids), len(ids), dtype=torch.bool).tril()
        if choices.ids:
            sees[length:, length:] = torch.tensor(choices.sees())
        depths = [*range(length), *(length + depth for depth in choices.depths())]
        places = torch.tensor(choices.places)
        paths = torch.zeros(len(choices.paths), len(choices.places))
        for row, path in zip(paths, choices.paths, strict=True):
            row[list(path)] = 1
        return {
            "tail": torch.tensor(ids),
            "depths": torch.tensor(depths),
            "sees": sees,
            "places": places + length,
            "rivals": places.unsqueeze(0) == places.unique().unsqueeze(1),
            "paths": paths,
        }


class PromptedClassifier(nn.Module):
    """Token ids and mask of the texts alone to logits, as an encoder's classifier takes them.

    Args:
        decoder: A causal model without its head, whose positions are told to it.
        tensors: keys, values (layers, heads, prompt, size) of what stands before a text; tail
            (tail,) the tokens behind it, the prompt's and then the choices'; depths (tail,) how far
            behind the text each stands; sees (tail, tail) whether the first reads the second;
            places (choices,) the tail's token that each choice follows; rivals (groups, choices)
            which compete; rows (choices, width) of the head; paths (labels, choices) which lead to
            a label; bias (labels,).
    """

    keys: Tensor
    values: Tensor
    tail: Tensor
    depths: Tensor
    sees: Tensor
    places: Tensor
    rivals: Tensor
    rows: Tensor
    paths: Tensor
    bias: Tensor

    def __init__(self, decoder: PreTrainedModel, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        decoder.set_attn_implementation(_BEHIND)
        self.decoder = decoder
        for name, value in tensors.items():
            self.register_buffer(name, value)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Logits (batch, labels).

        Args:
            input_ids: (batch, tokens), integers; padding on either side.
            attention_mask: (batch, tokens), 1 at real tokens and 0 at padding.
        """
        rows, width = input_ids.shape
        ids = torch.cat([input_ids, self.tail.expand(rows, -1)], 1)
        place = (attention_mask.cumsum(1) - 1).clamp(min=0)  # (rows, width)
        behind = attention_mask.sum(1, keepdim=True) + self.depths
        found = self.decoder(
            input_ids=ids,
            attention_mask=self._mask(attention_mask, place),
            position_ids=torch.cat([place, behind], 1) + self.keys.shape[2],
            use_cache=False,
            kept_keys=self.keys,
            kept_values=self.values,
        )
        states = found.last_hidden_state[:, width:][:, self.places]  # (rows, choices, width)
        scores = (states * self.rows).sum(-1).unsqueeze(1)  # (rows, 1, choices)
        among = scores.masked_fill(~self.rivals, float("-inf")).logsumexp(-1)  # (rows, groups)
        chosen = scores.squeeze(1) - among @ self.rivals.to(among.dtype)
        return chosen @ self.paths.T - self.bias

    def _mask(self, attention_mask: Tensor, place: Tensor) -> Tensor:
        """(rows, 1, tokens + tail, tokens + tail): 0 where seen, else very small."""
        rows, tail = attention_mask.shape[0], self.tail.shape[0]
        real = attention_mask.bool().unsqueeze(1)  # (rows, 1, tokens)
        earlier = real & (place.unsqueeze(1) <= place.unsqueeze(2))
        text = nn.functional.pad(earlier, (0, tail), value=False)
        behind = torch.cat([real.expand(-1, tail, -1), self.sees.expand(rows, -1, -1)], 2)
        seen = torch.cat([text, behind], 1)
        return torch.where(seen, 0.0, torch.finfo(torch.float32).min).unsqueeze(1)

    def save(self, folder: Path) -> None:
        """Write model.safetensors and classifier.json."""
        write_model(self, folder, {"kind": KIND, "config": plain_config(self.decoder.config)})


def _attend_behind(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor, **given: Any
) -> tuple[Tensor, None]:
    """Attention to kept keys and values beside a layer's own; every token sees what is kept.

    What is kept is there once, not once a row, and a key that several heads share is not repeated.

    Args:
        module: Says which layer it is.
        query: (rows, heads, tokens, size).
        key: (rows, fewer heads, tokens, size); as `value`.
        value: See `key`.
        mask: (rows, 1, tokens, tokens), added to the scores.
        given: kept_keys and kept_values (layers, fewer heads, kept, size), scaling.
    """
    layer: Any = module.layer_idx
    kept_keys, kept_values = given["kept_keys"][layer], given["kept_values"][layer]
    kept, sharing = kept_keys.shape[1], query.shape[1] // key.shape[1]
    found: list[Tensor] = []
    # One key at a time: reshaping all heads at once leads the exporter to sizes it cannot compare.
    for few in range(key.shape[1]):
        asked = query[:, few * sharing : (few + 1) * sharing] * given["scaling"]
        own_keys, own_values = key[:, few : few + 1], value[:, few : few + 1]
        scores = asked @ own_keys.transpose(2, 3) + mask
        weights = torch.cat([asked @ kept_keys[few].T, scores], 3).softmax(3)
        found.append(weights[..., :kept] @ kept_values[few] + weights[..., kept:] @ own_values)
    return torch.cat(found, 1).transpose(1, 2), None


AttentionInterface.register(_BEHIND, _attend_behind)


def read_before(decoder: PreTrainedModel, ids: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Keys and values (layers, heads, tokens, size) of what stands before every text."""
    cache = DynamicCache()
    decoder(input_ids=torch.tensor([list(ids)]), past_key_values=cache, use_cache=True)
    layers: Any = cache.layers
    return torch.cat([x.keys for x in layers]), torch.cat([x.values for x in layers])


def rebuild(shape: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> PromptedClassifier:
    """What `save` wrote, from its shape and its tensors.

    Raises:
        KeyError, ValueError, RuntimeError: If they do not fit each other.
    """
    decoder = from_plain(shape["config"], MODEL_MAPPING)
    own = {name: value for name, value in tensors.items() if "." not in name}
    model = PromptedClassifier(decoder, own)
    model.load_state_dict(dict(tensors))
    return model
