"""Ids of requests: a client's own where it is harmless in a log, else made here."""

import re
import secrets

_SANE = re.compile(r"[A-Za-z0-9._-]{1,128}")


def is_sane(given: str) -> bool:
    """Whether a client's id may stand in a header and in a log."""
    return _SANE.fullmatch(given) is not None


def new_id() -> str:
    """128 random bits, 32 hex digits."""
    return secrets.token_hex(16)
