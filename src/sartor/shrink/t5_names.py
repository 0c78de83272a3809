"""A T5's tensors under the names that `seq2seq_graph` reads, and its numbers.

What a T5 has in other ways stays visible in what is there: norms without a bias, a table of
distances in the place of one of positions, feed-forward layers with a gate. Raffel et al. 2020,
https://arxiv.org/abs/1910.10683
"""

import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
KINDS = ("t5", "mt5")
_BLOCK = re.compile(r"(?P<side>encoder|decoder)\.block\.(?P<layer>\d+)\.layer\.(?P<part>\d)\.")
_ATTENTION = {"SelfAttention": "self_attn", "EncDecAttention": "encoder_attn"}
_FORWARD = {"wi": "fc1", "wi_0": "fc1", "wi_1": "fc1_beside", "wo": "fc2"}
_TABLE = "SelfAttention.relative_attention_bias.weight"


def renamed(
    config: Mapping[str, Any], tensors: Mapping[str, Array]
) -> tuple[dict[str, Any], dict[str, Array]]:
    """Configuration and tensors of a T5, as those of a BART are called."""
    found = {_name(name): value for name, value in tensors.items()}
    buckets = int(config.get("relative_attention_num_buckets", 32))
    most = int(config.get("relative_attention_max_distance", 128))
    for side in ("encoder", "decoder"):
        table = found.pop(f"{side}.{_TABLE}")
        places = np.arange(-most, most + 1)
        both = side == "encoder"
        found[f"{side}.distances"] = table[_buckets(places, buckets, most, both=both)]
    activation = str(config.get("feed_forward_proj", "relu")).removeprefix("gated-")
    layers = int(config["num_layers"])
    told = {
        "model_type": config["model_type"],
        "d_model": config["d_model"],
        "encoder_layers": layers,
        "decoder_layers": int(config.get("num_decoder_layers") or layers),
        "encoder_attention_heads": config["num_heads"],
        "decoder_attention_heads": config["num_heads"],
        "head_dim": config["d_kv"],
        "attention_scale": 1.0,
        "epsilon": config.get("layer_norm_epsilon", 1e-6),
        # Of a gated layer "gelu" means the approximation, as the first of them had it.
        "activation_function": "gelu_new"
        if config.get("feed_forward_proj") == "gated-gelu"
        else activation,
    }
    return told, found


def _name(name: str) -> str:
    """One tensor's name."""
    if name.endswith(_TABLE):
        return f"{name.partition('.')[0]}.{_TABLE}"
    name = name.replace(".final_layer_norm.", ".layer_norm.")
    block = _BLOCK.match(name)
    if block is None:
        return name
    at, rest = f"{block['side']}.layers.{block['layer']}", name[block.end() :]
    head, _, tail = rest.partition(".")
    if head in _ATTENTION:
        which, _, end = tail.partition(".")
        return f"{at}.{_ATTENTION[head]}.{'out' if which == 'o' else which}_proj.{end}"
    if head == "DenseReluDense":
        which, _, end = tail.partition(".")
        return f"{at}.{_FORWARD[which]}.{end}"
    last = "2" if block["side"] == "decoder" else "1"
    norms = {"0": "self_attn_layer_norm", "1": "encoder_attn_layer_norm"} | {
        last: "final_layer_norm"
    }
    return f"{at}.{norms[block['part']]}.{tail}"


def _buckets(places: Array, count: int, most: int, *, both: bool) -> Array:
    """The row of the table for each distance, of the one that is looked at from the one that looks.

    Half of the rows are for short distances, one each; the others for longer and longer ones, up to
    `most`. Where both sides are looked at, each has half of the table.
    """
    first = np.zeros_like(places)
    if both:
        count //= 2
        first = (places > 0) * count
        away = np.abs(places)
    else:
        away = np.maximum(-places, 0)
    exact = count // 2
    # float32, as the model computes it: a distance at an edge falls where it fell in training.
    ratio = np.maximum(away, 1).astype(np.float32) / np.float32(exact)
    share = np.log(ratio).astype(np.float32) / np.float32(math.log(most / exact))
    far = exact + (share * np.float32(count - exact)).astype(np.int64)
    return first + np.where(away < exact, away, np.minimum(far, count - 1))
