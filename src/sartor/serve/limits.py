"""Rate limits: a token bucket for each key, or for each address where there are no keys.

A bucket of rate n / w holds at most n tokens and gains n / w a second. A row costs one token and
any other request costs one, since rows are what the model works on. A request is let in while a
token is left and may run into debt, which later ones wait for: so the long-run rate holds, and no
request is too large for ever.

The fields are those of draft-ietf-httpapi-ratelimit-headers: RateLimit-Policy and RateLimit.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from sartor.core.errors import RequestError
from sartor.core.grants import Rate

MOST = 10_000
"""Buckets that are kept; the one that was idle longest makes room."""
_parsed = lru_cache(maxsize=1_000)(Rate.parse)


@dataclass(slots=True)
class Bucket:
    """Tokens of one caller.

    Args:
        rate: How it refills.
        left: Tokens; below zero in debt.
        at: When `left` held, on the limiter's clock.
    """

    rate: Rate
    left: float
    at: float

    @property
    def wait_s(self) -> int:
        """Whole seconds until a token is there; 0 where one is."""
        return max(0, math.ceil(self._until(1.0)))

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """The standard fields, as the bucket is now."""
        rate, left = self.rate, max(0, math.floor(self.left))
        full = max(0, math.ceil(self._until(rate.rows)))
        policy = f'"rows";q={rate.rows};w={rate.seconds}'
        return [
            (b"ratelimit-policy", policy.encode("ascii")),
            (b"ratelimit", f'"rows";r={left};t={full}'.encode("ascii")),
        ]

    def _until(self, wanted: float) -> float:
        return (wanted - self.left) * self.rate.seconds / self.rate.rows


class Limiter:
    """The buckets of a server; used from one event loop."""

    def __init__(
        self, default: Rate | None, *, clock: Callable[[], float] = time.monotonic, most: int = MOST
    ) -> None:
        """
        Args:
            default: For callers whose key says nothing else; None limits only those that say.
            clock: Seconds that never run backwards.
            most: Buckets that are kept.
        """
        self._default, self._clock, self._most = default, clock, most
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def bucket(self, who: str, rate: str | None) -> Bucket | None:
        """The caller's bucket, filled up to now; None where they are not limited.

        Args:
            who: A key or an address.
            rate: What the key says of itself.
        """
        limit = self._default if rate is None else _parsed(rate)
        if limit is None:
            return None
        now = self._clock()
        found = self._buckets.get(who)
        if found is None or found.rate != limit:
            found = self._buckets[who] = Bucket(limit, limit.rows, now)
            if len(self._buckets) > self._most:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(who)
        gained = (now - found.at) * limit.rows / limit.seconds
        found.left, found.at = min(limit.rows, found.left + gained), now
        return found

    def __len__(self) -> int:
        return len(self._buckets)


def enter(bucket: Bucket) -> None:
    """Take the token of a request.

    Raises:
        RequestError: 429 where none is left.
    """
    if bucket.left < 1:
        raise _too_many(bucket)
    bucket.left -= 1


def charge(bucket: Bucket, rows: int) -> None:
    """Take the tokens of rows beyond the first, into debt where they are too few.

    Raises:
        RequestError: 429 where requests that came in meanwhile have made debts already.
    """
    if bucket.left < 0:
        raise _too_many(bucket)
    bucket.left -= rows


def _too_many(bucket: Bucket) -> RequestError:
    rate = bucket.rate
    return RequestError(
        f"More than {rate.rows:,} rows in {rate.seconds:,} s were asked.",
        fix=f"come back in {bucket.wait_s} s.",
        status=429,
    )
