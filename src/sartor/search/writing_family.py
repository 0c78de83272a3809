"""What differs between the models that write: chat models, and encoder-decoders."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import polars as pl

from sartor.core.errors import ModelError
from sartor.core.types import Backbone
from sartor.data.prepare import Prepared
from sartor.data.table import Columns
from sartor.models.api import Kind
from sartor.models.catalogue import find_backbone
from sartor.models.precision import Precision
from sartor.search.desk import Desk
from sartor.search.estimates import Estimate
from sartor.search.product import Product


@dataclass(frozen=True, slots=True)
class Priced:
    """What a rung's price is told by.

    Args:
        rows: By role.
        precision: Of this machine.
        backbone: That writes.
    """

    rows: Prepared
    precision: Precision
    backbone: Backbone


class Family(Protocol):
    """Models of one make, and what a run must know to use them."""

    reads: ClassVar[str]
    """See `tune.writing.WritingMethod`."""

    def refuse(self, desk: Desk) -> None:
        """Refuse what a need asks for and this family has no use for, by name.

        Raises:
            SettingError: If there is such a thing.
        """
        ...

    def named(self, desk: Desk) -> list[Backbone]:
        """The need's own models, else those there are for everyone.

        Raises:
            ModelError: If one is missing, or has a licence that is not allowed.
        """
        ...

    def look_through(
        self, frame: pl.DataFrame, columns: Columns, backbones: Sequence[Backbone], desk: Desk
    ) -> None:
        """Look through clean rows before anything is learnt from them.

        Raises:
            DataError: If a row cannot be read, or not be written by a model.
        """
        ...

    def made(self, desk: Desk, rows: Prepared) -> list[Backbone]:
        """Models that are made of the rows."""
        ...

    def choice(self, backbones: Sequence[Backbone]) -> str:
        """Which models there are, in a sentence."""
        ...

    def suits(self, backbone: Backbone, begins: str) -> bool:
        """Whether a method that begins with such weights is meant for a model at all."""
        ...

    def why_not(self, backbone: Backbone, begins: str) -> str:
        """Why a model cannot write here, or not by a method that begins so; empty where it can."""
        ...

    def price(self, what: Priced, method: str, settings: Mapping[str, Any]) -> Estimate:
        """Predict one candidate, with the export and what is written of the validation rows."""
        ...

    def context(self, backbone: Backbone) -> int:
        """Tokens of what is read."""
        ...

    def product(self, key: str, folder: Path) -> Product:
        """What a fitted model ships as.

        Args:
            key: Content hash of what decides its answers.
            folder: Of the fit.
        """
        ...


def allowed(desk: Desk, names: Sequence[str], kind: Kind, what: str) -> list[Backbone]:
    """The models of these names whose licence the need allows.

    Args:
        desk: Gives the need.
        names: As the user writes them.
        kind: What they are for.
        what: What they are called.

    Raises:
        ModelError: If one is missing, or none has a licence that is allowed.
    """
    licences = desk.need.prefer.licences
    found = [find_backbone(name, root=desk.root, emit=desk.emit, kind=kind) for name in names]
    kept = [b for b in found if licences is None or b.licence in licences]
    if found and not kept:
        shown = ", ".join(f"{b.name} ({b.licence})" for b in found)
        raise ModelError(
            f"{desk.file}: no {what} has a licence that prefer.licences allows: {shown}.",
            fix="allow its licence, or name another model under prefer.backbones.",
        )
    return kept
