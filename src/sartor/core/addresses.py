"""URLs that texts may be sent to: checked before use, compared by their origin."""

from urllib.parse import SplitResult, urlsplit

_PORTS = {"http": 80, "https": 443}


def checked_url(url: str) -> str:
    """The URL without a slash at its end.

    Raises:
        ValueError: If it is not plain http or https, or holds what could be a secret.
    """
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError("not a URL that starts with http:// or https:// and names a host")
    if parts.username is not None or parts.password is not None:
        raise ValueError("a URL with a user or password in it, which would be kept with the bundle")
    if parts.query or parts.fragment:
        raise ValueError("a URL with a query or fragment")
    if not url.isascii() or any(c.isspace() or not c.isprintable() or c == "=" for c in url):
        raise ValueError("a URL with a space, a sign = or letters beyond ASCII")
    _port(parts)
    return url.rstrip("/")


def origin(url: str) -> str:
    """Scheme, host and port, e.g. http://localhost:11434, for a URL that was checked."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    port = _port(parts)
    return f"{parts.scheme}://{host}" + ("" if port == _PORTS[parts.scheme] else f":{port}")


def _port(parts: SplitResult) -> int:
    # `port` raises ValueError for one that is no number below 65,536.
    return parts.port or _PORTS[parts.scheme]
