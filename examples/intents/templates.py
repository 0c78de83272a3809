"""Sentence templates in hassil's notation, and drawing sentences from them.

text        itself            [a|b]   a, b or nothing
(a|b)       one of them       (a;b)   both, in any order
<rule>      another template  {list:slot}   one value of a list
"""

import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

_TOKEN = re.compile(
    r"<(?P<rule>\w+)>|\{(?P<list>\w+)(?::\w+)?\}|(?P<sign>[()\[\]|;])|(?P<text>[^<{()\[\]|;]+)"
)


@dataclass(frozen=True, slots=True)
class Drawer:
    """Draws sentences.

    Args:
        rules: Name to template, for `<name>`.
        value: List name to one value drawn by the given generator, for `{name}`; a value may be a
            template itself.
        rng: Everything random comes from here.
    """

    rules: Mapping[str, str]
    value: Callable[[str, random.Random], str]
    rng: random.Random

    def draw(self, template: str) -> str:
        """One sentence, with single spaces."""
        tokens = [match for match in _TOKEN.finditer(template)]
        text, end = self._alternatives(tokens, 0)
        if end != len(tokens):
            raise ValueError(f"{template!r}: unexpected {tokens[end].group()!r}")
        return re.sub(r"\s+", " ", text).strip()

    def _alternatives(self, tokens: list[re.Match[str]], at: int) -> tuple[str, int]:
        """Reads up to a closing bracket; picks one branch, or shuffles where `;` parts them."""
        branches, signs = [""], set[str]()
        while at < len(tokens) and tokens[at].group() not in (")", "]"):
            token = tokens[at]
            if token.group() in ("|", ";"):
                signs.add(token.group())
                branches.append("")
                at += 1
                continue
            piece, at = self._piece(tokens, at)
            branches[-1] += piece
        if signs == {";"}:
            self.rng.shuffle(branches)
            return " ".join(branches), at
        return self.rng.choice(branches), at

    def _piece(self, tokens: list[re.Match[str]], at: int) -> tuple[str, int]:
        token = tokens[at]
        if token["rule"]:
            return self.draw_inside(self.rules[token["rule"]]), at + 1
        if token["list"]:
            return self.draw_inside(self.value(token["list"], self.rng)), at + 1
        if token["text"]:
            return token["text"], at + 1
        inner, end = self._alternatives(tokens, at + 1)
        skipped = token.group() == "[" and self.rng.random() < 0.5
        return "" if skipped else inner, end + 1

    def draw_inside(self, template: str) -> str:
        """One drawing of a part, its outer spaces kept."""
        return self._alternatives([match for match in _TOKEN.finditer(template)], 0)[0]
