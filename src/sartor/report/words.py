"""Numbers and sentences as a reader of the report meets them, in the reader's language."""

import math
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sartor.core.i18n import Translate, catalogue, languages
from sartor.core.phrases import Phrase
from sartor.need.criterion import Criterion
from sartor.need.grammar import CriterionSyntaxError, parse_criterion
from sartor.need.verdict import State, Verdict

_PACKAGE = "sartor.report"
_MOST_DECIMALS = 6
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
# U+2028 and U+2029 break lines unseen; the rest reorder what stands beside them.
_INVISIBLE = frozenset("\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def known_language(language: str) -> str:
    """The language itself, or English where the report has no catalogue for it."""
    return language if language in languages(_PACKAGE) else "en"


def translator(language: str) -> Translate:
    """The function that turns an English message of the report into `language`."""
    return catalogue(_PACKAGE, language)


def plain(text: str) -> str:
    """The text without what could act on a terminal or a page, or could not be written as UTF-8.

    Control characters, direction overrides and lone surrogates become U+FFFD; tabs and line ends
    stay.
    """
    return "".join(_shown(char) for char in text)


def clip(text: str, length: int) -> str:
    """At most `length` characters, with an ellipsis where some were cut."""
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def bound(text: str) -> Criterion | None:
    """The criterion with that text, or None when this version's grammar does not read it."""
    try:
        return parse_criterion(text)
    except CriterionSyntaxError:
        return None


def short(metric: str) -> str:
    """A criterion without its comparison, for an axis; a metric's plain name stays as it is."""
    criterion = bound(metric)
    if criterion is None:
        return metric
    head, bracket, _ = metric.rpartition("]")
    return f"{head}{bracket}" if bracket else criterion.metric


def measured(verdict: Verdict) -> bool:
    """Whether there is a value. One without rows that proves nothing was never measured: an exact
    value (n = 0) always stands on one side of its threshold.
    """
    numbers = (verdict.value, verdict.low, verdict.high)
    return all(map(math.isfinite, numbers)) and (verdict.n > 0 or verdict.state != "unproven")


@dataclass(frozen=True, slots=True)
class Words:
    """Phrases of one language. Every number that is absent reads "not measured"."""

    translate: Translate

    @staticmethod
    def of(language: str) -> "Words":
        return Words(translator(language))

    @property
    def level(self) -> str:
        # Apart from the sentences it stands in: "% i" in a message is a printf format to gettext's
        # tools.
        return "95 %"

    def interval_name(self) -> str:
        return self.translate("{level} interval").format(level=self.level)

    def state(self, state: State | str) -> str:
        _ = self.translate
        return {"met": _("met"), "unmet": _("not met"), "unproven": _("unproven")}[state]

    def number(self, value: float | None, decimals: int | None = None) -> str:
        """`decimals` follow from the size of the value when not given."""
        if value is None or not math.isfinite(value):
            return self.translate("not measured")
        return f"{value:,.{_decimals(value) if decimals is None else decimals}f}"

    def percent(self, share: float | None) -> str:
        """A share in [0, 1]; what is not quite all never reads 100 %."""
        if share is None or not math.isfinite(share):
            return self.translate("not measured")
        if 0.995 <= share < 1:
            return "> 99 %"
        return "< 1 %" if 0 < share < 0.005 else f"{share:.0%}".replace("%", " %")

    def seconds(self, value: float | None) -> str:
        _ = self.translate
        if value is None or not math.isfinite(value):
            return _("not measured")
        if value < 90:
            return _("{n} s").format(n=f"{value:.1f}" if value < 10 else f"{value:.0f}")
        minutes, rest = divmod(round(value), 60)
        if minutes < 90:
            both = _("{m} min {s} s").format(m=minutes, s=rest)
            return both if rest and minutes < 10 else _("{m} min").format(m=minutes)
        return _("{h} h {m} min").format(h=minutes // 60, m=minutes % 60)

    def durations(self, ends: tuple[float, float] | None) -> str:
        """A range of seconds, both ends in minutes where the upper one is."""
        if ends is None or ends[1] < 90 or ends[0] < 30 or ends[1] >= 5400:
            return self.range(ends, self.seconds)
        _ = self.translate
        return self.range(ends, lambda value: _("{m} min").format(m=max(1, round(value / 60))))

    def moment(self, iso: str) -> str:
        """An ISO 8601 time to the second; what is not one is shown as it is."""
        try:
            return f"{datetime.fromisoformat(iso):%Y-%m-%d %H:%M:%S %Z}".strip()
        except ValueError:
            return iso

    def megabytes(self, value: float | None) -> str:
        if value is None or not math.isfinite(value):
            return self.translate("not measured")
        if value >= 1000:
            return f"{value / 1000:,.1f} GB"
        return f"{value:,.1f} MB" if value < 100 else f"{value:,.0f} MB"

    def range(self, ends: tuple[float, float] | None, form: Callable[[float], str]) -> str:
        """Both ends in one form; the unit is said once where both have the same."""
        if ends is None:
            return self.translate("not measured")
        low, high = form(ends[0]), form(ends[1])
        if low == high:
            return low
        head, _, unit = low.rpartition(" ")
        same_unit = head and " " not in head and high.endswith(f" {unit}") and high.count(" ") == 1
        return f"{head} – {high}" if same_unit else f"{low} – {high}"

    def value(self, verdict: Verdict) -> str:
        if not measured(verdict):
            return self.translate("not measured")
        return self.number(verdict.value, _shared_decimals(verdict))

    def interval(self, verdict: Verdict) -> str:
        """Empty for a value that was not measured; "exact" for one that has no interval."""
        if not measured(verdict):
            return ""
        if verdict.n == 0 and verdict.low == verdict.high:
            return self.translate("exact")
        decimals = _shared_decimals(verdict)
        return f"{verdict.low:,.{decimals}f} – {verdict.high:,.{decimals}f}"

    def decides(self, verdict: Verdict) -> str:
        """How many more labelled examples would decide an unproven criterion; empty for others."""
        if verdict.state != "unproven" or verdict.more is None:
            return ""
        _ = self.translate
        low, high = verdict.more
        amount = f"{low:,}" if low == high else f"{low:,} – {high:,}"
        if verdict.more_of:
            return _("{n} more labelled rows with {where} would decide").format(
                n=amount, where=plain(verdict.more_of)
            )
        return _("{n} more labelled rows would decide").format(n=amount)

    def said(self, phrase: Phrase | None, english: str = "") -> str:
        """A phrase of another stage; what it is in English where there is no phrase."""
        return english if phrase is None else plain(phrase.say(self.translate))

    def remark(self, text: str) -> str:
        """Phrases of other stages, joined by "; ", as far as the catalogue has them.

        There each number stands as "#", in the same order in every language.
        """
        return "; ".join(self._remark(part) for part in text.split("; ") if part)

    def _remark(self, part: str) -> str:
        pattern = _NUMBER.sub("#", part)
        said = self.translate(pattern)
        if said == pattern:
            head, colon, tail = part.partition(": ")
            return f"{head}: {self._remark(tail)}" if colon else part
        numbers = iter(_NUMBER.findall(part))
        return re.sub("#", lambda _: next(numbers, "#"), said)


def _shown(char: str) -> str:
    if char in "\t\n\r":
        return char
    return "\ufffd" if char in _INVISIBLE or unicodedata.category(char) in ("Cc", "Cs") else char


def _decimals(value: float) -> int:
    size = abs(value)
    if size <= 1:
        return 3
    return 2 if size < 5 else 1 if size < 100 else 0


def _shared_decimals(verdict: Verdict) -> int:
    """Enough that no rounded number seems to touch the threshold when it does not.

    0.7996 against 0.80 printed as 0.800 would contradict its own verdict.
    """
    criterion = bound(verdict.criterion)
    numbers = [n for n in (verdict.value, verdict.low, verdict.high) if math.isfinite(n)]
    decimals = _decimals(max(numbers, key=abs, default=0.0))
    if criterion is None:
        return decimals
    threshold = criterion.threshold
    while decimals < _MOST_DECIMALS and any(
        round(n, decimals) == round(threshold, decimals) and not math.isclose(n, threshold)
        for n in numbers
    ):
        decimals += 1
    return decimals
