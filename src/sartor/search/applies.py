"""Whether a method can work on a backbone, found out when planning and not after an hour."""

from functools import lru_cache
from typing import Any

from sartor.core.errors import ModelError, NothingToTune
from sartor.core.types import Backbone, Candidate
from sartor.tune.api import METHODS
from sartor.tune.upper import check_cut


def why_not(backbone: Backbone, candidate: Candidate) -> str | None:
    """Why a candidate's method cannot be attached to its backbone, or None."""
    method: Any = METHODS.get(candidate.method)
    return _why_not_cut(backbone) if method.reads == "states" else None


@lru_cache(maxsize=64)
def _why_not_cut(backbone: Backbone) -> str | None:
    try:
        check_cut(backbone)
    except (NothingToTune, ModelError) as error:
        return error.what
    return None
