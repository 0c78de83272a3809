"""The activation cache's files: a text is encoded once, and every later use reads it here.

Values are keyed by space (backbone, layers, pooling, whatever else changes numbers) × text: one
vector a layer, or the states of every token at one layer. They lie in immutable segments of a few
hundred texts:

    FOLDER/lock                             flock: shared to read the list, exclusive to change it
    FOLDER/pins/ID                          segments in use; its live owner holds a flock on it
    FOLDER/staging/ID/                      being written; never read
    FOLDER/damaged/ID/                      set aside; the first to be evicted
    FOLDER/spaces/SPACE/ID/manifest.json    sizes and SHA-256; its mtime is the last use
    FOLDER/spaces/SPACE/ID/keys.bin         16 bytes a text
    FOLDER/spaces/SPACE/ID/values.f16       (layers + 1, texts, width), or (1, tokens, width)
    FOLDER/spaces/SPACE/ID/lengths.i32      tokens of each text, where they are kept

A segment appears by one rename, whole or not at all. Its SHA-256 is checked when a process first
uses it; a damaged one is set aside and its texts count as absent, so they are encoded again.
"""

import os
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, flock
from io import BufferedWriter
from pathlib import Path
from shutil import rmtree
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from sartor.core._found import Found, Place
from sartor.core._segments import (
    KEY_BYTES,
    MANIFEST,
    Content,
    Damaged,
    Segment,
    Space,
    read_segment,
    sync_folder,
    write_segment,
)
from sartor.core.errors import SettingError, WorkspaceError
from sartor.core.events import Emit, Note, silent

DEFAULT_BYTES = 8 << 30
_FLOAT16_MAX = 65504.0
_EXPONENT = 0x7C00
"""Bits of a float16 that are all set where it is no finite number."""
_MANIFEST_BYTES = 1024
_STALE_STAGING_SECONDS = 3600.0

__all__ = ["DEFAULT_BYTES", "KEY_BYTES", "Activations", "Found", "Space", "to_halves"]


