"""The near miss: what the user probably meant."""

from collections.abc import Iterable
from difflib import get_close_matches


def near_miss(word: str, known: Iterable[str], *, most: int = 12) -> str:
    """Say the closest known word, or list the known ones: the `fix` of an unknown name."""
    names = list(known)
    folded = {name.casefold(): name for name in reversed(names)}
    near = get_close_matches(word.casefold(), folded, n=1)
    if near:
        return f"did you mean {folded[near[0]]!r}?"
    if not names:
        return "remove it: nothing is known under that heading."
    rest = f" … ({len(names) - most} more)" if len(names) > most else ""
    return f"use one of {', '.join(names[:most])}{rest}."
