# pyright: basic
# ONNX Runtime ships no types; this file is the border.
"""One ONNX graph, ready to run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as state  # type: ignore[reportAttributeAccessIssue]

from sartor.core.errors import BundleError
from sartor.core.protocols import Floats
from sartor.serve.cores import apart, keeping_to

_CANNOT_RUN = (
    state.Fail,
    state.InvalidArgument,
    state.InvalidGraph,
    state.InvalidProtobuf,
    state.NotImplemented,
    state.RuntimeException,
)
_GIVEN: tuple[str, ...] = ("input_ids", "attention_mask", "other_ids", "other_mask")
_AS_ASKED = 1
"""ONNX Runtime's kSameAsRequested."""
_PIECES = 3
"""Axes of what answers about pieces."""


def inference(path: Path, threads: int) -> ort.InferenceSession:
    """ONNX Runtime's session of a graph, its threads on cores of their own.

    Args:
        path: The graph.
        threads: Of one pass.

    Raises:
        BundleError: If ONNX Runtime cannot run the file.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Threads that spin for their next piece of work take the core from whoever has some: the
    # event loop, another worker, another process. Decision 23 has the figures.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # A thread that rests is woken where its waker runs, and of two on one core neither gains:
    # decision 86. ONNX Runtime counts processors from 1.
    if places := apart(threads)[1:]:
        named = ";".join(",".join(str(cpu + 1) for cpu in group) for group in places)
        options.add_session_config_entry("session.intra_op_thread_affinities", named)
    options.log_severity_level = 3
    _share_memory()
    options.add_session_config_entry("session.use_env_allocators", "1")
    try:
        return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except _CANNOT_RUN as error:
        raise BundleError(
            f"{path} cannot be run by ONNX Runtime {ort.__version__}: {error}.",
            fix="upgrade onnxruntime, or build the bundle again with `sartor run`.",
        ) from error


@cache
def _share_memory() -> None:
    """Let all sessions of the process compute in one arena, which grows by what is asked for.

    One of each session's own grows by doubling, and where models are swapped what the one has given
    back is of no use to the next: a server's memory goes up and down by tens of megabytes.
    """
    place = ort.OrtMemoryInfo(
        "Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT
    )
    as_asked = ort.OrtArenaCfg({"arena_extend_strategy": _AS_ASKED})
    ort.create_and_register_allocator(place, as_asked)


@dataclass(frozen=True, slots=True)
class Session:
    """Token ids in, logits out; safe to share between threads."""

    inputs: Sequence[str]
    _session: ort.InferenceSession
    also: Sequence[str] = ()
    """Inputs beside the token ids."""
    caller: Sequence[int] = ()
    """Processors that the caller keeps to while others share its pass; none for any."""

    @property
    def apart(self) -> bool:
        """Whether the graph reads two texts, each by itself."""
        return "other_ids" in self.inputs

    @property
    def by_piece(self) -> bool:
        """Whether the graph answers about each piece of a text: (batch, sequence, outputs)."""
        return len(self._session.get_outputs()[0].shape) == _PIECES

    @property
    def outputs(self) -> int:
        """Numbers that the graph makes of a text: it is asked one token."""
        token = np.zeros((1, 1), np.int64)
        return self.run(token, token + 1).shape[-1]

    @staticmethod
    def open(path: Path, threads: int, also: Sequence[str] = ()) -> "Session":
        """
        Args:
            path: The graph.
            threads: Of one pass.
            also: Inputs beside the token ids that `all` will be given.

        Raises:
            BundleError: If ONNX Runtime cannot run the file, or it wants other inputs.
        """
        session = inference(path, threads)
        names = [found.name for found in session.get_inputs()]
        if odd := sorted(set(names) - {*_GIVEN, *also}):
            raise BundleError(
                f"{path} asks for the input {odd[0]!r}, which this runtime does not make.",
                fix="build the bundle again with `sartor run`.",
            )
        first = next(iter(apart(threads)), [])
        return Session([name for name in names if name in _GIVEN], session, also, first)

    def run(self, *tokens: NDArray[np.int64]) -> Floats:
        """
        Args:
            tokens: (batch, sequence) token ids, and (batch, sequence) 1 for a token and 0 for
                padding; then those of the second texts, where the graph reads two apart.

        Returns:
            (batch, outputs) logits, or (batch, sequence, outputs).
        """
        given = dict(zip(_GIVEN, tokens, strict=False))
        with keeping_to(self.caller):
            found = self._session.run(None, {name: given[name] for name in self.inputs})
        return np.asarray(found[0], np.float32)

    def all(
        self, ids: NDArray[np.int64], mask: NDArray[np.int64], more: Mapping[str, NDArray[Any]]
    ) -> list[Floats]:
        """Every output of the graph, in its order; (batch, …) each.

        Args:
            ids: As of `run`.
            mask: As of `run`.
            more: The inputs named by `also`.
        """
        given = {"input_ids": ids, "attention_mask": mask}
        feeds = {name: given[name] for name in self.inputs} | dict(more)
        with keeping_to(self.caller):
            found = self._session.run(None, feeds)
        return [np.asarray(one, np.float32) for one in found]
