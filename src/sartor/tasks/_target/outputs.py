"""Names of a model's outputs: those that a need declares, or else those that its rows hold."""

from collections.abc import Iterable, Sequence
from itertools import chain

from sartor.core.errors import DataError


def all_named(targets: Iterable[Sequence[str]], declared: Sequence[str] | None) -> list[str]:
    """The declared names in their order, else all that rows have, sorted."""
    return list(declared) if declared else sorted(set(chain.from_iterable(targets)))


def told_apart(found: Iterable[str], declared: Sequence[str] | None, fix: str) -> list[str]:
    """The declared labels in their order, else those that occur, sorted.

    Args:
        found: Labels of rows, each as often as it occurs.
        declared: The need's, if it lists them.
        fix: What to do where there is nothing to tell apart.

    Raises:
        DataError: If fewer than two occur.
    """
    names = sorted(set(found))
    if len(names) < 2:
        raise DataError(
            f"The training rows hold {len(names)} label ({', '.join(names) or 'none'}); "
            "there is nothing to tell apart.",
            fix=fix,
        )
    return list(declared) if declared else names
