"""What values flow through a graph: a histogram of each chosen tensor over some texts.

Those of a branch are seen too, of the texts that lead into it.

Texts run one at a time, so that no padding is counted, and only one text's values are in memory.
Ranges: all that was seen, all but a share at both ends, or the one of the least squared error
(Wu et al. 2020, https://arxiv.org/abs/2004.09602).
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, TensorProto, helper, numpy_helper
from tokenizers import Tokenizer

from sartor.core.texts import Text, parts_of
from sartor.shrink.graphs import inner_graphs

Method = Literal["minmax", "percentile", "mse"]
Ids = NDArray[np.int64]
Piece = tuple[Ids, ...]
"""Token ids of a text; of two texts that are read apart, those of each."""
_INPUTS = (("input_ids", "attention_mask"), ("other_ids", "other_mask"))
_BINS = 2_048
_STEPS = 256
DRAWN = 1_024
"""Texts that lengths are taken from."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Values of one tensor.

    Args:
        low: Least.
        high: Greatest.
        counts: (bins,) between them.
        texts: Of how many texts; a branch is run for some alone.
    """

    low: float
    high: float
    counts: NDArray[np.int64]
    texts: int = 0

    def limits(self, method: Method, share: float) -> tuple[float, float]:
        """The range that eight bits should cover; it holds zero.

        Args:
            method: "minmax", "percentile" or "mse".
            share: Of the values, outside a percentile's range.
        """
        low, high = self.low, self.high
        if method == "percentile":
            low, high = self._percentile(share)
        elif method == "mse":
            low, high = self._least_error()
        return min(low, 0.0), max(high, 0.0)

    def noise(self, limits: tuple[float, float]) -> float:
        """What 8 bits change: its root mean square over that of the values.

        Args:
            limits: The range that they cover.
        """
        centres = self._centres
        changed = float((self.counts * (_in_steps(centres, *limits) - centres) ** 2).sum())
        whole = float((self.counts * centres**2).sum())
        return (changed / whole) ** 0.5 if whole else 0.0

    @property
    def _centres(self) -> NDArray[np.float64]:
        edges = np.linspace(self.low, self.high, len(self.counts) + 1)
        return (edges[1:] + edges[:-1]) / 2

    def _percentile(self, share: float) -> tuple[float, float]:
        below = np.cumsum(self.counts) / self.counts.sum()
        first, last = np.searchsorted(below, [share / 2, 1 - share / 2])
        centres = self._centres
        return float(centres[first]), float(centres[min(last, len(centres) - 1)])

    def _least_error(self) -> tuple[float, float]:
        centres, best = self._centres, (np.inf, self.low, self.high)
        for part in np.linspace(1.0, 0.2, 41):
            low, high = min(part * self.low, 0.0), max(part * self.high, 0.0)
            error = float((self.counts * (_in_steps(centres, low, high) - centres) ** 2).sum())
            best = min(best, (error, low, high))
        return best[1:]


def _in_steps(values: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    """Values rounded to 256 steps of a range, those outside to its ends."""
    step = (high - low) / (_STEPS - 1) or 1.0
    return np.clip(np.round((values - low) / step), 0, _STEPS - 1) * step + low


def observe(model: ModelProto, tensors: Sequence[str], texts: Sequence[Piece]) -> dict[str, Seen]:
    """Name to what was seen of it; what no text led to is left out.

    Args:
        model: input_ids, attention_mask → logits.
        tensors: Float values, also of branches.
        texts: (tokens,) ids of each, not padded; of two texts that are read apart, those of each.
    """
    shown = ModelProto()
    shown.CopyFrom(model)
    places = _shown(shown.graph, tensors)
    there = {value.name for value in shown.graph.output}
    shown.graph.output.extend(
        helper.make_empty_tensor_value_info(t) for t in places.values() if t not in there
    )
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1  # sums in one order: the same ranges, the same bytes
    options.log_severity_level = 3
    session = ort.InferenceSession(
        shown.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    lows, highs, counted = (
        dict.fromkeys(places, np.inf),
        dict.fromkeys(places, -np.inf),
        Counter[str](),
    )
    for values in _runs(session, places, texts):
        for name, found in values.items():
            lows[name] = min(lows[name], float(found.min()))
            highs[name] = max(highs[name], float(found.max()))
            counted[name] += 1
    counts = {name: np.zeros(_BINS, np.int64) for name in tensors if name in counted}
    for values in _runs(session, places, texts):
        for name, found in values.items():
            # In float32 the edges of a narrow range would fall on one another.
            wide = found.astype(np.float64)
            counts[name] += np.histogram(wide, _BINS, (lows[name], highs[name]))[0]
    return {
        name: Seen(lows[name], highs[name], found, counted[name]) for name, found in counts.items()
    }


def _shown(graph: GraphProto, wanted: Collection[str]) -> dict[str, str]:
    """Wanted value to the name that it has in this graph, once branches hand out theirs.

    A branch that does not compute a value hands out none of its numbers. Bodies of loops keep
    theirs to themselves.
    """
    made = [value.name for value in graph.input]
    made += [name for node in graph.node for name in node.output]
    found = {name: name for name in made if name in wanted}
    for node in graph.node:
        branches = inner_graphs(node) if node.op_type == "If" else []
        inside = [_shown(branch, wanted) for branch in branches]
        for name, inner in {name: inner for each in inside for name, inner in each.items()}.items():
            found[name] = f"{inner}_outside"
            node.output.append(found[name])
            for number, (branch, names) in enumerate(zip(branches, inside, strict=True)):
                result = f"{inner}_of_{number}"
                none = numpy_helper.from_array(np.zeros(0, np.float32))
                branch.node.append(
                    helper.make_node("Identity", [inner], [result])
                    if name in names
                    else helper.make_node("Constant", [], [result], value=none)
                )
                branch.output.append(helper.make_tensor_value_info(result, TensorProto.FLOAT, None))
    return found


def typical(
    tokenizer: Path, texts: Sequence[Text], most: int, max_length: int, *, apart: bool = False
) -> list[Piece]:
    """Token ids of at most `most` texts, of evenly spread lengths, the extreme ones left out.

    Args:
        tokenizer: tokenizer.json.
        texts: As the model reads them, prefix and all.
        most: Texts wanted.
        max_length: Tokens they are cut at.
        apart: Whether the texts of a row are read each by itself.
    """
    splits = Tokenizer.from_file(str(tokenizer))
    splits.no_padding()
    splits.enable_truncation(max_length)
    drawn = list(texts[:DRAWN])
    sides = zip(*map(parts_of, drawn), strict=True) if apart else [drawn]
    ids = [[found.ids for found in splits.encode_batch_fast(list(side))] for side in sides]
    rows = (row for row in zip(*ids, strict=True) if all(row))
    ranked = sorted(rows, key=lambda row: sum(map(len, row)))
    places = np.linspace(0.05, 0.95, min(most, len(ranked))) * (len(ranked) - 1)
    return [tuple(np.array(one, np.int64) for one in ranked[round(p)]) for p in places]


def _runs(
    session: ort.InferenceSession, places: Mapping[str, str], texts: Sequence[Piece]
) -> Iterator[Mapping[str, NDArray[np.float32]]]:
    """What was computed of each text."""
    wanted = {given.name for given in session.get_inputs()}
    for piece in texts:
        given: dict[str, Ids] = {}
        for (name, mask), ids in zip(_INPUTS, piece, strict=False):
            given |= {name: ids[None], mask: np.ones_like(ids)[None]}
        fed = {name: value for name, value in given.items() if name in wanted}
        found = map(np.asarray, session.run(list(places.values()), fed))
        yield {name: value for name, value in zip(places, found, strict=True) if value.size}
