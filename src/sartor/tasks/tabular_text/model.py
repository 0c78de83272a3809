"""Columns beside a text, in one linear layer; and columns alone.

logits = W_t · pooled(text) + W_c · columns + b

The columns are multiplied and added up one by one, not as a matrix product: a compressor that
rounds products then rounds the encoder and what reads it, and leaves the columns as they are.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from sartor.tasks._encoder import model as one_text
from sartor.tasks._encoder.files import write_model
from sartor.tasks._encoder.model import pooled

BESIDE, ALONE = "text_and_columns", "columns"


class Columns(nn.Module):
    """What the columns say: a weighted sum for each output.

    Args:
        features: Numbers of a row.
        outputs: Number of classes.
    """

    def __init__(self, features: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(outputs, features))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, columns: Tensor) -> Tensor:
        """(batch, outputs) of (batch, features)."""
        return (columns.unsqueeze(1) * self.weight).sum(-1) + self.bias


class ColumnsClassifier(nn.Module):
    """Logistic regression on the columns.

    Args:
        features: Numbers of a row.
        outputs: Number of classes.
    """

    def __init__(self, features: int, outputs: int) -> None:
        super().__init__()
        self.columns = Columns(features, outputs)

    def forward(self, columns: Tensor) -> Tensor:
        """Logits (batch, outputs).

        Args:
            columns: (batch, features), as `core.columns.TableCode.encode` gives them.
        """
        return self.columns(columns)

    def save(self, folder: Path) -> None:
        """Write model.safetensors and classifier.json."""
        write_model(self, folder, {"kind": ALONE, **_sizes(self.columns)})


class FusedClassifier(nn.Module):
    """A text's pooled hidden states beside the columns.

    Args:
        encoder: Taken over, as by `TextClassifier`.
        outputs: Number of classes.
        layers: Hidden states to read, in [0, encoder layers].
        features: Numbers of a row's columns.
    """

    def __init__(
        self, encoder: PreTrainedModel, outputs: int, layers: Sequence[int], features: int
    ) -> None:
        super().__init__()
        self.layers = tuple(layers)
        self.encoder = encoder
        one_text.truncate(encoder, max(self.layers))
        self.head = nn.Linear(encoder.config.hidden_size * len(self.layers), outputs, bias=False)
        self.columns = Columns(features, outputs)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, columns: Tensor) -> Tensor:
        """Logits (batch, outputs).

        Args:
            input_ids: (batch, tokens), integers.
            attention_mask: (batch, tokens), 1 at real tokens and 0 at padding.
            columns: (batch, features).
        """
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask}
        depth = self.encoder.config.num_hidden_layers
        read = pooled(self.encoder, inputs, self.layers, depth)
        return self.head(read) + self.columns(columns)

    def save(self, folder: Path) -> None:
        """Write model.safetensors, config.json (the encoder's) and classifier.json."""
        shape = {"kind": BESIDE, "layers": list(self.layers), **_sizes(self.columns)}
        write_model(self, folder, shape)
        one_text.write_config(self.encoder, folder)


def _sizes(columns: Columns) -> dict[str, int]:
    outputs, features = columns.weight.shape
    return {"features": features, "outputs": outputs}
