"""The keys of the store, read again beside the requests, so that a revoked one stops working.

A database that hangs holds a request up for a moment at most: the keys that were read last hold
meanwhile, for a minute.
"""

import asyncio
import logging
import time
from collections.abc import Mapping

from sqlalchemy import exc

from sartor.core.errors import RequestError, SartorError
from sartor.core.grants import Grant
from sartor.core.store import Store

_FRESH_S, _STALE_S = 5.0, 60.0
_SOON_S, _PATIENT_S = 1.0, 5.0
"""What a request waits for the keys: while those that are known still hold, and when they do not,
as after a night without requests."""
_log = logging.getLogger(__name__)


class StoredKeys:
    """Those that are not revoked.

    Raises:
        WorkspaceError: If they cannot be read the first time.
    """

    def __init__(self, store: Store | None) -> None:
        self._store = store
        self.grants: Mapping[str, tuple[int, Grant]] = {}
        """Hash to number and what it allows."""
        self.any = False
        """Whether any key was ever made."""
        self._known_at = self._begun_at = -_FRESH_S
        self._failed = False
        self._reading: asyncio.Future[None] | None = None
        if store is not None:
            self._read(store)

    async def refresh(self) -> None:
        """Have them read again where that was not done for some seconds.

        Raises:
            RequestError: 503 when they could not be read for a minute.
        """
        if self._store is None:
            return
        now = time.monotonic()
        if self._reading is None and now - self._begun_at >= _FRESH_S:
            self._begun_at = now
            loop = asyncio.get_running_loop()
            self._reading = loop.run_in_executor(None, self._read_again, self._store)
            self._reading.add_done_callback(self._ended)
        if now - self._known_at <= 2 * _FRESH_S:
            return
        hold = now - self._known_at <= _STALE_S
        if self._reading is not None and not (hold and self._failed):
            patience_s = _SOON_S if hold else _PATIENT_S
            # Counted from where the reading began: one that hangs is waited for once.
            left_s = max(0.0, self._begun_at + patience_s - now)
            await asyncio.wait({self._reading}, timeout=left_s)
        if time.monotonic() - self._known_at > _STALE_S:
            raise RequestError(
                "API keys cannot be checked now.", fix="try again in a minute.", status=503
            )

    def _ended(self, reading: "asyncio.Future[None]") -> None:
        self._reading = None

    def _read_again(self, store: Store) -> None:
        try:
            self._read(store)
            self._failed = False
        except (SartorError, exc.SQLAlchemyError) as error:
            self._failed = True
            what = error.what if isinstance(error, SartorError) else type(error).__name__
            _log.error("API keys cannot be read: %s", what)

    def _read(self, store: Store) -> None:
        begun = time.monotonic()
        keys = store.keys()
        self.grants = {k.hash: (k.id, k.grant) for k in keys if k.revoked is None}
        self.any = bool(keys)
        self._known_at = begun
