"""Token ids to hidden states: the one place where the frozen encoder computes.

A batch holds texts of exactly equal length, and each batch is computed on one thread, as many
batches at once as torch would use threads. So there is no padding and no mask; threads never wait
for one another inside a layer; and a text's numbers do not depend on which texts came with it, nor
on the number of threads: one-threaded products do not depend on the number of rows (measured:
bit-equal for 1 to 24 rows, where padding moves bfloat16 by 1e-2 and two threads move float32 by
1e-6). A killed and resumed run therefore ends with the same bytes.
"""

from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from sartor.core.protocols import Floats
from sartor.models.passes import Wanted
from sartor.models.precision import Precision

Result = tuple[Floats | None, list[Floats]]
"""Pooled activations where they were asked for, and the token states of each layer that was."""


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

    def __call__(self, ids: NDArray[np.int64], wanted: Wanted) -> Result:
        """Pooled (rows, layers + 1, width), and states (rows, tokens, width) a layer; float32.

        Args:
            ids: (rows, tokens): texts of equal length, no padding.
            wanted: What to return.
        """
        pooled, layers = wanted.pooled, wanted.layers
        with torch.inference_mode():
            tokens = torch.from_numpy(ids).to(self._device)
            given = {"input_ids": tokens}
            if wanted.separator is not None:
                ends = (tokens == wanted.separator).to(torch.int64)
                given["token_type_ids"] = (ends.cumsum(1) - ends > 0).to(torch.int64)
            last = set(layers) <= {self._depth}
            answer = self._model(**given, output_hidden_states=pooled or not last)
            means = None
            if pooled:
                each = [states.mean(1, dtype=torch.float32) for states in answer.hidden_states]
                means = torch.stack(each, dim=1).cpu().numpy()
            states = [
                answer.last_hidden_state if last else answer.hidden_states[layer]
                for layer in layers
            ]
            return means, [each.float().cpu().numpy() for each in states]

    def each(self, batches: Sequence[NDArray[np.int64]], wanted: Wanted) -> Generator[Result]:
        """The batches' results in order, several being computed at a time.

        torch's thread count is 1 while this runs and is then put back.
        """
        workers = torch.get_num_threads()
        torch.set_num_threads(1)
        running: deque[Future[Result]] = deque()
        ahead = iter(batches)
        with ThreadPoolExecutor(workers, thread_name_prefix="encode") as pool:
            try:
                for ids in ahead:
                    running.append(pool.submit(self, ids, wanted))
                    # Bounded, so that results do not pile up in front of a slow consumer.
                    if len(running) > 2 * workers:
                        yield running.popleft().result()
                while running:
                    yield running.popleft().result()
            finally:
                for future in running:
                    future.cancel()
                torch.set_num_threads(workers)
