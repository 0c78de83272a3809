"""Fits that read one frozen encoder, exported in one pass over it.

torch's exporter takes seconds for an encoder, whatever lies above it. Heads on one encoder are
therefore traced as one model of several outputs, and each output's part of the graph is the graph
of its fit.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import onnx
import torch
from torch import Tensor, nn
from torch.onnx import OnnxExporterError

from sartor.core.durable import write_durably
from sartor.shrink.export import finished, served, to_onnx, traced
from sartor.shrink.graphs import drop_unread
from sartor.shrink.joined import OUTPUT
from sartor.tasks._encoder.model import TextClassifier

_NEAR = 1e-5
"""Logits that differ by less are those of the same computation."""


class Heads(nn.Module):
    """Heads over the hidden states of one encoder; frozen, in eval mode.

    Args:
        first: Whose encoder, and whose way to read, is everybody's.
    """

    def __init__(self, first: TextClassifier) -> None:
        super().__init__()
        self.reader = first
        self.heads = nn.ModuleList([first.head])
        self.read = [first.layers]
        self.ids = torch.arange(34).reshape(2, 17) % 5
        self.mask = (torch.arange(17) < torch.tensor([[17], [9]])).long()
        self.wanted = [first(self.ids, self.mask)]

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, ...]:
        """(batch, outputs) of each head, in the order in which they came."""
        means = self.reader.means(input_ids, attention_mask)
        of = dict(zip(self.reader.layers, means, strict=True))
        return tuple(
            head(torch.cat([of[layer] for layer in layers], dim=-1))
            for head, layers in zip(self.heads, self.read, strict=True)
        )

    def take(self, other: TextClassifier) -> bool:
        """Take in the head of a fit whose encoder is this one, or the first layers of one of both.

        Returns:
            Whether every head answers as before: a last layer that is read through a norm of its
            own is another one in a deeper encoder.
        """
        one = self.reader
        wanted = other(self.ids, self.mask)
        before = one.encoder, one.layers
        one.encoder = max(one.encoder, other.encoder, key=lambda e: e.config.num_hidden_layers)
        one.layers = tuple(sorted({*one.layers, *other.layers}))
        self.heads.append(other.head)
        self.read.append(other.layers)
        self.wanted.append(wanted)
        found = self(self.ids, self.mask)
        if all(torch.allclose(a, b, atol=_NEAR) for a, b in zip(found, self.wanted, strict=True)):
            return True
        one.encoder, one.layers = before
        del self.heads[-1], self.read[-1], self.wanted[-1]
        return False


@dataclass(slots=True)
class Together:
    """Graphs of several fits, made when the first of them is asked for.

    Args:
        folders: `Fitted.folder` of each.
        task: Its training half rebuilds the models.
    """

    folders: Sequence[Path]
    task: str
    _traced: dict[Path, tuple[onnx.ModelProto, str]] | None = field(default=None, init=False)
    _written: set[Path] = field(default_factory=set[Path], init=False)
    _apart: set[Path] = field(default_factory=set[Path], init=False)

    def write(self, folder: Path, target: Path) -> None:
        """Write the graph of one of them, as `export.to_onnx` does.

        Raises:
            ModelError: As `export.to_onnx`.
        """
        if self._traced is None and folder not in self._apart:
            self._traced = self._trace()
            self._apart = {path for path in self.folders if path not in self._traced}
        if self._traced is None or folder in self._apart:
            to_onnx(folder, self.task, target)
            return
        graph = _alone(*self._traced[folder])
        write_durably(target, graph.SerializeToString(deterministic=True))
        self._written.add(folder)
        if self._traced.keys() <= self._written:
            # An encoder's weights: whoever asks again has it traced again, in the same way.
            self._traced = None

    def _trace(self) -> dict[Path, tuple[onnx.ModelProto, str]]:
        found: dict[Path, tuple[onnx.ModelProto, str]] = {}
        for kin in _groups(list(dict.fromkeys(self.folders)), self.task):
            with torch.no_grad():
                first, *others = kin
                heads = Heads(_model(first, self.task))
                taken = [path for path in others if heads.take(_model(path, self.task))]
            if not taken:
                continue
            members = [first, *taken]
            names = [f"{OUTPUT}_{i}" for i in range(len(members))]
            try:
                graph = finished(traced(heads.eval(), names), first)
            except OnnxExporterError:
                continue  # Each by itself may do, or says what is wrong.
            found |= {path: (graph, name) for path, name in zip(members, names, strict=True)}
        return found


def _model(folder: Path, task: str) -> TextClassifier:
    return cast(TextClassifier, served(folder, task))


def _groups(folders: Sequence[Path], task: str) -> list[list[Path]]:
    """Two and more fits each that read in one way, and whose encoders are one or its first layers.

    Models are read one at a time: several large ones need not be in memory at once.
    """
    groups: list[tuple[object, frozenset[object], list[Path]]] = []
    for folder in folders:
        model = served(folder, task)
        if type(model) is not TextClassifier or model.by_piece or model.added:
            continue
        way = model.separator, model.virtual, type(model.encoder)
        tensors = frozenset[object](
            (name, hashlib.sha256(tensor.float().numpy().tobytes()).digest())
            for name, tensor in model.encoder.state_dict().items()
        )
        for i, (other, known, members) in enumerate(groups):
            if way == other and (tensors <= known or known <= tensors):
                members.append(folder)
                groups[i] = other, known | tensors, members
                break
        else:
            groups.append((way, tensors, [folder]))
    return [members for _, _, members in groups if len(members) > 1]


def _alone(whole: onnx.ModelProto, output: str) -> onnx.ModelProto:
    """The part of a graph that one of its outputs depends on; the output is called `OUTPUT`."""
    one = onnx.ModelProto()
    one.CopyFrom(whole)
    graph = one.graph
    kept = [value for value in graph.output if value.name == output]
    del graph.output[:]
    graph.output.extend(kept)
    drop_unread(graph)
    for node in graph.node:
        for names in (node.input, node.output):
            for at, name in enumerate(names):
                names[at] = OUTPUT if name == output else name
    graph.output[0].name = OUTPUT
    return one
