"""Encoder-decoders that translate and sum up: as they came, tuned, or learnt from nothing.

Where a need names no model, a small one is drawn and learns from the training rows alone. That is
said wherever its results are shown: it is no pretrained model.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import polars as pl

from sartor.core.errors import SettingError
from sartor.core.hashing import digest, sources_sha256, versions
from sartor.core.types import TARGET_TOKENIZER, Backbone
from sartor.data.prepare import Prepared
from sartor.data.table import Columns
from sartor.llm import translated
from sartor.models.directed import directed, write_directed
from sartor.models.folder import has_two, read_config
from sartor.models.linked import describe_linked
from sartor.models.scratch import NAME, describe_scratch, write_scratch
from sartor.models.two_vocabularies import write_two
from sartor.search.desk import Desk
from sartor.search.estimates import Estimate
from sartor.search.pairs_rows import check_pairs
from sartor.search.product import TOKENIZER, Product
from sartor.search.writing_family import Priced, allowed
from sartor.search.writing_rungs import price_pairs
from sartor.shrink.seq2seq_graph import why_not, write_seq2seq
from sartor.tune.sides import LONGEST_READ, sides_of

_STREAMED = ("first_token_p95_ms", "tokens_per_s")


@dataclass(frozen=True, slots=True)
class EncoderDecoders:
    """A `Family`."""

    reads: ClassVar[str] = "text"

    def refuse(self, desk: Desk) -> None:
        for criterion in desk.need.accept:
            if criterion.metric in _STREAMED:
                raise SettingError(
                    f"{desk.file}: {criterion.text!r} is about replies that come word by word, and"
                    f" {desk.need.task} answers at once.",
                    fix="ask for latency_p95_ms, or leave it out.",
                )

    def named(self, desk: Desk) -> list[Backbone]:
        names = [name for name in desk.need.prefer.backbones or () if name != NAME]
        found = allowed(desk, names, "seq2seq", "encoder-decoder")
        return [_told(_in_two(backbone, desk), desk) for backbone in found]

    def look_through(
        self, frame: pl.DataFrame, columns: Columns, backbones: Sequence[Backbone], desk: Desk
    ) -> None:
        sides = [sides_of(backbone) for backbone in backbones]
        check_pairs(frame, columns, sides, desk)

    def made(self, desk: Desk, rows: Prepared) -> list[Backbone]:
        if NAME not in (desk.need.prefer.backbones or [NAME]):
            return []
        texts = [str(each) for each in (*rows.train.texts, *rows.train.target)]
        code = sources_sha256("sartor.models.scratch")
        numeric = versions("torch", "transformers", "tokenizers")
        key = digest(texts, desk.need.seed, code, numeric)
        folder = desk.place.stage(
            "scratch", key, lambda to: write_scratch(texts, desk.need.seed, to)
        )
        return [describe_scratch(folder, desk.need.seed)]

    def choice(self, backbones: Sequence[Backbone]) -> str:
        named = ", ".join(b.name for b in backbones if b.drawn is None)
        drawn = next((b for b in backbones if b.drawn is not None), None)
        found = [f"Model {named}."] if named else []
        if drawn is not None:
            found.append(
                f"{drawn.name}: {drawn.parameters / 1e6:.1f} M weights that begin at random and"
                " learn from the training rows alone; no pretrained model."
            )
        return " ".join(found)

    def suits(self, backbone: Backbone, begins: str) -> bool:
        return begins == ("pretrained" if backbone.drawn is None else "drawn")

    def why_not(self, backbone: Backbone, begins: str) -> str:
        if not self.suits(backbone, begins):
            return f"it begins with {begins} weights, and those of {backbone.name} are not"
        if backbone.whole is not None:
            return f"{backbone.name} is not a whole model"
        return why_not(read_config(Path(backbone.path)))

    def price(self, what: Priced, method: str, settings: Mapping[str, Any]) -> Estimate:
        return price_pairs(what.rows, what.precision, what.backbone, method, settings)

    def context(self, backbone: Backbone) -> int:
        return min(LONGEST_READ, backbone.max_length)

    def product(self, key: str, folder: Path) -> Product:
        names = (translated.FILE, TARGET_TOKENIZER)
        beside = {name: folder / name for name in names if (folder / name).is_file()}

        def write(to: Path) -> None:
            write_seq2seq(folder, to)

        return Product(key, folder / TOKENIZER, write, fit=folder, beside=beside)


def _in_two(backbone: Backbone, desk: Desk) -> Backbone:
    """The model, its two SentencePiece files as two tokenizers."""
    if not has_two(Path(backbone.path)):
        return backbone
    code = sources_sha256("sartor.models.two_vocabularies")
    key = digest(backbone.sha256, backbone.path, code, versions("tokenizers"))
    folder = desk.place.stage("two", key, lambda to: write_two(backbone, to))
    return describe_linked(backbone, folder)


def _told(backbone: Backbone, desk: Desk) -> Backbone:
    """The model, told the languages and the task of the need where it must be."""
    spoken = desk.need.data.languages
    languages = {} if spoken is None else {str(side): code for side, code in spoken.items()}
    told = directed(backbone, desk.need.task, languages)
    if told is None:
        return backbone
    code = sources_sha256("sartor.models.directed")
    key = digest(backbone.sha256, backbone.path, told.before, told.after, dict(told.opening), code)
    folder = desk.place.stage("directed", key, lambda to: write_directed(backbone, told, to))
    return describe_linked(backbone, folder)
