"""Replies compared with the right ones, row by row.

Case and spaces do not count; words are those of `core.replies.words_of`, so Chinese is compared by
its characters.
"""

import json
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from sartor.core.replies import plainly, rouge_l
from sartor.judge.statistic import Statistic, mean, proportion

COMPARED: Mapping[str, str] = {
    "exact_match": "share of replies that are the right one, but for case and spaces",
    "contains": "share of replies that contain the right one, but for case and spaces",
    "rouge_l": "mean F1 of the words that a reply shares with the right one, in their order",
}
"""Metrics of a reply and the right one."""
ALONE: Mapping[str, str] = {
    "json_valid": "share of replies that are JSON",
    "answered": "share of rows that get any reply",
}
"""Metrics of a reply by itself."""
_SHARES: Mapping[str, Callable[[str, str], bool]] = {
    "exact_match": lambda reply, right: plainly(reply) == plainly(right),
    "contains": lambda reply, right: plainly(right) in plainly(reply),
    "json_valid": lambda reply, right: _is_json(reply),
    "answered": lambda reply, right: bool(reply.strip()),
}


def compared(
    metric: str,
    said: Sequence[str],
    right: Sequence[str],
    counted: NDArray[np.bool_] | None = None,
) -> Statistic:
    """One of the metrics above.

    Args:
        metric: Its name.
        said: A reply a row.
        right: The right one of each.
        counted: (rows,), which rows count; every row when None.
    """
    pairs = zip(said, right, strict=True)
    if metric == "rouge_l":
        found = np.array([rouge_l(*pair) for pair in pairs], np.float64)
        return mean(found, 0.0, 1.0, counted)
    hit = np.array([_SHARES[metric](*pair) for pair in pairs], bool)
    return proportion(hit, counted)


def _is_json(reply: str) -> bool:
    try:
        json.loads(reply)
    except (ValueError, RecursionError):
        return False
    return True
