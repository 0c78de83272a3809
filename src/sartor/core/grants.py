"""What an API key allows: a role, a tenant, and how much it may ask.

A tenant is a wall: answers are recorded with the tenant of the key that asked, and feedback reaches
only answers of its own tenant. A key without a tenant belongs to the tenant that has no name.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from sartor.core.errors import SettingError
from sartor.core.near import near_miss

ROLES: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "predict": frozenset({"predict"}),
        "feedback": frozenset({"predict", "feedback"}),
        "metrics": frozenset({"metrics"}),
        "admin": frozenset({"predict", "feedback", "metrics", "admin"}),
    }
)
"""Role to the rights that it has."""
UNLIMITED = "none"
_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_RATE = re.compile(r"([0-9]{1,9})/([smh])")
_UNITS: Mapping[str, int] = MappingProxyType({"s": 1, "m": 60, "h": 3_600})


@dataclass(frozen=True, slots=True)
class Rate:
    """So many rows in so many seconds; as many may come at once."""

    rows: int
    seconds: int

    @staticmethod
    def parse(text: str) -> "Rate | None":
        """`50/s`, `1000/m`, `20000/h`; None for `none`, which is no limit.

        Raises:
            SettingError: If it is neither.
        """
        if text == UNLIMITED:
            return None
        found = _RATE.fullmatch(text)
        if found is None or not int(found[1]):
            raise SettingError(
                f"{text!r} is not a rate.", fix="write rows a second, minute or hour: 50/s, 1000/m."
            )
        return Rate(int(found[1]), _UNITS[found[2]])


@dataclass(frozen=True, slots=True)
class Grant:
    """What one key allows."""

    role: str = "feedback"
    """One of `ROLES`."""
    tenant: str | None = None
    """Whose answers and feedback it makes and sees; None is a tenant of its own."""
    rate: str | None = None
    """As `Rate.parse` reads it; the server's own where None."""

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise SettingError(
                f"No role is called {self.role!r}.", fix=near_miss(self.role, list(ROLES))
            )
        if self.tenant is not None and not _TENANT.fullmatch(self.tenant):
            raise SettingError(
                f"{self.tenant!r} cannot be the name of a tenant.",
                fix="take at most 64 of A-Z, a-z, 0-9, point, dash and underscore.",
            )
        if self.rate is not None:
            Rate.parse(self.rate)

    def allows(self, right: str) -> bool:
        """Whether its role has this right."""
        return right in ROLES[self.role]
