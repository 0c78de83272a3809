"""Which token comes next: the likeliest, or one drawn from the likely ones.

    p ∝ exp((z − frequency · count − presence · [count > 0]) / temperature)

over the smallest set of tokens whose probabilities reach `top_p` (Holtzman et al. 2020,
https://arxiv.org/abs/1904.09751). The penalties count what the reply has already said, as OpenAI's
interface defines them.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a reply is written.

    Args:
        temperature: 0 takes the likeliest token each time; 1 draws as the model says.
        top_p: Share of the probability that is drawn from.
        frequency_penalty: Taken off a token's logit for every time it was written.
        presence_penalty: Taken off once for a token that was written.
        most: Tokens of the reply; None for the bundle's own limit.
        stop: Texts that end the reply; they are no part of it.
        seed: Of the draws; None for another reply each time.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    most: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None

    @property
    def greedy(self) -> bool:
        """Whether the likeliest token is taken each time, by the model's own word."""
        return self.temperature <= 0 and not (self.frequency_penalty or self.presence_penalty)


GREEDY = Sampling()


@dataclass(slots=True)
class Chooser:
    """Chooses the tokens of one reply.

    Args:
        sampling: How.
    """

    sampling: Sampling
    written: Counter[int] = field(default_factory=Counter[int])
    _draws: np.random.Generator | None = None

    def choose(self, logits: NDArray[np.float32]) -> tuple[int, float]:
        """The next token, and ln p that the model gives it.

        Args:
            logits: (vocabulary,), as the model says.
        """
        wide = logits.astype(np.float64)
        log_p = wide - wide.max()
        log_p -= np.log(np.exp(log_p).sum())
        asked = self.sampling
        changed = wide
        if self.written and (asked.frequency_penalty or asked.presence_penalty):
            changed = wide.copy()
            for token, count in self.written.items():
                changed[token] -= asked.frequency_penalty * count + asked.presence_penalty
        token = int(changed.argmax()) if asked.temperature <= 0 else self._drawn(changed)
        self.written[token] += 1
        return token, float(log_p[token])

    def _drawn(self, logits: Doubles) -> int:
        if self._draws is None:
            self._draws = np.random.default_rng(self.sampling.seed)
        # Below the largest first: over a tiny temperature that is 0 and all else -inf.
        with np.errstate(over="ignore"):
            shares = np.exp((logits - logits.max()) / self.sampling.temperature)
        shares /= shares.sum()
        order = np.argsort(-shares, kind="stable")
        # The token that reaches the share is still among them: there is always one.
        among = order[: int(np.searchsorted(shares[order].cumsum(), self.sampling.top_p)) + 1]
        chances = shares[among] / shares[among].sum()
        return int(self._draws.choice(among, p=chances))


def before_stop(text: str, stop: Sequence[str]) -> tuple[str, bool]:
    """The text up to the first of the stops, and whether there was one."""
    places = [place for each in stop if each and (place := text.find(each)) >= 0]
    return (text[: min(places)], True) if places else (text, False)


def settled(text: str, stop: Sequence[str]) -> str:
    """As much of a text as no later token can take back: neither half a character nor half a stop
    stands at its end."""
    held = len(text) - len(text.rstrip("\ufffd"))
    for each in stop:
        for length in range(len(each) - 1, 0, -1):
            if text.endswith(each[:length]):
                held = max(held, length)
                break
    return text[: len(text) - held]
