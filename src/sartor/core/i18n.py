"""Messages in the reader's language, from gettext catalogues (.po) that lie in the package.

The catalogues are read as text when a language is first asked for: no build step and no binary
file, while the usual tools (Poedit, Babel) still edit them.
"""

import json
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib.resources import files

Translate = Callable[[str], str]

_ENTRY = re.compile(
    r'^msgid (?P<source>"(?:.*)"(?:\n".*")*)\nmsgstr (?P<target>"(?:.*)"(?:\n".*")*)', re.MULTILINE
)


@lru_cache
def catalogue(package: str, language: str) -> Translate:
    """How a message reads in a language; a message that is not in the catalogue stays as it is.

    Args:
        package: Holds `locale/LANGUAGE.po`, e.g. "sartor.serve".
        language: One of `languages(package)`, or "en", the language of the sources.
    """
    messages = _read(package, language) if language in languages(package) else {}
    return lambda text: messages.get(text) or text


@lru_cache
def languages(package: str) -> tuple[str, ...]:
    """Languages that a package has a catalogue for, and English, which needs none."""
    folder = files(package) / "locale"
    found = (entry.name for entry in folder.iterdir()) if folder.is_dir() else ()
    return ("en", *sorted(n.removesuffix(".po") for n in found if n.endswith(".po")))


def negotiate(accepted: str, known: Sequence[str]) -> str:
    """The known language that an Accept-Language header likes best, or English.

    Args:
        accepted: E.g. "zh-CN,zh;q=0.9,en;q=0.8".
        known: Two-letter languages to choose from.
    """
    wishes = [_wish(part) for part in accepted.split(",") if part.strip()]
    for _, tag in sorted((w for w in wishes if w[0] > 0), key=lambda w: -w[0]):
        if tag.partition("-")[0] in known:
            return tag.partition("-")[0]
    return "en"


def _wish(part: str) -> tuple[float, str]:
    tag, _, rest = part.strip().partition(";")
    quality = re.fullmatch(r"\s*q=([01](?:\.\d{0,3})?)\s*", rest)
    return (float(quality[1]) if quality else 1.0), tag.strip().lower()


def _read(package: str, language: str) -> dict[str, str]:
    if language == "en":
        return {}
    text = (files(package) / "locale" / f"{language}.po").read_text("utf-8")
    return {_joined(m["source"]): _joined(m["target"]) for m in _ENTRY.finditer(text)}


def _joined(quoted: str) -> str:
    """Adjacent quoted lines as one text; PO escapes are a subset of JSON's."""
    return "".join(json.loads(line) for line in quoted.splitlines())
