"""Messages in the reader's language, from gettext catalogues (.po) that lie in the package.

The catalogues are read as text when a language is first asked for: no build step and no binary
file, while the usual tools (Poedit, Babel) still edit them.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

Translate = Callable[[str], str]

_ENTRY = re.compile(
    r'^msgid (?P<source>"(?:.*)"(?:\n".*")*)\nmsgstr (?P<target>"(?:.*)"(?:\n".*")*)', re.MULTILINE
)

_GAP = re.compile(r"\{(\w+)\}")
_SENTENCE = "what"
"""A gap of this name holds a message of the catalogue itself."""
_DEEPEST = 4


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
def sentences(package: str, language: str) -> Translate:
    """How a sentence reads in a language whose gaps were filled by others: a task, a library.

    A message of the catalogue is known by what stands between its gaps; of several that fit, the
    one that says most itself. What stood in a gap is carried over as it is, in {what} it is a
    sentence again. What no message fits stays as it is, whole.

    Args:
        package: As of `catalogue`.
        language: As of `catalogue`.
    """
    known = _read(package, language) if language in languages(package) else {}
    said = [_Said.of(*entry) for entry in known.items() if all(entry)]
    said.sort(key=lambda each: -sum(map(len, each.between)))

    def say(text: str, depth: int = _DEEPEST) -> str | None:
        for each in said if depth else ():
            if (found := each.filled(text)) is None:
                continue
            if _SENTENCE in found:
                if (inner := say(found[_SENTENCE], depth - 1)) is None:
                    continue
                found[_SENTENCE] = inner
            return _GAP.sub(lambda gap: found.get(gap[1], gap[0]), each.target)
        return None

    return lambda text: say(text) or text


@dataclass(frozen=True, slots=True)
class _Said:
    """A message by what stands between its gaps, first and last included; see `sentences`."""

    between: tuple[str, ...]
    gaps: tuple[str, ...]
    target: str

    @staticmethod
    def of(source: str, target: str) -> "_Said":
        parts = _GAP.split(source)
        return _Said(tuple(parts[::2]), tuple(parts[1::2]), target)

    def filled(self, text: str) -> dict[str, str] | None:
        """Gap to what stands in it; None where the text is another. Linear in the text."""
        if not self.gaps:
            return {} if text == self.between[0] else None
        first, *middle, last = self.between
        end = len(text) - len(last)
        if not text.startswith(first) or not text.endswith(last) or end < len(first):
            return None
        at, found = len(first), list[str]()
        for part in middle:
            place = text.find(part, at, end)
            if place < 0:
                return None
            found.append(text[at:place])
            at = place + len(part)
        return dict(zip(self.gaps, [*found, text[at:end]], strict=True))


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
