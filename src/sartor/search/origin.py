"""From a bundle back to the fit that it was made of: weights that can be trained on.

A bundle holds a graph, not weights. Those lie in the workspace that made it, where its manifest's
lineage says. What is found is held against the bundle before anything is built on it.
"""

import re
from pathlib import Path

import numpy as np

from sartor.bundle import Bundle
from sartor.core.errors import ModelError
from sartor.core.protocols import Floats
from sartor.core.seals import damage
from sartor.core.workspace import Workspace
from sartor.search.pricing import SAMPLE
from sartor.serve import runtime
from sartor.tasks._decision.logits import softmax

TOLERANCE = 0.25
"""Of a probability, between the float model and the bundle, which may be in 8 bits: another fit's
differ by more on some text."""
_FIT = re.compile(r"(fits|stages)(/[A-Za-z0-9][A-Za-z0-9._-]*){2,4}")
_WORDS = 50
MADE_UP = tuple(text for text in SAMPLE if len(text.split()) <= _WORDS)
"""Texts that both are asked: longer ones a bundle may read in windows."""
AGAIN = "run its need again: what was fitted is found again, not redone."


def fit_of(bundle: Bundle, place: Workspace) -> Path:
    """The fit that a bundle was made of, a folder that the task's `train.load` reads.

    A stranger may have written the manifest: only a plain path inside the workspace is followed.

    Args:
        bundle: Verified.
        place: Workspace that made it.

    Raises:
        ModelError: If it was made of several, or its fit is not told, gone or damaged.
    """
    told = bundle.manifest.lineage
    if "members" in told and "fit" not in told:
        raise ModelError(
            f"{bundle.folder} is made of several models, so there is no one fit to go on with.",
            fix="run the need with `prefer: {ensemble: false}` for a bundle of one.",
        )
    named = told.get("fit")
    if not isinstance(named, str) or not _FIT.fullmatch(named):
        raise ModelError(
            f"{bundle.folder} does not say which fit it was made of: an earlier version built it.",
            fix=AGAIN,
        )
    fit = place.folder / named
    if not fit.resolve().is_relative_to(place.folder.resolve()) or not fit.is_dir():
        raise ModelError(
            f"The fit that {bundle.folder} was made of is not in {place.folder}: there is no"
            f" {named}.",
            fix="name the workspace of the run with --workspace, or " + AGAIN,
        )
    # Students are not sealed as fits are; the comparison of answers covers those.
    if (fit / "manifest.json").exists() and (fault := damage(fit)) is not None:
        raise ModelError(f"{fit} is damaged: {fault}.", fix=AGAIN)
    return fit


def difference(bundle: Bundle, theirs: Floats) -> float:
    """Largest one of a probability between a bundle and its fit, before weights and abstention.

    Args:
        bundle: Is asked here.
        theirs: (`MADE_UP`, outputs), the logits of the fit.

    Raises:
        ModelError: If they are not of one model.
    """
    temperature = float(bundle.manifest.decision.get("temperature", 1.0))
    ours = runtime.start(bundle).logits(MADE_UP)
    found = float(np.abs(softmax(ours / temperature) - softmax(theirs / temperature)).max())
    return close_enough(bundle, found)


def close_enough(bundle: Bundle, found: float) -> float:
    """The largest difference of a probability between a bundle and its fit, where it is small.

    Raises:
        ModelError: If they are not of one model.
    """
    if not found <= TOLERANCE:
        raise ModelError(
            f"The fit of {bundle.folder} does not answer as it does: a probability differs by"
            f" {found:.3f}.",
            fix=AGAIN,
        )
    return found
