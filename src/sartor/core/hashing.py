"""Content addresses: the same inputs, settings and code give the same key."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from sartor.core.texts import Text, written

_CHUNK = 1 << 20


def canonical(value: object) -> str:
    """JSON with sorted keys and no spaces; dataclasses, mappings, sets and paths included.

    Raises:
        TypeError: If a part has no canonical form.
    """
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_plain
    )


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        # Field by field, not `asdict`: parts that are dataclasses keep their types apart too.
        plain = {field.name: getattr(value, field.name) for field in fields(value)}
        return {"__type__": type(value).__qualname__, **plain}
    if isinstance(value, Mapping):
        return dict(value)  # type: ignore[reportUnknownArgumentType]
    if isinstance(value, set | frozenset):
        # By canonical form: `str` says the same of 1 and "1", and of a set in any order.
        return sorted(value, key=canonical)  # type: ignore[reportUnknownArgumentType]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    raise TypeError(f"{type(value).__qualname__} has no canonical form")


def digest(*parts: object) -> str:
    """SHA-256 of the parts' canonical form, 64 hex digits."""
    return hashlib.sha256(canonical(parts).encode("utf-8", "surrogatepass")).hexdigest()


def text_digest(text: Text) -> bytes:
    """16 bytes of the text's SHA-256: the key of a text in the activation cache.

    Several texts that are read as one sequence have a key that no single text has.
    """
    said = text if isinstance(text, str) else f"\x00{written(text)}"
    return hashlib.sha256(said.encode("utf-8", "surrogatepass")).digest()[:16]


def mark(*parts: object) -> int:
    """The first 8 bytes of `digest` as a signed integer: a row's name where many are kept.

    Among a million rows two share one with a chance of 3 in 100 million.
    """
    return int.from_bytes(bytes.fromhex(digest(*parts)[:16]), "big", signed=True)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, read in pieces, 64 hex digits."""
    sha = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_CHUNK):
            sha.update(piece)
    return sha.hexdigest()


@lru_cache
def sources_sha256(*packages: str) -> str:
    """SHA-256 over the Python sources of packages or modules: a stage's code is part of its key.

    Raises:
        ModuleNotFoundError: If there is no such package; a key must not silently leave it out.
    """
    sha = hashlib.sha256()
    for package in sorted(packages):
        for name, path in _sources(package):
            source = path.read_bytes()
            sha.update(f"{package} {name} {len(source)}\n".encode())
            sha.update(source)
    return sha.hexdigest()


def _sources(package: str) -> Iterable[tuple[str, Path]]:
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)
    origin = Path(spec.origin)
    if origin.name != "__init__.py":
        return [(origin.name, origin)]
    inside = origin.parent.rglob("*.py")
    return sorted((path.relative_to(origin.parent).as_posix(), path) for path in inside)


def versions(*distributions: str) -> dict[str, str]:
    """Installed versions of the numeric libraries a result depends on; absent ones are left out."""
    found: dict[str, str] = {}
    for name in distributions:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