class Activations:
    """Activations on disk, bounded in size and shared between processes.

    Args:
        folder: Made when first used.
        max_bytes: Bound on the values kept; the least recently used segments go first.
        emit: Told when a segment is damaged.
    """

    def __init__(
        self, folder: Path, *, max_bytes: int = DEFAULT_BYTES, emit: Emit = silent
    ) -> None:
        if max_bytes <= 0:
            raise SettingError(
                f"max_bytes must be positive. Got {max_bytes!r} instead.",
                fix="give the cache at least some megabytes.",
            )
        self.folder, self.max_bytes, self._emit = folder, max_bytes, emit
        self._segments: dict[str, dict[str, Segment]] = {}
        self._index: dict[str, dict[bytes, Place]] = {}
        self._verified: set[str] = set()
        self._threads = threading.Lock()

    def get(self, space: Space, keys: Sequence[bytes]) -> Found:
        """Look the keys up, and pin what is there. Close the result, or use it in a `with`.

        Args:
            space: Where to look.
            keys: 16 bytes each, from `core.hashing.text_digest`.
        """
        while True:
            with self._threads, self._locked(LOCK_SH):
                damaged = self._refresh(space)
                index = self._index[space.key]
                places = [index.get(key) for key in keys]
                used = {place[0] for place in places if place is not None}
                pin = self._pin(space, used) if used else None
            found = Found(space, self._space_folder(space), places, pin)
            damaged |= {name for name in used - self._verified if not self._sound(space, name)}
            if not damaged:
                self._touch(space, used)
                return found
            found.close()
            self._set_aside(space, damaged)

    def listed(self, space: Space, keys: Sequence[bytes]) -> NDArray[np.bool_]:
        """(keys,), whether each is there by the lists alone: to plan with, values are not read."""
        with self._threads, self._locked(LOCK_SH):
            self._refresh(space)
            index = self._index[space.key]
            return np.fromiter((key in index for key in keys), np.bool_, len(keys))

    def put(
        self,
        space: Space,
        keys: Sequence[bytes],
        values: NDArray[np.floating],
        lengths: Sequence[int] | None = None,
    ) -> bool:
        """Add one segment, durably.

        Args:
            space: Where they belong.
            keys: 16 bytes each.
            values: (keys, layers + 1, width); of a space of token states (tokens of all keys end
                to end, 1, width). Finite; cut to float16's range.
            lengths: Tokens of each key, at least 1; only for token states.

        Returns:
            False when the bound leaves no room beside what is in use: nothing was written.

        Raises:
            SettingError: If the shapes do not fit the space, or a value is not a number.
            WorkspaceError: If the disk is full or the folder cannot be written.
        """
        _check(space, keys, values, lengths)
        if not keys:
            return True
        halves = np.ascontiguousarray(to_halves(values).transpose(1, 0, 2))
        counts = None if lengths is None else np.asarray(lengths, "<i4")
        content = Content(b"".join(keys), halves, counts)
        if content.size + _MANIFEST_BYTES > self.max_bytes:
            return False
        try:
            return self._store(space, content)
        except OSError as error:
            raise WorkspaceError(
                f"The activation cache {self.folder} cannot be written: {error.strerror}.",
                fix="free disk space there and run again; what is already encoded is kept.",
            ) from error

    def room(self) -> int:
        """Bytes that can be written without touching what is in use."""
        with self._locked(LOCK_EX):
            pinned = self._pinned()
            held = self._by_last_use()
        return self.max_bytes - sum(size for _, size, path in held if _pin_name(path) in pinned)

    def size(self) -> int:
        """Bytes of all segments, damaged ones included."""
        with self._locked(LOCK_SH):
            return sum(size for _, size, _ in self._by_last_use())

    # Writing

    def _store(self, space: Space, content: Content) -> bool:
        name, size = f"{time.time_ns():020d}-{uuid4().hex[:12]}", content.size + _MANIFEST_BYTES
        with self._locked(LOCK_EX):
            if not self._make_room(size):
                return False
        staging = self.folder / "staging" / name
        try:
            write_segment(staging, space, content)
            home = self._space_folder(space)
            with self._threads, self._locked(LOCK_EX):
                # Others may have written since: the bound holds at the rename, not before.
                if not self._make_room(size):
                    return False
                home.mkdir(parents=True, exist_ok=True)
                staging.rename(home / name)
                sync_folder(home)
        finally:
            if staging.exists():
                rmtree(staging)
        return True

    def _make_room(self, size: int) -> bool:
        """Evict until `size` more bytes fit; needs the exclusive lock."""
        for staging in _children(self.folder / "staging"):
            if time.time() - staging.stat().st_mtime > _STALE_STAGING_SECONDS:
                rmtree(staging)
        held = self._by_last_use()
        spare = self.max_bytes - size - sum(bytes_ for _, bytes_, _ in held)
        if spare >= 0:
            return True
        pinned = self._pinned()
        free = [(bytes_, path) for _, bytes_, path in held if _pin_name(path) not in pinned]
        if spare + sum(bytes_ for bytes_, _ in free) < 0:
            return False
        for bytes_, path in free:
            if spare >= 0:
                break
            rmtree(path)
            spare += bytes_
        return True

    def _by_last_use(self) -> list[tuple[float, int, Path]]:
        """(last use, bytes, path) of every segment, the next to be evicted first."""
        held = [(0.0, _weigh(path), path) for path in _children(self.folder / "damaged")]
        for space in _children(self.folder / "spaces"):
            for path in _children(space):
                manifest = path / MANIFEST
                last = manifest.stat().st_mtime if manifest.exists() else 0.0
                held.append((last, _weigh(path), path))
        return sorted(held, key=lambda entry: (entry[0], entry[2].name))

    # Reading

    def _refresh(self, space: Space) -> set[str]:
        """Bring the index up to the folder's list; needs the shared lock.

        Returns:
            Names of segments whose manifest or keys are damaged.
        """
        known = self._segments.setdefault(space.key, {})
        index = self._index.setdefault(space.key, {})
        listed = {path.name: path for path in _children(self._space_folder(space))}
        gone = known.keys() - listed.keys()
        if gone:
            for name in gone:
                del known[name]
            self._index[space.key] = {k: p for k, p in index.items() if p[0] not in gone}
            index = self._index[space.key]
        damaged: set[str] = set()
        for name in sorted(listed.keys() - known.keys()):
            try:
                segment = read_segment(listed[name], space)
            except Damaged:
                damaged.add(name)
                continue
            known[name] = segment
            for key, start, stop in segment.places():
                index.setdefault(key, (name, start, stop))
        return damaged

    def _sound(self, space: Space, name: str) -> bool:
        sound = self._segments[space.key][name].is_sound()
        if sound:
            self._verified.add(name)
        return sound

    def _touch(self, space: Space, names: set[str]) -> None:
        for name in names:
            # Pinned, so it is there; a read-only cache keeps its order of writing.
            if os.access(manifest := self._space_folder(space) / name / MANIFEST, os.W_OK):
                os.utime(manifest)

    def _set_aside(self, space: Space, names: set[str]) -> None:
        home, aside = self._space_folder(space), self.folder / "damaged"
        with self._threads, self._locked(LOCK_EX):
            aside.mkdir(exist_ok=True)
            moved = [name for name in sorted(names) if (home / name).exists()]
            for name in moved:
                (home / name).rename(aside / f"{name}-{uuid4().hex[:6]}")
        for name in moved:
            self._emit(
                Note(
                    f"Activation cache: segment {name} is damaged. It was set aside in {aside}; "
                    "its texts are encoded again.",
                    level="warning",
                )
            )

    # Sharing

    @contextmanager
    def _locked(self, how: int) -> Generator[None]:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            file = (self.folder / "lock").open("a")
        except OSError as error:
            raise WorkspaceError(
                f"The activation cache {self.folder} cannot be used: {error.strerror}.",
                fix="choose a workspace on a disk that you may write to.",
            ) from error
        with file:
            flock(file, how)
            yield

    def _pin(self, space: Space, names: set[str]) -> BufferedWriter:
        """Say that segments are in use; needs the shared lock, so no eviction is between."""
        pins = self.folder / "pins"
        pins.mkdir(exist_ok=True)
        file = (pins / uuid4().hex).open("wb")
        flock(file, LOCK_EX)
        file.write("\n".join(f"{space.key}/{name}" for name in names).encode())
        file.flush()
        return file

    def _pinned(self) -> set[str]:
        """Segments in use by a live process; needs the exclusive lock."""
        pinned: set[str] = set()
        for path in _children(self.folder / "pins"):
            try:
                file = path.open("rb")
            except FileNotFoundError:
                continue  # closed since it was listed
            with file:
                try:
                    flock(file, LOCK_EX | LOCK_NB)
                except BlockingIOError:
                    pinned |= set(file.read().decode().split("\n"))
                else:
                    path.unlink(missing_ok=True)  # its owner died
        return pinned

    def _space_folder(self, space: Space) -> Path:
        return self.folder / "spaces" / space.key


