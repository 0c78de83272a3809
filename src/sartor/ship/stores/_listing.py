"""The list of a bundle's files, for stores that have no form of their own for it."""

import json
from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sartor.core.errors import TransferError
from sartor.core.forms import first_fault
from sartor.ship.stores import Item

NAME = "index.json"
MOST_BYTES = 8_000_000


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    name: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    bytes: int = Field(ge=0)


class _Listing(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    format: Literal[1]
    files: list[_File] = Field(max_length=20_000)


def blob(item: Item) -> str:
    """Where a file's content lies, relative to the bundle's address."""
    return f"blobs/{item.sha256}"


def write_listing(items: Sequence[Item]) -> bytes:
    files = [{"name": i.name, "sha256": i.sha256, "bytes": i.bytes} for i in items]
    return (json.dumps({"format": 1, "files": files}, indent=1) + "\n").encode()


def read_listing(data: bytes, place: str) -> list[Item]:
    """
    Raises:
        TransferError: If it is too long or not of its form.
    """
    if len(data) > MOST_BYTES:
        raise TransferError(
            f"{place} is longer than {MOST_BYTES / 1e6:.0f} MB.", fix="push the bundle again."
        )
    try:
        found = _Listing.model_validate_json(data)
    except ValidationError as error:
        raise TransferError(
            f"{place} is no list of a bundle's files: {first_fault(error)}.",
            fix="check the address, or push the bundle again.",
        ) from None
    return [Item(each.name, each.sha256, each.bytes) for each in found.files]
