"""What a bundle says of itself. Read from disk it is untrusted, so it is a strict pydantic model.

`id` is the SHA-256 of what decides an answer (task, outputs, decision, preprocessing and the
content files). Verdicts are added after judging, so they lie outside the id; `seal` covers
everything, so a later edit by hand is noticed. It guards against accidents, not against a forger:
that is for a signature (`bundle.signing`).
"""

import hashlib
import json
import re
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)

from sartor.core.columns import TableCode, kinds_in
from sartor.core.errors import BundleError
from sartor.core.forms import first_fault
from sartor.core.hashing import digest
from sartor.core.histories import ANSWERS, ITEMS, left_out

FORMAT = 5
"""The newest that is read. What does not need it is written as 1, which every version reads."""
WITH_PARTS = 4
"""The oldest format that holds parts."""
MANIFEST = "manifest.json"
SIGNATURE = "model.sig"
"""Covers every other file, the manifest too, so it is the one that no manifest lists."""
PARTS = "parts"
"""Folder of a product's bundles, each in a folder of its own name. Format 4."""
MAX_MANIFEST_BYTES = 8_000_000
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def is_plain(name: str) -> bool:
    """Whether a file of a bundle may have that name: one that stays inside on every system."""
    return _PLAIN.fullmatch(name) is not None and name not in (MANIFEST, SIGNATURE)


def in_a_part(name: str) -> bool:
    """Whether a name is that of a file of a product's part: parts/NAME/FILE, and no other place."""
    first, *rest = name.split("/")
    return first == PARTS and len(rest) == 2 and all(_PLAIN.fullmatch(one) for one in rest)


def may_hold(name: str) -> bool:
    """Whether a bundle may list a file of that name."""
    return is_plain(name) or in_a_part(name)


class FileEntry(BaseModel):
    """One file of the bundle: its hash, its size, and whether answers depend on it."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    bytes: int = Field(ge=0)
    content: bool = True
    before: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")
    """SHA-256 the card had before the verdicts were recorded: manifest and card are two files, and
    a kill between them leaves the old card beside the new manifest."""


def entry_of(data: bytes) -> FileEntry:
    """The entry of a file that holds `data`."""
    return FileEntry(sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))


class Windows(BaseModel):
    """How a text is read that is longer than the model takes: piece by piece."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    stride: int = Field(ge=1, le=1_000_000)
    """Tokens from the start of one window to the next, at most; the rest of it overlaps."""
    most: int = Field(ge=2, le=64)
    """Windows of one text, at most; of a longer one they are spread evenly, with gaps."""
    aggregate: Literal["mean", "centre"] = "mean"
    """What the windows' logits become: their mean, or for each piece of a text (`core.pieces`)
    those of the window in which most stands around it."""


