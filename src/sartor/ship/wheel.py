"""A wheel of the running sartor, so that what ships runs the code that judged.

The format is that of https://packaging.python.org/en/latest/specifications/binary-distribution-format/:
the package's files, its metadata, and a RECORD with the SHA-256 of each. Order and times are fixed,
so the same code gives the same bytes. Nothing is built and nothing is fetched: sartor is pure
Python.
"""

import base64
import hashlib
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path

from sartor.core.errors import SettingError
from sartor.ship.archive import write_archive

_OWN = "sartor"
_WHEEL = "Wheel-Version: 1.0\nGenerator: sartor\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
_COMPILED = (".so", ".pyd", ".dylib")


def write_wheel(folder: Path) -> str:
    """Write `sartor-VERSION-py3-none-any.whl` into `folder`.

    Returns:
        The file's name.

    Raises:
        SettingError: If sartor is not installed, so that its metadata is not known, or is not
            plain files.
    """
    held, stem = _held()
    name = f"{stem}-py3-none-any.whl"
    write_archive(folder / name, held)
    return name


def _held() -> tuple[dict[str, bytes], str]:
    """Place in the wheel to content, RECORD last, and what the wheel's name begins with."""
    try:
        found = distribution(_OWN)
    except PackageNotFoundError:
        raise SettingError(
            "sartor runs without being installed, so what it needs is not known.",
            fix="pip install -e . in its folder; then run the command again.",
        ) from None
    files, stem = {**_package(), **_metadata(found)}, f"{_OWN}-{found.version}"
    held = {place: files[place] for place in sorted(files)}
    record = f"{stem}.dist-info/RECORD"
    return {**held, record: _record(held, record)}, stem


def _package() -> dict[str, bytes]:
    """Place in the wheel to content, of every file of the package."""
    spec = find_spec(_OWN)
    assert spec is not None, "it is running"
    (root,) = map(Path, spec.submodule_search_locations or ())
    if not root.is_dir():
        raise SettingError(
            f"sartor runs from {root.parent.name!r}, which is no folder.",
            fix="install it with pip, unpacked; then run the command again.",
        )
    files = [p for p in sorted(root.rglob("*")) if p.is_file() and _belongs(p.relative_to(root))]
    if compiled := [p.name for p in files if p.suffix in _COMPILED]:
        raise SettingError(
            f"sartor holds {compiled[0]!r}: a wheel for every machine cannot be made of that.",
            fix="remove it, or install sartor as it is published.",
        )
    return {f"{_OWN}/{p.relative_to(root).as_posix()}": p.read_bytes() for p in files}


def _belongs(inside: Path) -> bool:
    """Whether a file is the package's: not what Python or an editor left beside its files."""
    return not any(part == "__pycache__" or part.startswith(".") for part in inside.parts)


def _metadata(found: Distribution) -> dict[str, bytes]:
    """What an index would be told; not where this copy came from, which is this machine's."""
    inside = f"{_OWN}-{found.version}.dist-info"
    held = {f"{inside}/WHEEL": _WHEEL.encode()}
    for name in ("METADATA", "entry_points.txt"):
        if (text := found.read_text(name)) is not None:
            held[f"{inside}/{name}"] = text.encode()
    for file in found.files or ():
        if file.parts[:2] == (inside, "licenses"):
            held[file.as_posix()] = file.read_binary()
    return held


def _record(held: dict[str, bytes], own: str) -> bytes:
    lines = [f"{place},sha256={_hash(held[place])},{len(held[place])}" for place in held]
    return "".join(f"{line}\n" for line in [*lines, f"{own},,"]).encode()


def _hash(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
