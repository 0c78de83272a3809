"""The exact versions of what a bundle's server needs, as they are installed here.

What was judged ran with these: a folder that is shipped installs the same ones, with `--no-deps`,
so that no index decides anything. Markers are read as for Linux, where all targets run.
"""

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from sartor.core.errors import MissingExtra

OWN = "sartor"
_LINUX = {"os_name": "posix", "sys_platform": "linux", "platform_system": "Linux"}
_Wanted = tuple[str, str]
"""Name of a distribution, and the extra of it or ""."""


def pins(extra: str, *more: str) -> list[str]:
    """`name==version` of everything that `sartor[extra]` and `more` need, sorted.

    Args:
        extra: Of sartor; "" for none.
        more: Further requirements, e.g. "psycopg[binary]".

    Raises:
        MissingExtra: If one of them is not installed here.
    """
    waiting = [(OWN, ""), *([(OWN, extra)] if extra else [])]
    for requirement in more:
        waiting += _wanted(Requirement(requirement))
    seen: set[_Wanted] = set()
    while waiting:
        wanted = waiting.pop()
        if wanted not in seen:
            seen.add(wanted)
            waiting += _needed_by(*wanted)
    names = {name for name, _ in seen} - {OWN}
    return sorted(f"{name}=={distribution(name).version}" for name in names)


def bounds(*names: str) -> list[str]:
    """The requirements on some of its dependencies, as sartor's own metadata states them.

    For places that bring versions of their own, which must not be replaced.
    """
    stated = [line for line in distribution(OWN).requires or [] if "extra ==" not in line]
    return sorted(line for line in stated if canonicalize_name(Requirement(line).name) in names)


def _needed_by(name: str, extra: str) -> Iterator[_Wanted]:
    try:
        lines = distribution(name).requires or []
    except PackageNotFoundError:
        raise MissingExtra(
            f"{name} belongs into what is shipped, and is not installed here.",
            fix=f"pip install {name}; what ships has the versions that are installed here.",
        ) from None
    for requirement in map(Requirement, lines):
        if requirement.marker is None or requirement.marker.evaluate({**_LINUX, "extra": extra}):
            yield from _wanted(requirement)


def _wanted(requirement: Requirement) -> list[_Wanted]:
    name = canonicalize_name(requirement.name)
    return [(name, ""), *((name, extra) for extra in sorted(requirement.extras))]