class Preprocess(BaseModel):
    """How a text becomes token ids."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    prefix: str = ""
    max_length: int = Field(default=256, ge=1, le=1_000_000)
    windows: Windows | None = None
    """None: a longer text is cut. Format 2."""
    columns: TableCode | None = None
    """How columns become numbers; None where none are read. Format 3; 4 where one holds items, 5
    where one holds answers."""

    @property
    def format(self) -> int:
        """The oldest format that can say it."""
        if self.columns is not None:
            kinds = {column.kind for column in self.columns.columns.values()}
            return 5 if ANSWERS in kinds else 4 if ITEMS in kinds else 3
        return 1 if self.windows is None else 2

    @model_serializer(mode="wrap")
    def _as_format_1(self, given: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Ids and seals of bundles that know no windows or columns were taken without the keys.
        found: dict[str, Any] = given(self)
        for name in ("windows", "columns"):
            if found[name] is None:
                del found[name]
        return found


class Manifest(BaseModel):
    """The contents of `manifest.json`."""

    # Without "constants" a value that is not a number would come back as null.
    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, ser_json_inf_nan="constants"
    )

    format: int
    id: str
    name: str = Field(max_length=200)
    task: str = Field(max_length=100)
    inputs: dict[str, str]
    """Role to modality, e.g. {"text": "text"}: the request's keys."""
    outputs: list[str] = Field(max_length=100_000)
    decision: dict[str, Any]
    preprocess: Preprocess
    files: dict[str, FileEntry] = Field(max_length=10_000)
    need: dict[str, Any]
    lineage: dict[str, Any]
    verdicts: list[dict[str, Any]] = Field(default_factory=list[dict[str, Any]])
    released: bool = False
    seal: str = ""

    @field_validator("files")
    @classmethod
    def _names_stay_inside(cls, files: dict[str, FileEntry]) -> dict[str, FileEntry]:
        for name in files:
            if not may_hold(name):
                raise ValueError(f"file name {name!r} is not a plain name")
        return files

    @model_validator(mode="after")
    def _format_knows_what_it_says(self) -> "Manifest":
        needed = self.preprocess.format
        if self.format < needed:
            what = "windows" if self.preprocess.columns is None else "columns"
            raise ValueError(f"preprocess.{what} needs format {needed}, not {self.format}")
        if self.format < WITH_PARTS and any(map(in_a_part, self.files)):
            raise ValueError(f"a product's parts need format {WITH_PARTS}, not {self.format}")
        code, asks = self.preprocess.columns, left_out(self.inputs)
        read = {name: kind for name, kind in kinds_in(self.inputs).items() if name not in asks}
        if read != {n: c.kind for n, c in (code.columns if code else {}).items()}:
            raise ValueError("the inputs are not the columns that preprocess reads")
        return self

    def content_id(self) -> str:
        content = {n: f.sha256 for n, f in self.files.items() if f.content}
        return digest(self.task, self.inputs, self.outputs, self.decision, self.preprocess, content)

    def sealed(self) -> "Manifest":
        """A copy whose `id` and `seal` fit its contents, which are as JSON will give them back.

        Raises:
            BundleError: If the contents could not be read again.
        """
        try:
            plain = Manifest.model_validate(json.loads(self.to_json()))
            with_id = plain.model_copy(update={"id": plain.content_id()})
            sealed = with_id.model_copy(update={"seal": with_id.seal_value()})
            sealed.to_json().encode()
        except (ValueError, RecursionError) as error:
            raise BundleError(
                f"The manifest of {self.name!r} cannot be written: {error}.",
                fix="use plain file names and labels without lone surrogates.",
            ) from None
        return sealed

    def seal_value(self) -> str:
        return digest(self.model_dump(mode="json", exclude={"seal"}))

    def to_json(self) -> str:
        return json.dumps(self.model_dump(mode="json"), ensure_ascii=False, indent=1) + "\n"


def parse_manifest(text: str, place: str) -> Manifest:
    """Read a manifest that nobody vouches for.

    Raises:
        BundleError: If it is not JSON, has unknown or wrong fields, is newer, or was edited.
    """
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BundleError(
            f"{place} is not JSON: {error}.", fix="build the bundle again with `sartor run`."
        ) from None
    if isinstance(raw, dict) and isinstance(raw.get("format"), int) and raw["format"] > FORMAT:  # type: ignore[reportUnknownMemberType]
        raise BundleError(
            f"{place} has format {raw['format']}; this sartor reads up to {FORMAT}.",
            fix="upgrade with `pip install -U sartor`.",
        )
    try:
        manifest = Manifest.model_validate(raw)
    except ValidationError as error:
        raise BundleError(
            f"{place}, key {first_fault(error)}.",
            fix="build the bundle again with `sartor run`; a bundle is not edited by hand.",
        ) from None
    if not _fits(manifest):
        raise BundleError(
            f"{place} does not fit its seal: it was edited after it was judged.",
            fix="restore the file, or build the bundle again with `sartor run`.",
        )
    return manifest


def _fits(manifest: Manifest) -> bool:
    try:
        return manifest.seal == manifest.seal_value() and manifest.id == manifest.content_id()
    except (ValueError, RecursionError):  # nested deeper than anything that was ever sealed
        return False
