"""What an encoder-decoder reads and what it is to write, as token ids.

A text is data: it is read without the model's control tokens, which stand around it as the model's
own tokenizer puts them there. What is written begins behind what the model always begins with, and
is closed by the token that ends it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sartor.core.errors import SettingError
from sartor.core.types import TARGET_TOKENIZER, Backbone, Examples
from sartor.llm.translated import FORMAT, TranslatorFile
from sartor.models.folder import read_config, read_generation
from sartor.models.loading import load_tokenizer
from sartor.models.packed import printable
from sartor.models.surround import around
from sartor.tune.batching import rounded
from sartor.tune.framing import plain
from sartor.tune.published import Published

LONGEST_READ = 512
"""Tokens of a text, where the model could read more."""
LONGEST_WRITTEN = 256
"""Tokens of what is written, where training rows have longer ones."""
_ROOM = 1.25
"""How much longer than the longest training row what is written may be."""


@dataclass(frozen=True, slots=True)
class Sides:
    """How one model reads and writes; two of one backbone are the same.

    Args:
        name: Of the backbone.
        tokenizer: Reads texts; knows no control token.
        writer: Cuts what is written, and spells it; the same where one does both.
        before: Token ids before a text.
        after: Token ids behind it.
        opening: What the decoder begins with.
        stop: Tokens that end what it writes.
        pad: Fills shorter rows up.
        silent: Control tokens.
        positions: Tokens that the model can read, or write.
        published: Its tokenizers with their control tokens.
    """

    name: str
    tokenizer: Any
    writer: Any
    before: tuple[int, ...]
    after: tuple[int, ...]
    opening: tuple[int, ...]
    stop: tuple[int, ...]
    pad: int
    silent: frozenset[int]
    positions: int
    published: Published

    @property
    def apart(self) -> Any:
        """The tokenizer that writes, where another one reads; else None."""
        return None if self.writer is self.tokenizer else self.writer

    def said(self, text: str) -> list[int]:
        """Token ids of a text that is read."""
        return self.tokenizer.encode(printable(text), add_special_tokens=False).ids

    def written(self, text: str) -> list[int]:
        """Token ids of a text that is to be written."""
        return self.writer.encode(printable(text), add_special_tokens=False).ids

    def survives(self, text: str) -> bool:
        """Whether a text that is written comes back as it was."""
        return self.text(self.written(text)).strip() == text.strip()

    def text(self, ids: Sequence[int]) -> str:
        """What token ids spell; control tokens spell nothing."""
        return self.writer.decode([token for token in ids if token not in self.silent])

    @property
    def most_read(self) -> int:
        return min(LONGEST_READ, self.positions)

    def most_written(self, longest: int) -> int:
        """Tokens that may be written, where training rows have at most `longest`."""
        most = min(LONGEST_WRITTEN, self.positions - len(self.opening))
        return max(1, min(int(longest * _ROOM) + 2, most))

    def file(self, model: Any, longest: int, beams: int, penalty: float) -> TranslatorFile:
        """What ships beside the graphs of a model.

        Args:
            model: With the configuration of the backbone.
            longest: See `most_written`.
            beams: Of what is written.
            penalty: Its length penalty.
        """
        config = model.config
        return TranslatorFile(
            format=1 if self.apart is None else FORMAT,
            before=list(self.before),
            after=list(self.after),
            opening=list(self.opening),
            stop=list(self.stop),
            pad=self.pad,
            silent=sorted(self.silent - {*self.stop}),
            most_read=self.most_read,
            max_new_tokens=self.most_written(longest),
            beams=beams,
            length_penalty=penalty,
            layers=getattr(config, "num_decoder_layers", None) or config.decoder_layers,
            heads=config.num_attention_heads,
            size=getattr(config, "d_kv", None) or config.d_model // config.num_attention_heads,
        )


@cache
def sides_of(backbone: Backbone) -> Sides:
    """How a model reads and writes.

    Raises:
        ModelError: If its folder is damaged.
        SettingError: If its tokenizer does not put the same around every text, or its configuration
            does not say how the decoder begins and ends.
    """
    folder = Path(backbone.path)
    config = read_config(folder) | read_generation(folder)
    whole = load_tokenizer(folder)
    tokenizer = plain(whole)
    apart = (folder / TARGET_TOKENIZER).is_file()
    spells = load_tokenizer(folder, TARGET_TOKENIZER) if apart else None
    before, after = around(backbone.name, whole, tokenizer)
    start, stop, pad = (
        config.get(key) for key in ("decoder_start_token_id", "eos_token_id", "pad_token_id")
    )
    stops = [stop] if isinstance(stop, int) else stop
    if not (isinstance(start, int) and isinstance(stops, list) and isinstance(pad, int)):
        raise SettingError(
            f"the configuration of {backbone.name} does not say how its decoder begins and ends.",
            fix="set decoder_start_token_id, eos_token_id and pad_token_id in its config.json.",
        )
    forced = config.get("forced_bos_token_id")
    specials = {t for t, added in whole.get_added_tokens_decoder().items() if added.special}
    return Sides(
        name=backbone.name,
        tokenizer=tokenizer,
        writer=tokenizer if spells is None else plain(spells),
        before=before,
        after=after,
        opening=(start, forced) if isinstance(forced, int) else (start,),
        stop=tuple(stops),
        pad=pad,
        silent=frozenset({*specials, pad, *stops}),
        positions=backbone.max_length,
        published=Published(whole, spells),
    )


@dataclass(frozen=True, slots=True)
class Pairs:
    """Rows that an encoder-decoder is trained on; `batching.Inputs`.

    Args:
        sources: What is read, as the encoder takes it.
        written: What is to be written, closed.
        opening: What the decoder begins with.
        pad: Fills shorter rows up.
    """

    sources: Sequence[Sequence[int]]
    written: Sequence[Sequence[int]]
    opening: Sequence[int]
    pad: int

    @staticmethod
    def of(examples: Examples, sides: Sides, file: TranslatorFile) -> "Pairs":
        """What is too long is cut at its end; what is written is closed all the same."""
        room = file.max_new_tokens - 1
        return Pairs(
            [file.read(sides.said(str(text))) for text in examples.texts],
            [[*sides.written(str(each))[:room], sides.stop[0]] for each in examples.target],
            sides.opening,
            sides.pad,
        )

    def lengths(self) -> NDArray[np.int64]:
        """(rows,) tokens that are read and written."""
        pairs = zip(self.sources, self.written, strict=True)
        found = (len(read) + len(written) for read, written in pairs)
        return np.fromiter(found, np.int64, count=len(self.sources))

    def batch(self, rows: NDArray[np.int64]) -> tuple[Tensor, ...]:
        """Of R rows, of which the longest reads S tokens and writes T, opening included.

        Returns:
            (R, S) ids that are read; (R, T) ids that the decoder is given; (R, T) what follows each
            of them, −1 where that does not count; (R, S) mask of what is read.
        """
        chosen = rows.tolist()
        read = [self.sources[row] for row in chosen]
        given = [[*self.opening, *self.written[row][:-1]] for row in chosen]
        ahead = [-1] * (len(self.opening) - 1)
        wanted = [[*ahead, *self.written[row]] for row in chosen]
        ones = [[1] * len(ids) for ids in read]
        filled = ((read, self.pad), (given, self.pad), (wanted, -1), (ones, 0))
        return tuple(_filled(ids, fill) for ids, fill in filled)


def _filled(rows: Sequence[Sequence[int]], fill: int) -> Tensor:
    """(rows, longest rounded up), shorter ones filled up behind."""
    found = np.full((len(rows), rounded(max(map(len, rows)))), fill, np.int64)
    for row, ids in zip(found, rows, strict=True):
        row[: len(ids)] = ids
    return torch.from_numpy(found)
