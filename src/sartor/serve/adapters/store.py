"""Adapters in memory: those asked for last, within a number of bytes, each as its folder is now.

Each request looks at the adapter's `adapter.json` once, without opening it: a changed one is loaded
again, one that is gone is let go. What a request was given stays as it is until it is answered,
whatever happens to the folder meanwhile.
"""

import os
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import numpy as np

from sartor.bundle.adapter import Adapter, adapter_folder, adapter_version, no_adapter, read_adapter
from sartor.bundle.base import BIAS, WEIGHT, Base
from sartor.core.errors import SettingError
from sartor.core.protocols import Floats

_MB = 1_000_000
_Key = tuple[str | None, str]
"""Tenant and user."""


@dataclass(frozen=True, slots=True)
class Adapters:
    """Where a bundle's adapters lie, and how much of them stays in memory.

    Args:
        root: The folder that `sartor personalize` writes to.
        megabytes: Most memory for adapters, in MB of 1,000,000 bytes.
    """

    root: str | Path
    megabytes: float = 256.0


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """An adapter as the runtime applies it.

    Args:
        head: (outputs, features) and (outputs,); None where the base's head answers.
        tables: For each layer that takes a LoRA, in the base's order, A as (1, in, rank) and B as
            (1, rank, out); empty where it changes no layer.
        mark: Of this very version, among all that were ever loaded.
        bytes: Of its numbers.
    """

    head: tuple[Floats, Floats] | None
    tables: tuple[Floats, ...]
    mark: bytes
    size: int


class AdapterStore:
    """Safe to share between threads."""

    def __init__(self, adapters: Adapters, base: Base) -> None:
        """
        Args:
            adapters: Where they are.
            base: Verified; adapters of any other are refused.

        Raises:
            SettingError: If there is no memory for any.
        """
        if not adapters.megabytes > 0:
            raise SettingError(
                f"{adapters.megabytes} MB hold no adapter.", fix="give them some MB, e.g. 256."
            )
        self.base = base
        self._root, self._most = Path(adapters.root), int(adapters.megabytes * _MB)
        self._hot: OrderedDict[_Key, tuple[tuple[int, int, int], Loaded]] = OrderedDict()
        self._lock = Lock()
        self.bytes = 0
        """Taken now."""
        self.hits = 0
        """Requests whose adapter was in memory."""
        self.loads = 0
        """Those whose adapter was read from the disk."""
        self.unknown = 0
        """Those whose user had none."""

    def __len__(self) -> int:
        """Adapters in memory."""
        return len(self._hot)

    def folder(self, tenant: str | None, user: str) -> Path:
        """Where a user's adapter lies."""
        return adapter_folder(self._root, tenant, user)

    def hot(self, tenant: str | None, user: str) -> Loaded | None:
        """The user's adapter where it is in memory and the newest; None where it must be read.

        Raises:
            UnknownName: If the user has none, or not under this tenant.
        """
        return self._found(tenant, user)[1]

    def get(self, tenant: str | None, user: str) -> Loaded:
        """The user's adapter as it is now, from memory or from the disk.

        Args:
            tenant: Of whoever asks; that of the key, never one that a request names.
            user: Whose adapter.

        Raises:
            UnknownName: If the user has none, or not under this tenant.
            BundleError: If it is damaged, another's, or of another base.
        """
        # The version is taken before the files are read: what changes in between is read again.
        version, found = self._found(tenant, user)
        if found is None:
            found = prepare(read_adapter(self._root, tenant, user, self.base), self.base)
            self._keep((tenant, user), version, found)
        return found

    def _found(self, tenant: str | None, user: str) -> tuple[tuple[int, int, int], Loaded | None]:
        version = adapter_version(self._root, tenant, user)
        with self._lock:
            if version is None:
                self._drop((tenant, user))
                self.unknown += 1
                raise no_adapter(user)
            kept = self._hot.get((tenant, user))
            if kept is None or kept[0] != version:
                return version, None
            self._hot.move_to_end((tenant, user))
            self.hits += 1
            return version, kept[1]

    def _keep(self, key: _Key, version: tuple[int, int, int], found: Loaded) -> None:
        with self._lock:
            self._drop(key)
            self._hot[key] = (version, found)
            self.bytes += found.size
            self.loads += 1
            while self.bytes > self._most:
                self._drop(next(iter(self._hot)))

    def _drop(self, key: _Key) -> None:
        if (kept := self._hot.pop(key, None)) is not None:
            self.bytes -= kept[1].size


def prepare(adapter: Adapter, base: Base) -> Loaded:
    """Lay an adapter out as the graph multiplies it; lower ranks are filled up with zeros.

    Args:
        adapter: That fits the base.
        base: Its rank and its layers.
    """
    tensors = adapter.tensors
    if adapter.kind == "head":
        head = tensors[WEIGHT], tensors[BIAS]
        return Loaded(head, (), os.urandom(16), adapter.bytes)
    tables: list[Floats] = []
    for name, (width, height) in base.linears.items():
        down = np.zeros((1, width, base.rank), np.float32)
        up = np.zeros((1, base.rank, height), np.float32)
        if f"{name}.A" in tensors:
            rank = len(tensors[f"{name}.A"])
            down[0, :, :rank] = tensors[f"{name}.A"].T
            up[0, :rank] = tensors[f"{name}.B"].T
        tables += (down, up)
    return Loaded(None, tuple(tables), os.urandom(16), sum(table.nbytes for table in tables))
