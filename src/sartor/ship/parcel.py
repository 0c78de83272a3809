"""What a target is given to put into its folder: the bundle, the code that judged it, the pins."""

import json
import re
import shutil
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sartor.bundle import Bundle, open_bundle
from sartor.bundle.manifest import SIGNATURE
from sartor.core.addresses import origin
from sartor.core.errors import BundleError
from sartor.core.telemetry import SILENCE
from sartor.llm import prompt
from sartor.llm.access import VARIABLE
from sartor.ship.archive import write_archive
from sartor.ship.pins import pins
from sartor.ship.wheel import write_wheel

KEY = "SARTOR_API_KEY"
"""Environment variable that a server reads its key from."""
_LONGEST = 40
"""Of a name: a DNS label holds 63 characters, and targets append words of their own."""
_ORIGIN = re.compile(r"https?://([A-Za-z0-9.-]+|\[[0-9a-f:.]+\])(:[0-9]+)?")


@dataclass(frozen=True)
class Parcel:
    """A bundle that is ready to be put somewhere.

    Args:
        bundle: Verified. Whoever hands it over has seen to it that it may be used: that it is
            released or `unreleased` is meant, and that a server it asks is allowed.
        name: A DNS label: lower-case letters, digits and hyphens, a letter first.
        unreleased: Serve it although its need was not shown to be met.
    """

    bundle: Bundle
    name: str
    unreleased: bool = False

    @staticmethod
    def of(bundle: Bundle, *, unreleased: bool = False) -> "Parcel":
        """A parcel named after the bundle."""
        return Parcel(bundle, label(bundle.manifest.name, bundle.manifest.id), unreleased)

    def put_bundle(self, folder: Path) -> None:
        """Copy the bundle's files into `folder`, which is made, and verify the copy.

        Raises:
            BundleError: If the bundle changed since it was opened.
        """
        folder.mkdir(parents=True)
        for name in self.bundle.names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.bundle.folder / name, folder / name)
        if open_bundle(folder).manifest != self.bundle.manifest:
            raise BundleError(
                f"{self.bundle.folder} changed while it was copied.", fix="run the command again."
            )

    def put_bundle_archive(self, path: Path) -> None:
        """Write the bundle's files into a zip, for places that pass over files by their names.

        Raises:
            BundleError: If the bundle changed since it was opened.
        """
        if open_bundle(self.bundle.folder).manifest != self.bundle.manifest:
            raise BundleError(f"{self.bundle.folder} changed.", fix="run the command again.")
        names = self.bundle.names
        write_archive(path, {name: self.bundle.folder / name for name in names})

    def put_wheel(self, folder: Path) -> str:
        """Write the wheel of the running sartor into `folder`; the file's name is returned."""
        return write_wheel(folder)

    def pins(self, extra: str, *more: str) -> list[str]:
        """The `name==version` of all that `sartor[extra]` and `more` need, sartor left out; of a
        signed bundle, with `signing`.

        Args:
            extra: An extra of sartor, e.g. "server"; "" for none.
            more: Further requirements that are installed here, e.g. "psycopg[binary]".
        """
        return sorted({*pins(extra, *more), *self.signing})

    @cached_property
    def signing(self) -> list[str]:
        """The `name==version` of what checks the bundle's signature; empty where it has none.

        Raises:
            MissingExtra: If it is not installed here.
        """
        if SIGNATURE not in self.bundle.names:
            return []
        plain = pins("")
        return [pin for pin in pins("sign") if pin not in plain]

    @property
    def python(self) -> str:
        """The version of Python that the pins are for, e.g. "3.11"."""
        return f"{sys.version_info.major}.{sys.version_info.minor}"

    @property
    def flags(self) -> tuple[str, ...]:
        """What `sartor serve` must be told besides the bundle's folder."""
        return ("--unreleased",) if self.unreleased and not self.bundle.manifest.released else ()

    @cached_property
    def asks(self) -> prompt.Prompt | None:
        """The language model that the bundle asks; None for one that holds a graph.

        Raises:
            BundleError: If its server has a name that cannot be written into a file safely.
        """
        if prompt.FILE not in self.bundle.manifest.files:
            return None
        found = prompt.read_prompt(self.bundle.path(prompt.FILE))
        if not _ORIGIN.fullmatch(origin(found.url)):
            raise BundleError(
                f"{self.bundle.folder} asks {origin(found.url)!r:.100}, which is no plain host"
                " name.",
                fix="build the bundle again with a prefer.llm.url of letters, digits, . and -.",
            )
        return found

    @property
    def variables(self) -> dict[str, str]:
        """Environment variables with values that are no secret, for the serving process.

        The server that the bundle asks comes first, where it asks one.
        """
        quiet = {SILENCE: "1"}
        if self.asks is None:
            return quiet
        place = origin(self.asks.url)
        return {VARIABLE: f"{place}={self.asks.key}" if self.asks.key else place, **quiet}

    @property
    def secrets(self) -> tuple[str, ...]:
        """Names of the variables that hold secrets; a folder never holds their values.

        The first is the key that a server on more than loopback wants of its callers.
        """
        return (KEY, *([self.asks.key] if self.asks and self.asks.key else []))

    @property
    def question(self) -> str:
        """The body of a request to /v1/predict, as JSON."""
        manifest = self.bundle.manifest
        row: dict[str, Any] = {k: "a text" for k, kind in manifest.inputs.items() if kind == "text"}
        code = manifest.preprocess.columns
        return json.dumps({"inputs": [row if code is None else row | code.example()]})

    @property
    def tag(self) -> str:
        """The start of the bundle's id: another model, another tag."""
        return self.bundle.manifest.id[:12]

    @property
    def size_mib(self) -> float:
        """The bundle's files, in MiB of 1,048,576 bytes."""
        return self.bundle.size_mb * 1e6 / 2**20


def label(name: str, id: str) -> str:
    """A DNS label (RFC 1035) for a bundle's name, at most 40 characters.

    Args:
        name: Any text; letters beyond ASCII are left out.
        id: Of the bundle: its start stands in where too little of the name is left.
    """
    words = re.findall(r"[a-z0-9]+", name.lower())
    found = "-".join(words)[:_LONGEST].rstrip("-")
    if not found:
        return f"bundle-{id[:8]}"
    return found if found[0].isalpha() else f"bundle-{found}"[:_LONGEST].rstrip("-")
