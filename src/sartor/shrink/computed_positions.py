"""The positions of an M2M-100 or NLLB, which are no weights: the model computes them.

    p(i)[j] = sin(i · 10000^(−j / (h − 1))),  p(i)[h + j] = cos of the same,  h half of the width

A model of this kind counts from the id of its padding on: the first token stands at that id + 1.
Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, as tensor2tensor lays it out.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

KIND = "m2m_100"


def of(config: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """The tensors that a saved model lacks: (positions, width) of encoder and decoder.

    Args:
        config: Of the model.
    """
    count, width = int(config["max_position_embeddings"]), int(config["d_model"])
    half = width // 2
    rates = np.exp(np.arange(half, dtype=np.float32) * np.float32(-math.log(10_000) / (half - 1)))
    first = int(config["pad_token_id"]) + 1
    angles = np.arange(first, first + count, dtype=np.float32)[:, None] * rates
    table = np.zeros((count, width), np.float32)
    table[:, :half], table[:, half : 2 * half] = np.sin(angles), np.cos(angles)
    return {f"{side}.embed_positions.weight": table for side in ("encoder", "decoder")}
