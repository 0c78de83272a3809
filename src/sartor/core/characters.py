"""SentencePiece's table of characters, looked at before tokenizers walks it.

The table is a trie in one array of 32-bit units, then the texts that are put in the place of what
it finds. tokenizers checks neither where a unit leads nor where a text begins, and ends the process
where that lies outside.

darts-clone, https://github.com/s-yata/darts-clone: a unit has a label (bits 0 to 7), whether a
text ends there (8), a further shift (9) and an offset (10 to 30); of one with bit 31 set the rest
is where a text begins.
"""

import json
from base64 import b64decode
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_BLOCK = 256
"""A unit leads to any of so many, one for each byte that may follow."""


def tokenizer_fault(tokenizer: "Tokenizer") -> str:
    """Why a tokenizer of a file cannot be let near a text; "" where it can.

    It is asked of what tokenizers made of the file, however that spells it.
    """
    normalizer = tokenizer.normalizer
    steps: list[Any] = [json.loads(normalizer.__getstate__())] if normalizer else []
    while steps:
        step = steps.pop()
        steps += step.get("normalizers", ())
        table = step.get("precompiled_charsmap")
        if table and (fault := table_fault(b64decode(table))):
            return f"its table of characters is damaged: {fault}"
    return ""


def table_fault(table: bytes) -> str:
    """Why a table cannot be walked; "" where it can.

    Args:
        table: `precompiled_charsmap` of a .spm file: bytes of the units, the units, the texts.
    """
    size = int.from_bytes(table[:4], "little")
    if len(table) < 4 or size % (4 * _BLOCK) or not 0 < size <= len(table) - 4:
        return "it is cut off"
    units = np.frombuffer(table, "<u4", size // 4, 4).astype(np.int64)
    texts = np.frombuffer(table, np.uint8, offset=4 + size)
    leads = units >> 31 == 0
    offsets = units >> 10 << (units >> 6 & 8)
    places = (np.arange(len(units)) ^ offsets)[leads]
    if (places | _BLOCK - 1).max(initial=0) >= len(units):
        return "a unit leads outside"
    ends = units[leads] >> 8 & 1 == 1
    starts = units[places[ends]] & 0x7FFF_FFFF
    if starts.max(initial=0) >= max(len(texts), 1):
        return "a text begins outside"
    if len(texts) and (texts[starts] & 0xC0 == 0x80).any():
        return "a text begins within a character"
    return ""
