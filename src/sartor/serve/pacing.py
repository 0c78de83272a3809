"""How a bundle's model gets through its work: what it gains from batches, and what from threads."""

import math

from sartor.bundle import Bundle
from sartor.llm.asker import WORKERS
from sartor.serve.batcher import BATCH_S, LONGEST_CHARS, Pace
from sartor.serve.graph import Graph
from sartor.serve.indexed import Indexed
from sartor.serve.opening import Model, asks_llm


def pace_of(bundle: Bundle, model: Model, threads: int, rate: float) -> Pace:
    """
    Args:
        bundle: That answers.
        model: As it was opened.
        threads: Of one pass.
        rate: See `Pace`.
    """
    workers, ahead, batch_s = 1, 0, math.inf
    if asks_llm(bundle):  # another's server computes: several batches may be in the air
        workers = WORKERS
    elif _side_by_side(model):
        workers, ahead, batch_s = threads, 1, BATCH_S
    windows = bundle.manifest.preprocess.windows
    longest = LONGEST_CHARS * (windows.most if windows else 1)
    return Pace(workers, ahead, batch_s, longest, rate)


def _side_by_side(model: Model) -> bool:
    """Whether texts cost it the same one by one as together, and several run at once."""
    graph = model.graph if isinstance(model, Indexed) else model
    return isinstance(graph, Graph) and graph.lanes is not None
