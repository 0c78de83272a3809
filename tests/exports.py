"""Exports that are made once, since torch's exporter takes seconds for any model.

Two things are remembered, in a folder that all workers share. One export of a model for all who ask
for it again, as laws do that make a form twice. And of an architecture the graph, into which the
weights of another model of it are filled, where each of its constants is known to be one of the
weights, or of the architecture; what comes of it is compared with the model each time.

`shrink.test_export` does without, and shows that the exporter gives the same bytes each time. A
compressor that trains or chooses otherwise has other weights, or another architecture.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import nn
from transformers import PreTrainedConfig

from sartor.core.durable import write_durably
from sartor.core.hashing import digest, file_sha256
from sartor.shrink import export
from sartor.shrink.joined import OUTPUT
from sartor.tasks._encoder.files import plain_config

Exporter = Callable[[Path, str], bytes]
ANEW = export.traced
Weights = Mapping[str, NDArray[Any]]
_FEW = 64
"""Numbers of a constant that an architecture may hold beside its weights."""
_PATH = "name_or_path"


@pytest.fixture(scope="session")
def remembering(common: Path) -> Exporter:
    anew = export.exported

    def exported(folder: Path, task: str) -> bytes:
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        key = digest(task, [[str(p.relative_to(folder)), file_sha256(p)] for p in files])
        kept = common / "exports" / f"{key}.onnx"
        if not kept.is_file():
            kept.parent.mkdir(exist_ok=True)
            write_durably(kept, anew(folder, task))
        return kept.read_bytes()

    return exported


@pytest.fixture(autouse=True)
def exported_once(remembering: Exporter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "exported", remembering)


@pytest.fixture(scope="session", autouse=True)
def filled_in(common: Path) -> Iterator[None]:
    place = common / "architectures"
    place.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "traced", Filling(place))
        yield


class Filling:
    """An exporter that fills weights into graphs of architectures that it met before.

    Args:
        place: Where they are kept.
    """

    def __init__(self, place: Path, anew: Callable[[nn.Module], onnx.ModelProto] = ANEW) -> None:
        self.place, self.anew = place, anew

    def __call__(self, model: nn.Module, outputs: Sequence[str] = (OUTPUT,)) -> onnx.ModelProto:
        if list(outputs) != [OUTPUT]:
            return ANEW(model, outputs)
        weights = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
        graph, places = (self.place / f"{architecture(model)}{end}" for end in (".onnx", ".json"))
        if not places.is_file():
            made = self.anew(model)
            write_durably(graph, made.SerializeToString())
            write_durably(places, json.dumps(placed(made, weights)).encode())
            return made
        known = json.loads(places.read_bytes())
        if known is not None:
            filled = onnx.ModelProto.FromString(graph.read_bytes())
            for tensor in filled.graph.initializer:
                if tensor.name in known:
                    name, turned = known[tensor.name]
                    value = weights[name].T if turned else weights[name]
                    tensor.raw_data = np.ascontiguousarray(value).tobytes()
            if alike(model, filled):
                return filled
        return self.anew(model)


def architecture(model: nn.Module) -> str:
    """Hash of all that a model is but its weights, and of which weights are equal: the exporter
    keeps one of them."""
    parts = [
        [name, f"{type(module).__module__}.{type(module).__qualname__}", module.extra_repr()]
        + [[key, _told(value)] for key, value in sorted(vars(module).items()) if key != _PATH]
        for name, module in model.named_modules()
    ]
    weights = model.state_dict()
    shapes = [[name, list(tensor.shape), str(tensor.dtype)] for name, tensor in weights.items()]
    fixed = [
        [name, tensor.tolist()] for name, tensor in model.named_buffers() if name not in weights
    ]
    seen: dict[bytes, int] = {}
    equal = [seen.setdefault(each.numpy().tobytes(), len(seen)) for each in weights.values()]
    return digest(parts, shapes, fixed, equal)


def _told(value: object) -> str:
    """What an attribute is, where that can be told."""
    if isinstance(value, PreTrainedConfig):
        return repr(sorted(plain_config(value).items(), key=str))
    if isinstance(value, tuple | list):
        return repr([_told(each) for each in value])
    plain = isinstance(value, bool | int | float | str | None)
    return repr(value) if plain or (is_dataclass(value) and not isinstance(value, type)) else ""


def placed(made: onnx.ModelProto, weights: Weights) -> dict[str, tuple[str, bool]] | None:
    """Constant of a graph to the weight that it is, and whether turned; None where that cannot be
    told of each."""
    found: dict[str, tuple[str, bool]] = {}
    for tensor in made.graph.initializer:
        value = numpy_helper.to_array(tensor)
        if _same(weights.get(tensor.name), value):
            found[tensor.name] = tensor.name, False
            continue
        if value.size <= _FEW or value.dtype.kind != "f":
            continue
        # Weights that are tied are one weight.
        own = {w.ctypes.data: (n, False) for n, w in weights.items() if _same(w, value)}
        own |= {w.ctypes.data: (n, True) for n, w in weights.items() if _same(w.T, value)}
        if len(own) != 1:
            return None
        (found[tensor.name],) = own.values()
    return found


def _same(one: NDArray[Any] | None, other: NDArray[Any]) -> bool:
    return one is not None and one.dtype == other.dtype and np.array_equal(one, other)


def alike(model: nn.Module, filled: onnx.ModelProto) -> bool:
    """Whether a graph answers as its model on inputs that are drawn."""
    draw, inputs = torch.Generator().manual_seed(0), dict[str, torch.Tensor]()
    for name in signature(model.forward).parameters:
        if name == "columns":
            inputs[name] = torch.rand(2, export._width(model), generator=draw)
        else:
            least = 1 if "mask" in name else 0
            inputs[name] = torch.randint(least, 2 if least else 5, (2, 11), generator=draw)
    session = onnxruntime.InferenceSession(
        filled.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    with torch.no_grad():
        wanted: Any = model(**inputs).numpy()
    (answer,) = session.run(None, {name: value.numpy() for name, value in inputs.items()})
    return np.allclose(np.asarray(answer), wanted, rtol=1e-3, atol=1e-4)
