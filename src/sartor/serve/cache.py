"""Answers that were computed before, by content: what is asked again need not be computed again.

A key is the SHA-256 of the bundle's id and of the token ids that the model would read, so two texts
share an entry only where the model could not tell them apart. What is kept is the model's output,
before any decision rule. Kept are those asked for last, within a number of bytes.

Whoever can measure how long an answer takes can tell whether somebody asked for the same text
before. So nothing is kept unless the user asks for it.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from threading import Lock

import numpy as np

from sartor.core.errors import SettingError
from sartor.core.protocols import Floats

ENTRY_BYTES = 320
"""What an entry takes beside its logits: two bytes objects and a place in an ordered dictionary."""
_MB = 1_000_000


class Cache:
    """Logits by key; safe to share between threads."""

    def __init__(self, megabytes: float, bundle: str) -> None:
        """
        Args:
            megabytes: Most memory, in MB of 1,000,000 bytes.
            bundle: Id of the bundle that answers.

        Raises:
            SettingError: If there is room for no answer.
        """
        if not megabytes * _MB >= ENTRY_BYTES:
            raise SettingError(
                f"A cache of {megabytes} MB holds no answer.",
                fix="give it some MB, e.g. 64, or leave it out.",
            )
        self.megabytes = megabytes
        """Most memory."""
        self._most = int(megabytes * _MB)
        self._salt = hashlib.sha256(bundle.encode())
        self._kept: OrderedDict[bytes, bytes] = OrderedDict()
        self._lock = Lock()
        self.bytes = 0
        """Taken now."""
        self.hits = 0
        """Rows that were answered without the model."""
        self.misses = 0
        """Rows that the model was asked for."""

    def key(self, content: bytes) -> bytes:
        """Of what the model would read."""
        sha = self._salt.copy()
        sha.update(content)
        return sha.digest()

    def answer(self, keys: Sequence[bytes], compute: Callable[[list[int]], Floats]) -> Floats:
        """(keys, outputs): what is kept, and the rest computed and kept. Equal keys are one row.

        Args:
            keys: Of the rows.
            compute: Row numbers to their logits, (rows, outputs); asked once or not at all. What it
                raises goes on to the caller, and nothing is kept.
        """
        return np.stack(self.rows(keys, lambda rows: list(compute(rows))))

    def rows(
        self, keys: Sequence[bytes], compute: Callable[[list[int]], Sequence[Floats]]
    ) -> list[Floats]:
        """As `answer`, of rows that may differ in length: flat, one a key."""
        found = self._found(keys)
        first: dict[bytes, int] = {}
        for row, key in enumerate(keys):
            if key not in found:
                first.setdefault(key, row)
        if first:
            computed = compute(list(first.values()))
            new = {k: np.float32(v).tobytes() for k, v in zip(first, computed, strict=True)}
            self._keep(new)
            found |= new
        with self._lock:
            self.hits += len(keys) - len(first)
            self.misses += len(first)
        return [np.frombuffer(found[key], np.float32) for key in keys]

    def _found(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = {}
        with self._lock:
            for key in keys:
                if (kept := self._kept.get(key)) is not None:
                    self._kept.move_to_end(key)
                    found[key] = kept
        return found

    def _keep(self, new: dict[bytes, bytes]) -> None:
        with self._lock:
            for key, value in new.items():
                # Another thread may have kept it meanwhile: the first stays, so that answers do.
                if key not in self._kept:
                    self._kept[key] = value
                    self.bytes += len(value) + ENTRY_BYTES
            while self.bytes > self._most:
                _, value = self._kept.popitem(last=False)
                self.bytes -= len(value) + ENTRY_BYTES
