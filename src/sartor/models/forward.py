"""Token ids to hidden states: the one place where the frozen encoder computes.

A batch holds texts of exactly equal length. On a CPU each is computed on one thread, as many at
once as torch would use threads. So there is no padding and no mask; threads never wait for one
another inside a layer; and a text's numbers do not depend on which texts came with it, nor on the
number of threads: one-threaded products do not depend on the number of rows (measured: bit-equal
for 1 to 24 rows, where padding moves bfloat16 by 1e-2 and two threads move float32 by 1e-6). A
killed and resumed run therefore ends with the same bytes.

A GPU waits for work in batches of so few texts: there, batches of nearly equal length are padded
and computed as one, and the last bits of a text's numbers depend on those beside it.
"""

from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from sartor.core.protocols import Floats
from sartor.models.passes import Wanted
from sartor.models.precision import Precision

Result = tuple[Floats | None, list[Floats]]
"""Pooled activations where they were asked for, and the token states of each layer that was."""
_TOGETHER = 16_384
"""Tokens that keep a GPU busy and that a small one has room for."""


class Forward:
    """Every layer's hidden states averaged over tokens, or one layer's as they are.

    Args:
        model: In eval mode; moved to the GPU where there is one, and converted in place to the
            precision's type. Only as deep as somebody reads.
        precision: Where it says bfloat16, weights and activations are bfloat16 (autocast would
            convert the weights again in every call); sums over tokens are float32 either way.
    """

    def __init__(self, model: PreTrainedModel, precision: Precision) -> None:
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._model = model.to(self._device, getattr(torch, precision.dtype))  # type: ignore[arg-type]
        self._depth = model.config.num_hidden_layers

    @property
    def together(self) -> int:
        """Tokens, padding among them, to compute at once; 0 where padding only costs."""
        return _TOGETHER if self._device.type == "cuda" else 0

    def __call__(self, lot: Sequence[NDArray[np.int64]], wanted: Wanted) -> list[Result]:
        """Of each batch: pooled (rows, layers + 1, width), states (rows, tokens, width); float32.

        Args:
            lot: Batches (rows, tokens), each of texts of equal length; several are padded to the
                longest.
            wanted: What to return.
        """
        if len(lot) == 1:
            return [self._computed(lot[0], None, wanted)]
        longest = max(ids.shape[1] for ids in lot)
        padding = self._model.config.pad_token_id or 0
        ids = np.concatenate(
            [
                np.pad(part, ((0, 0), (0, longest - part.shape[1])), constant_values=padding)
                for part in lot
            ]
        )
        lengths = np.concatenate([np.full(len(part), part.shape[1]) for part in lot])
        means, states = self._computed(ids, lengths, wanted)
        ends = np.cumsum([len(part) for part in lot])
        return [
            (
                None if means is None else means[end - len(part) : end],
                [each[end - len(part) : end, : part.shape[1]] for each in states],
            )
            for part, end in zip(lot, ends, strict=True)
        ]

    def _computed(
        self, ids: NDArray[np.int64], lengths: NDArray[np.int64] | None, wanted: Wanted
    ) -> Result:
        """Of (rows, tokens); where lengths are given, what lies beyond them is padding."""
        pooled, layers = wanted.pooled, wanted.layers
        with torch.inference_mode():
            tokens = torch.from_numpy(ids).to(self._device)
            given = {"input_ids": tokens}
            real = None
            if lengths is not None:
                place = torch.arange(ids.shape[1], device=self._device)
                real = place < torch.from_numpy(lengths).to(self._device)[:, None]
                given["attention_mask"] = real.to(torch.int64)
            if wanted.separator is not None:
                ends = (tokens == wanted.separator).to(torch.int64)
                given["token_type_ids"] = (ends.cumsum(1) - ends > 0).to(torch.int64)
            last = set(layers) <= {self._depth}
            answer = self._model(**given, output_hidden_states=pooled or not last)
            means = None
            if pooled:
                each = [_mean(states, real) for states in answer.hidden_states]
                means = torch.stack(each, dim=1).cpu().numpy()
            states = [
                answer.last_hidden_state if last else answer.hidden_states[layer]
                for layer in layers
            ]
            return means, [each.float().cpu().numpy() for each in states]

    def each(
        self, lots: Sequence[Sequence[NDArray[np.int64]]], wanted: Wanted
    ) -> Generator[Result]:
        """The batches' results in order; on a CPU several lots are computed at a time.

        torch's thread count is 1 while this runs and is then put back.
        """
        threads = torch.get_num_threads()
        # One on a GPU, that computes while its last results are read.
        workers = 1 if self.together else threads
        torch.set_num_threads(1)
        running: deque[Future[list[Result]]] = deque()
        with ThreadPoolExecutor(workers, thread_name_prefix="encode") as pool:
            try:
                for lot in lots:
                    running.append(pool.submit(self, lot, wanted))
                    # Bounded, so that results do not pile up in front of a slow consumer.
                    if len(running) > 2 * workers:
                        yield from running.popleft().result()
                while running:
                    yield from running.popleft().result()
            finally:
                for future in running:
                    future.cancel()
                torch.set_num_threads(threads)


def _mean(states: Tensor, real: Tensor | None) -> Tensor:
    """(rows, width) over tokens, in float32; where `real` (rows, tokens) is given, over those."""
    if real is None:
        return states.mean(1, dtype=torch.float32)
    weights = real.to(torch.float32) / real.sum(1, keepdim=True)
    return torch.einsum("rt,rtw->rw", weights, states.float())
