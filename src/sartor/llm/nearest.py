"""The nearest text's reply: what a search over earlier answers would give, and the floor to beat.

Texts are vectors of TF-IDF weights of words and of runs of three characters within them, so that
endings and Chinese count too; near is the cosine. Salton and Buckley 1988,
doi:10.1016/0306-4573(88)90021-0

    weight(t, text) = (1 + ln count) · ln((1 + n) / (1 + texts with t)) + 1,  scaled to length 1
"""

import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from sartor.core.errors import BundleError
from sartor.core.replies import Said, words_of
from sartor.llm.checked import read_checked
from sartor.llm.conversation import question_of

FILE = "replies.json"
FORMAT = 1
MOST_BYTES = 400_000_000
UNSAID = -34.5
"""Nats of what a look-up never says: a probability of 1e-15, not of 0."""
_RUN = 3
_LEAST = 1e-6


class RepliesFile(BaseModel):
    """The contents of `replies.json`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    format: int = Field(default=FORMAT, ge=1, le=FORMAT)
    texts: list[str] = Field(min_length=1)
    replies: list[str] = Field(min_length=1)

    def to_json(self) -> str:
        return json.dumps(self.model_dump(mode="json"), ensure_ascii=False, indent=1) + "\n"


class Nearest:
    """An index of texts and their replies; safe to share between threads.

    Args:
        texts: At least one; of a conversation the last message counts.
        replies: One a text.
    """

    def __init__(self, texts: Sequence[str], replies: Sequence[str]) -> None:
        self.replies = tuple(replies)
        counts = [Counter(_terms(question_of(text))) for text in texts]
        within = Counter(term for each in counts for term in each)
        self._rarity = {t: math.log((1 + len(texts)) / (1 + n)) + 1 for t, n in within.items()}
        self._places: dict[str, list[tuple[int, float]]] = {}
        for place, each in enumerate(counts):
            for term, weight in self._weighed(each).items():
                self._places.setdefault(term, []).append((place, weight))

    def find(self, text: str) -> Said:
        """The reply of the nearest text, as sure as it is near.

        Of equals that of the first one, which it is too where nothing is shared.
        """
        scores: dict[int, float] = {}
        for term, weight in self._weighed(Counter(_terms(question_of(text)))).items():
            for place, other in self._places.get(term, ()):
                scores[place] = scores.get(place, 0.0) + weight * other
        best = min(scores, key=lambda place: (-round(scores[place], 9), place), default=0)
        nearness = min(max(scores.get(best, 0.0), _LEAST), 1.0)
        return Said(
            self.replies[best],
            math.log(nearness),
            0,
            ended=True,
            right_log_p=UNSAID,
            right_tokens=1,
        )

    def _weighed(self, counts: Counter[str]) -> dict[str, float]:
        known = {
            t: (1 + math.log(n)) * self._rarity[t] for t, n in counts.items() if t in self._rarity
        }
        length = math.sqrt(sum(weight * weight for weight in known.values()))
        return {term: weight / length for term, weight in known.items()} if length else {}


def read_replies(path: Path) -> Nearest:
    """Read the index of a bundle, which nobody vouches for.

    Raises:
        BundleError: If it is too large or not of its form.
    """
    found = read_checked(path, RepliesFile, MOST_BYTES)
    if len(found.texts) != len(found.replies):
        raise BundleError(
            f"{path} has {len(found.texts):,} texts and {len(found.replies):,} replies.",
            fix="build the bundle again with `sartor run`.",
        )
    return Nearest(found.texts, found.replies)


def _terms(text: str) -> Iterator[str]:
    for word in words_of(text):
        yield word
        edged = f"<{word}>"
        for start in range(len(edged) - _RUN + 1):
            yield edged[start : start + _RUN]
