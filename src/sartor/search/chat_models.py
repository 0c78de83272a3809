"""Chat models that reply to conversations: prompted, or tuned with LoRA."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import polars as pl

from sartor.core.types import Backbone
from sartor.data.prepare import Prepared
from sartor.data.table import Columns
from sartor.llm import written
from sartor.models.folder import read_config
from sartor.search.desk import Desk
from sartor.search.estimates import Estimate
from sartor.search.product import GRAPH, TOKENIZER, Product
from sartor.search.writing_family import Priced, allowed
from sartor.search.writing_rows import Rowwise, check_rows
from sartor.search.writing_rungs import price
from sartor.shrink.decoder_graph import why_not, write_decoder
from sartor.tune.writing import context_of, conversing

DEFAULT = "smollm2"


@dataclass(frozen=True, slots=True)
class ChatModels:
    """A `Family`."""

    reads: ClassVar[str] = "conversation"

    def refuse(self, desk: Desk) -> None:
        """Nothing beyond what is refused of all that write."""

    def named(self, desk: Desk) -> list[Backbone]:
        names = desk.need.prefer.backbones or [DEFAULT]
        return allowed(desk, names, "llm", "language model")

    def look_through(
        self, frame: pl.DataFrame, columns: Columns, backbones: Sequence[Backbone], desk: Desk
    ) -> None:
        for backbone in backbones:
            says = conversing(backbone)
            check_rows(frame, columns, Rowwise(backbone, says, desk.emit))

    def made(self, desk: Desk, rows: Prepared) -> list[Backbone]:
        return []

    def choice(self, backbones: Sequence[Backbone]) -> str:
        return f"Language model {', '.join(b.name for b in backbones)}."

    def suits(self, backbone: Backbone, begins: str) -> bool:
        return True

    def why_not(self, backbone: Backbone, begins: str) -> str:
        if backbone.whole is not None or backbone.drawn is not None:
            return f"{backbone.name} is not a whole model"
        return why_not(read_config(Path(backbone.path)))

    def price(self, what: Priced, method: str, settings: Mapping[str, Any]) -> Estimate:
        return price(what.rows, what.precision, what.backbone, method, settings)

    def context(self, backbone: Backbone) -> int:
        return context_of(backbone)

    def product(self, key: str, folder: Path) -> Product:
        beside = {written.FILE: folder / written.FILE}

        def write(to: Path) -> None:
            write_decoder(folder, to / GRAPH)

        return Product(key, folder / TOKENIZER, write, fit=folder, beside=beside)
