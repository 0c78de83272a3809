"""Static int8: the ranges of activations are measured once, on the user's texts, and stored.

Weights in [−63, 63] with one scale for each output channel, activations in 8 bits with one range
for each value that products read. Products that read the values which lose most stay in float.
Wu et al. 2020, https://arxiv.org/abs/2004.09602
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, ClassVar

import numpy as np
from annotated_types import Ge, Gt, Le
from onnx import ModelProto

from sartor.core.errors import NothingToShrink
from sartor.core.events import StageProgress
from sartor.core.protocols import Floats
from sartor.core.texts import COLUMNS, Text, each_part
from sartor.shrink.api import COMPRESSORS, GRAPH, Bench, Eased, Form, Place
from sartor.shrink.calibration import DRAWN, Method, Piece, observe, typical
from sartor.shrink.eight_bits import Limits, in_eight_bits, products
from sartor.shrink.graphs import read_graph, write_graph

_OFTEN = 0.5
"""Share of the texts from which on a value was seen often enough."""


@COMPRESSORS.add
@dataclass(frozen=True, slots=True)
class Int8Static:
    """Quantises matrix products and large tables, by ranges measured on training texts."""

    eases: ClassVar[tuple[Eased, ...]] = ("size", "speed")
    trains: ClassVar[bool] = False
    place: ClassVar[Place] = "numbers"

    method: Method = "percentile"
    """How a range is found: all values seen; all but the outermost; or the least squared error."""
    outside: Annotated[float, Ge(0), Le(0.5)] = 1e-5
    """Share of the values that a percentile's range leaves outside."""
    texts: Annotated[int, Ge(1)] = 64
    """Training texts that ranges are measured on, of lengths from short to long."""
    shift: Annotated[float, Gt(0)] = 0.2
    """Change of the logits, as a share of their own spread, up to which nothing stays in float.
    Dynamic rounding was seen to cost 0.09 to 0.2."""
    in_float: Annotated[float, Ge(0), Le(1)] = 0.25
    """Share of the products that may stay in float."""
    measured: Annotated[float, Ge(0), Le(1)] = 0.5
    """Share of the products, those whose values lose most in 8 bits, whose effect on the logits is
    measured alone to find the worst."""
    probes: Annotated[int, Ge(1)] = 48
    """Validation texts that the change is measured on."""
    least: int = 1_024
    """Numbers that a table must hold to be rounded."""

    def compress(self, source: Form, target: Path, bench: Bench) -> None:
        model = read_graph(source.graph)
        if any(given.name == COLUMNS for given in model.graph.input):
            raise NothingToShrink(
                "int8_static measures ranges on texts alone, and the graph reads columns too.",
                fix="ship the float graph, or one of int8_rows or int8_dynamic.",
            )
        read = list(dict.fromkeys(product.reads for product in products(model)))
        prefix = bench.prefix
        texts = [each_part(text, lambda part: prefix + part) for text in bench.train.texts]
        if not read or not texts:
            raise NothingToShrink(
                f"int8_static found no {'product of float weights' if texts else 'texts'} to"
                f" calibrate in {source.graph.name if texts else 'the training rows'}.",
                fix="ship the float graph, or choose another compressor.",
            )
        apart = any(given.name == "other_ids" for given in model.graph.input)

        def some(most: int) -> list[Piece]:
            return typical(source.tokenizer, texts, most, bench.max_length, apart=apart)

        seen = observe(model, read, some(self.texts))
        most_texts = max((found.texts for found in seen.values()), default=0)
        rare = [r for r in read if r not in seen or seen[r].texts < _OFTEN * most_texts]
        if rare:  # they lie in a branch that few texts lead to
            seen |= observe(model, rare, some(DRAWN))
        limits = {name: found.limits(self.method, self.outside) for name, found in seen.items()}
        if not limits:
            raise NothingToShrink(
                f"int8_static: no training text leads to a product in {source.graph.name}.",
                fix="take int8_rows, which needs no texts, or ship the float graph.",
            )
        read = [name for name in read if name in limits]
        with TemporaryDirectory(dir=target) as place:
            noise = {name: seen[name].noise(limits[name]) for name in read}
            rounding = _Rounding(model, limits, noise, self, source.tokenizer)
            chosen = rounding.chosen(read, bench, Path(place))
        write_graph(rounding.of(chosen), target / GRAPH)


@dataclass(frozen=True, slots=True)
class _Rounding:
    """Chooses what is rounded, by how far the answers to validation texts move.

    Args:
        model: In float.
        limits: Range of every value that products read.
        noise: What rounding changes of each, as a share of itself.
        settings: Those of the compressor.
        tokenizer: Of the form.
    """

    model: ModelProto
    limits: Mapping[str, Limits]
    noise: Mapping[str, float]
    settings: Int8Static
    tokenizer: Path

    def of(self, chosen: Sequence[str]) -> ModelProto:
        """The model with the products that read `chosen` rounded."""
        return in_eight_bits(self.model, self.limits, chosen, self.settings.least)

    def chosen(self, read: Sequence[str], bench: Bench, place: Path) -> list[str]:
        """The values of `read` to round: all, or as many as keep the shift within its bound.

        Args:
            read: Values that products read, in the graph's order.
            bench: Its validation texts are answered.
            place: Folder for graphs that are tried.
        """
        texts = _drawn(bench, self.settings.probes)
        most = int(self.settings.in_float * len(read))
        if not texts or not most:
            return list(read)

        def answers(model: ModelProto) -> Floats:
            write_graph(model, place / GRAPH)
            return bench.answers(Form(place / GRAPH, self.tokenizer), texts)

        before = answers(self.model)
        # Tables are rounded in any case, once, and most of a graph that knows many words is one.
        slim = in_eight_bits(self.model, {}, (), self.settings.least)

        def shift(rounded: Sequence[str]) -> float:
            tried = in_eight_bits(slim, self.limits, rounded, self.settings.least)
            return _shift(before, answers(tried))

        if shift(read) <= self.settings.shift:
            return list(read)
        noisy = sorted(read, key=lambda name: -self.noise[name])
        noisy = noisy[: max(most, ceil(self.settings.measured * len(read)))]
        alone: list[float] = []
        for done, name in enumerate(noisy):
            bench.emit(StageProgress("shrink", done, len(noisy), "int8_static"))
            alone.append(shift([name]))
        worst = [noisy[i] for i in np.argsort(alone, kind="stable")[::-1]]
        # The fewest of the worst that will do, by halving: the shift falls as more stay in float.
        low, high = 1, most
        while low < high:
            middle = (low + high) // 2
            enough = shift([r for r in read if r not in worst[:middle]]) <= self.settings.shift
            low, high = (low, middle) if enough else (middle + 1, high)
        return [name for name in read if name not in worst[:low]]


def _drawn(bench: Bench, most: int) -> list[Text]:
    """At most so many validation texts, drawn by the bench's seed."""
    held = bench.validation.texts
    rows = np.random.default_rng(bench.seed).permutation(len(held))[:most]
    return [held[row] for row in sorted(rows)]


def _shift(before: Floats, after: Floats) -> float:
    """Root mean square change of the logits over their standard deviation."""
    spread = float((before - before.mean(0)).std()) or 1.0
    return float(np.sqrt(np.mean((after - before) ** 2))) / spread
