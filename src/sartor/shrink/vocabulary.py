"""A tokenizer.json with fewer tokens, that splits texts of the kept ones as before.

WordPiece takes the longest piece that fits, Unigram the likeliest split: what is no candidate any
more does not change a choice that fell on another. BPE keeps every merge that leads to a kept
piece. Unigram's unknown token costs the least score in the vocabulary and ten more, so a piece of
that score stays.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sartor.core.errors import NothingToShrink

Json = dict[str, Any]
_START = "▁"  # what Unigram puts before a word


@dataclass(frozen=True, slots=True)
class Pieces:
    """The vocabulary of a tokenizer.json.

    Args:
        ids: Piece to id, the added tokens among them.
        added: Those that were added: special tokens, and words that are never split.
        alphabet: Ids of single characters and bytes, and of what stands for the unknown.
    """

    ids: Mapping[str, int]
    added: frozenset[int]
    alphabet: frozenset[int]

    @property
    def size(self) -> int:
        return max(self.ids.values()) + 1


def read_pieces(document: Json) -> Pieces:
    """
    Raises:
        NothingToShrink: If the tokenizer is of a kind that cannot be trimmed.
    """
    model = document["model"]
    added = {entry["content"]: int(entry["id"]) for entry in document.get("added_tokens") or []}
    ids = {**_vocabulary(model), **added}
    alphabet = {i for piece, i in ids.items() if len(_bare(piece, model)) <= 1}
    if model["type"] == "Unigram":
        scores = {int(i): score for i, (_, score) in enumerate(model["vocab"])}
        ranked = [i for i in scores if i not in added.values()]
        alphabet.add(min(ranked, key=scores.__getitem__))
        alphabet.update({int(model["unk_id"])} if model.get("unk_id") is not None else set())
    elif model.get("unk_token") in ids:
        alphabet.add(ids[model["unk_token"]])
    alphabet |= {i for piece, i in ids.items() if _is_byte(piece)}
    return Pieces(ids, frozenset(added.values()), frozenset(alphabet))


def characters(pieces: Pieces, chosen: Iterable[int], model: Json) -> frozenset[int]:
    """Ids of the pieces that are made of the characters of the chosen ones alone."""
    of = {i: _bare(piece, model) for piece, i in pieces.ids.items()}
    known = {letter for i in chosen for letter in of[i]}
    return frozenset(i for i, piece in of.items() if known.issuperset(piece))


def with_parts(document: Json, chosen: Iterable[int]) -> set[int]:
    """The chosen ids, and of BPE those that their merges go through."""
    model = document["model"]
    if model["type"] != "BPE":
        return set(chosen)
    ids = _vocabulary(model)
    made: dict[str, list[str]] = {}
    for left, right in _merges(model):
        made.setdefault(left + right, []).extend((left, right))
    names = {i: piece for piece, i in ids.items()}
    found, left_over = set(chosen), [names[i] for i in chosen if i in names]
    while left_over:
        for part in made.get(left_over.pop(), ()):
            if part in ids and ids[part] not in found:
                found.add(ids[part])
                left_over.append(part)
    return found


def trim(document: Json, kept: NDArray[np.int64]) -> Json:
    """The tokenizer with the ids `kept`, renumbered from 0 in that order.

    Args:
        document: tokenizer.json.
        kept: Increasing.
    """
    new = {int(old): number for number, old in enumerate(kept)}
    return {
        **document,
        "added_tokens": [
            {**entry, "id": new[entry["id"]]} for entry in document.get("added_tokens") or []
        ],
        "post_processor": _processor(document.get("post_processor"), new),
        "padding": _padding(document.get("padding"), new),
        "model": _model(document["model"], new),
    }


def _vocabulary(model: Json) -> dict[str, int]:
    kind = model.get("type")
    if kind == "Unigram":
        return {piece: i for i, (piece, _) in enumerate(model["vocab"])}
    plain = not model.get("continuing_subword_prefix")
    if kind in ("WordPiece", "WordLevel") or (kind == "BPE" and plain):
        return {piece: int(i) for piece, i in model["vocab"].items()}
    raise NothingToShrink(
        f"trim_vocabulary does not know how to trim a tokenizer of the kind {kind}.",
        fix="choose another compressor; WordPiece, Unigram, BPE and WordLevel can be trimmed.",
    )


def _bare(piece: str, model: Json) -> str:
    """A piece without the mark of where in a word it stands."""
    if model["type"] == "Unigram":
        return piece.removeprefix(_START)
    prefix, suffix = model.get("continuing_subword_prefix"), model.get("end_of_word_suffix")
    return piece.removeprefix(prefix or "").removesuffix(suffix or "")


def _is_byte(piece: str) -> bool:
    return len(piece) == 6 and piece.startswith("<0x") and piece.endswith(">")


def _merges(model: Json) -> list[tuple[str, str]]:
    pairs = (m.split(" ") if isinstance(m, str) else m for m in model["merges"])
    return [(left, right) for left, right in pairs]


def _model(model: Json, new: Mapping[int, int]) -> Json:
    ids = _vocabulary(model)
    if model["type"] == "Unigram":
        unknown = model.get("unk_id")
        vocab = [entry for i, entry in enumerate(model["vocab"]) if i in new]
        return {**model, "vocab": vocab, "unk_id": None if unknown is None else new[unknown]}
    vocab = {piece: new[i] for piece, i in ids.items() if i in new}
    if model["type"] != "BPE":
        return {**model, "vocab": vocab}
    merges = [[a, b] for a, b in _merges(model) if {a, b, a + b} <= vocab.keys()]
    return {**model, "vocab": vocab, "merges": merges}


def _padding(padding: Json | None, new: Mapping[int, int]) -> Json | None:
    return padding and {**padding, "pad_id": new.get(padding["pad_id"], 0)}


def _processor(found: Json | None, new: Mapping[int, int]) -> Json | None:
    """The post-processor with its special tokens renumbered."""
    if found is None or found["type"] == "ByteLevel":
        return found
    if found["type"] == "Sequence":
        return {**found, "processors": [_processor(each, new) for each in found["processors"]]}
    if found["type"] == "TemplateProcessing":
        special = {
            name: {**token, "ids": [new[i] for i in token["ids"]]}
            for name, token in found["special_tokens"].items()
        }
        return {**found, "special_tokens": special}
    ends = {side: [found[side][0], new[found[side][1]]] for side in ("sep", "cls")}
    return {**found, **ends}  # BertProcessing, RobertaProcessing