def to_halves(values: NDArray[np.floating]) -> NDArray[np.float16]:
    """Round to what the cache stores; beyond float16's range, to its end."""
    if values.dtype == np.float16:
        halves = values.astype("<f2", copy=False)
    else:
        with np.errstate(over="ignore"):
            halves = values.astype("<f2")
    # Cutting first would go through all values four times as long, and hardly any needs it.
    if not (halves.view("<u2") & _EXPONENT != _EXPONENT).all():
        return np.clip(values, -_FLOAT16_MAX, _FLOAT16_MAX).astype("<f2")
    return halves


def _check(
    space: Space,
    keys: Sequence[bytes],
    values: NDArray[np.floating],
    lengths: Sequence[int] | None,
) -> None:
    ragged = space.layer is not None
    counts = list(lengths or ()) if ragged else [1] * len(keys)
    shape = (sum(counts), space.planes, space.width)
    fits = values.shape == shape and len(counts) == len(keys) and ragged == (lengths is not None)
    if not fits or min(counts, default=1) < 1 or any(len(key) != KEY_BYTES for key in keys):
        raise SettingError(
            f"Activations of shape {values.shape} were given for {len(keys)} keys; "
            f"this space holds {shape}, under keys of {KEY_BYTES} bytes.",
            fix="pass one (layers + 1, width) array for each text digest, or for token states"
            " (tokens, 1, width) with each text's length.",
        )
    if not np.isfinite(values).all():
        raise SettingError(
            "Activations hold values that are not numbers.",
            fix="encode in float32; if they stay, the backbone's weights are broken.",
        )


def _pin_name(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def _children(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def _weigh(path: Path) -> int:
    return sum(file.stat().st_size for file in path.iterdir())
