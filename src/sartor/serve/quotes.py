"""Answers as they are stored: without the words that they quote.

An answer says places of the text it was given, or values of its columns, and quotes them for
whoever reads it. Only the places are stored: the words belong to the text, which is kept by itself,
where it is kept at all, and goes when its time is over. Documents are quoted from the bundle, which
has them.
"""

from collections.abc import Mapping
from typing import Any

from sartor.tasks._target.passages import LEFT_OUT

_WORDS = ("notes", "reason", "say")
"""Sentences for people, which may quote what was sent; of a product, what it says."""
_LISTS = ("entities", "documents")


def unquoted(answer: Mapping[str, Any]) -> dict[str, Any]:
    """An answer in its own form, with places, labels, ids and numbers, and no quoted words."""
    found = {key: value for key, value in answer.items() if key not in _WORDS}
    for key in _LISTS:
        if found.get(key):
            found[key] = [{k: v for k, v in each.items() if k != "text"} for each in found[key]]
    if "alternatives" in found:
        found = _placed(found)
        found["alternatives"] = [_placed(each) for each in found["alternatives"]]
    if "path" in found:
        found["path"] = [_step(step) for step in found["path"]]
    return found


def _placed(said: Mapping[str, Any]) -> dict[str, Any]:
    """A part of a context by its place alone."""
    return {**said, "answer": LEFT_OUT if said["answer"] else said["answer"]}


def _step(step: Mapping[str, Any]) -> dict[str, Any]:
    answer = unquoted(step["answer"])
    best = answer["answer"] or "" if "alternatives" in answer else step["best"]
    return {**step, "best": best, "answer": answer}
