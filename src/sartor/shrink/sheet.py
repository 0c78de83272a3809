"""A graph while it is written node by node: what a decoder and an encoder-decoder share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET, IR = 20, 10
UNSEEN = float(np.finfo(np.float32).min) / 2
"""What is added to the score of a token that is not looked at."""
Array = NDArray[Any]


@dataclass(slots=True)
class Sheet:
    """Nodes and weights; a method adds nodes, and names what comes out of them.

    Args:
        tensors: Of the model, by name.
    """

    tensors: Mapping[str, Array]
    nodes: list[onnx.NodeProto] = field(default_factory=list[onnx.NodeProto])
    weights: dict[str, Array] = field(default_factory=dict[str, Array])

    def op(self, kind: str, *inputs: str, out: str = "", **attributes: Any) -> str:
        """A node with one output, and its name."""
        name = out or f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name=f"n_{name}", **attributes))
        return name

    def split(self, value: str, sizes: list[int]) -> list[str]:
        """The last axis in parts."""
        names = [f"v{len(self.nodes)}_{part}" for part in range(len(sizes))]
        given = [value, self.numbers(sizes)]
        node = helper.make_node("Split", given, names, name=f"n_{names[0]}", axis=-1)
        self.nodes.append(node)
        return names

    def numbers(self, values: list[int]) -> str:
        """A constant of integers, kept once."""
        name = "i_" + "_".join(str(value).replace("-", "m") for value in values)
        self.weights[name] = np.array(values, np.int64)
        return name

    def number(self, value: float) -> str:
        """A constant, kept once."""
        name = f"f_{value!r}"
        self.weights[name] = np.array(value, np.float32)
        return name

    def weight(self, name: str) -> str:
        """A tensor of the model, as it is."""
        self.weights[name] = self.tensors[name]
        return name

    def product(self, states: str, name: str, *parts: str) -> str:
        """One product with the weights of several layers, side by side."""
        rows = [self.tensors[f"{part}.weight"] for part in parts]
        self.weights[name] = np.ascontiguousarray(np.concatenate(rows).T)
        found = self.op("MatMul", states, name)
        biases = [self.tensors.get(f"{part}.bias") for part in parts]
        if all(bias is None for bias in biases):
            return found
        whole = [
            np.zeros(len(row), np.float32) if bias is None else bias
            for bias, row in zip(biases, rows, strict=True)
        ]
        self.weights[f"{name}.bias"] = np.concatenate(whole)
        return self.op("Add", found, f"{name}.bias")

    def scores(self, states: str, head: str, words: str, out: str = "") -> str:
        """(…, vocabulary) how well each word comes next.

        Args:
            states: (…, width).
            head: Name of the tensor that scores words, where that is not the one below.
            words: Name of the weight that words are looked up in. It is kept once where it scores
                them too: a quarter of a small model, and a file may have no more than 2 GB.
            out: Name of what comes out.
        """
        if head in self.tensors:
            self.weights["head"] = np.ascontiguousarray(self.tensors[head].T)
            return self.op("MatMul", states, "head", out=out)
        return self.op("MatMul", states, self.op("Transpose", words, perm=[1, 0]), out=out)

    def scaled(self, states: str, weight: str, epsilon: float) -> str:
        """x / sqrt(mean x² + ε) · w: Zhang and Sennrich 2019, https://arxiv.org/abs/1910.07467"""
        square = self.op("Pow", states, self.number(2.0))
        mean = self.op("ReduceMean", square, self.numbers([-1]), keepdims=1)
        root = self.op("Sqrt", self.op("Add", mean, self.number(epsilon)))
        return self.op("Mul", self.op("Div", states, root), weight)

    def length(self, value: str, axis: int) -> str:
        """(1,) how long an axis is."""
        return self.op("Gather", self.op("Shape", value), self.numbers([axis]), axis=0)

    def earlier(self, whole: str, new: str) -> str:
        """(new, all) whether a token stands at or before another.

        Args:
            whole: (1,) tokens in all.
            new: (1,) the last of them that look.
        """
        zero, one = self.numbers([0]), self.numbers([1])
        scalar = self.op("Squeeze", whole, zero)
        first = self.op("Squeeze", self.op("Sub", whole, new), zero)
        self.weights["scalar_0"], self.weights["scalar_1"] = np.array(0), np.array(1)
        keys = self.op("Range", "scalar_0", scalar, "scalar_1")
        queries = self.op("Range", first, scalar, "scalar_1")
        return self.op("LessOrEqual", keys, self.op("Unsqueeze", queries, one))

    def model(
        self,
        name: str,
        inputs: Sequence[onnx.ValueInfoProto],
        outputs: Sequence[onnx.ValueInfoProto],
    ) -> onnx.ModelProto:
        """What was written, whole."""
        stored = [numpy_helper.from_array(value, name) for name, value in self.weights.items()]
        graph = helper.make_graph(self.nodes, name, list(inputs), list(outputs), stored)
        return helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR,
            producer_name="sartor",
        )


def floats(name: str, *sides: int | str) -> onnx.ValueInfoProto:
    """An input or output of float32."""
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, sides)


def whole(name: str, *sides: int | str) -> onnx.ValueInfoProto:
    """An input or output of int64."""
    return helper.make_tensor_value_info(name, TensorProto.INT64, sides)
