"""Runs of words and characters that two texts share, as sums over rows.

BLEU and chrF are scores of a whole set, no means over rows: what a row adds to their sums is all
that a resample needs.

    BLEU = 100 · min(1, e^(1 − r/c)) · (p₁ p₂ p₃ p₄)^¼,   p_n shared runs of n words / all written
    Papineni et al. 2002, https://aclanthology.org/P02-1040
    where p_n would be 0, 1/2, 1/4 … of a run is taken: smoothing 3 of Chen and Cherry 2014,
    https://aclanthology.org/W14-3346
    chrF = 100 · 5PR / (4P + R),   P and R the means over runs of 1 to 6 characters
    Popović 2015, https://aclanthology.org/W15-3049

Both are those of sacrebleu with its defaults, words by mteval-v13a, or each Chinese character by
itself (`zh`): Post 2018, https://aclanthology.org/W18-6319
"""

import re
from collections import Counter
from collections.abc import Callable, Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from sartor.core.replies import words_of
from sartor.judge.statistic import Floats, Statistic, divide, mean

WORDS, CHARACTERS = 4, 6
"""Longest runs of BLEU and of chrF."""
_RECALL = 2.0
"""How many times more chrF minds what is missing than what is too much."""
_HAN = re.compile(
    "[\u3400-\u4db5\u4e00-\u9fbb\uf900-\ufa2d\ufa30-\ufa6a\ufa70-\ufad9\uff00-\uffef\u2e80-\u2eff"
    # sacrebleu means "\U00020000" and writes "\u20000", so that general punctuation counts too.
    "\u2001-\u2a6d"
    "\u3000-\u303f\u31c0-\u31ef\u2f00-\u2fdf\u2ff0-\u2fff\u3100-\u312f\u31a0-\u31bf\ufe10-\ufe1f"
    "\ufe30-\ufe4f\u2600-\u26ff\u2700-\u27bf\u3200-\u33ff]"
)
_IDEOGRAPH = re.compile("[\u3400-\u4dbf\u4e00-\u9fff]")
_SPLITS = (
    (re.compile(r"([{-~\[-` -&(-+:-@/])"), r" \1 "),
    (re.compile(r"([^0-9])([.,])"), r"\1 \2 "),
    (re.compile(r"([.,])([^0-9])"), r" \1 \2"),
    (re.compile(r"([0-9])(-)"), r"\1 \2 "),
)
_ENTITIES = (("&quot;", '"'), ("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">"))


def in_chinese(texts: Sequence[str]) -> bool:
    """Whether most of the texts hold Chinese characters: then BLEU counts those, not words."""
    return 2 * sum(_IDEOGRAPH.search(text) is not None for text in texts) > len(texts)


def bleu_words(text: str, *, chinese: bool) -> list[str]:
    """Words as BLEU counts them: `zh` of sacrebleu, or mteval-v13a."""
    if chinese:
        line = _HAN.sub(r" \g<0> ", text.strip())
    else:
        line = text.replace("<skipped>", "").replace("-\n", "").replace("\n", " ")
        for name, sign in _ENTITIES:
            line = line.replace(name, sign)
        line = f" {line} "
    for split, apart in _SPLITS:
        line = split.sub(apart, line)
    return line.split()


def bleu(said: Sequence[str], right: Sequence[str]) -> Statistic:
    """BLEU over all rows together, 0 to 100.

    Args:
        said: What was written.
        right: What was to be written, one a row.
    """
    chinese = in_chinese(right)
    rows = np.zeros((len(said), 2 * WORDS + 2))
    for row, pair in zip(rows, zip(said, right, strict=True), strict=True):
        one, other = (bleu_words(text, chinese=chinese) for text in pair)
        for n in range(1, WORDS + 1):
            shared, written, _ = _shared(one, other, n)
            row[n - 1], row[WORDS + n - 1] = shared, written
        row[-2:] = len(one), len(other)
    usual = max(float(rows[:, -1].mean()), 1.0) if len(rows) else 1.0
    totals = [max(usual + 1 - n, 0.0) for n in range(1, WORDS + 1)]
    return _of_sums(rows, _bleu_of, ([0.0] * WORDS, totals, totals), [usual, usual])


def chrf(said: Sequence[str], right: Sequence[str]) -> Statistic:
    """chrF over all rows together, 0 to 100; spaces do not count. The arguments are of `bleu`."""
    rows = np.zeros((len(said), 3 * CHARACTERS))
    for row, pair in zip(rows, zip(said, right, strict=True), strict=True):
        one, other = ("".join(text.split()) for text in pair)
        for n in range(1, CHARACTERS + 1):
            shared, written, wanted = _shared(one, other, n)
            # What was written counts only where there is something to compare it with.
            row[n - 1 :: CHARACTERS] = shared, written if wanted else 0, wanted
    usual = rows[:, 2 * CHARACTERS :].mean(0) if len(rows) else np.ones(CHARACTERS)
    wanted = np.maximum(usual, 1.0).tolist()
    return _of_sums(rows, _chrf_of, ([0.0] * CHARACTERS, wanted, wanted), wanted)


def rouge_n(said: Sequence[str], right: Sequence[str], n: int) -> Statistic:
    """Mean F1 of the runs of n words that a row shares with the right one, 0 to 1.

    Words are those of ROUGE-L here (`core.replies.words_of`). Two texts without such a run are
    alike where they have the same words. Lin 2004, https://aclanthology.org/W04-1013
    """
    found: list[float] = []
    for pair in zip(said, right, strict=True):
        one, other = (words_of(text) for text in pair)
        shared, written, wanted = _shared(one, other, n)
        total = written + wanted
        found.append(2 * shared / total if total else float(one == other))
    return mean(np.array(found, np.float64), 0.0, 1.0)


def _shared(one: Sequence[str], other: Sequence[str], n: int) -> tuple[int, int, int]:
    """Runs of n that two sequences share, and that each has."""
    first, second = _runs(one, n), _runs(other, n)
    return (first & second).total(), first.total(), second.total()


def _runs(items: Sequence[str], n: int) -> Counter[Hashable]:
    return Counter(tuple(items[i : i + n]) for i in range(len(items) - n + 1))


def _of_sums(
    rows: Floats,
    value: Callable[[Floats], Floats],
    usual: tuple[list[float], list[float], list[float]],
    lengths: list[float],
) -> Statistic:
    """A statistic of sums; a hypothetical row shares nothing, or everything, at the usual length.

    Args:
        rows: (rows, sums).
        value: (…, sums) to (…).
        usual: What such a row shares when it is wrong, when it is right, and what it writes.
        lengths: The rest of its sums.
    """
    nothing, everything, written = usual
    return Statistic(
        kinds=np.column_stack([rows, np.ones(len(rows))]),
        code=np.arange(len(rows)),
        value=lambda sums: value(sums[..., :-1]),
        lowers=np.array([[*nothing, *written, *lengths, 1.0]]),
        raises=np.array([[*everything, *written, *lengths, 1.0]]),
        trials=np.array([0.0] * rows.shape[1] + [1.0]),
    )


def _bleu_of(sums: Floats) -> Floats:
    """(…, shared 4, written 4, lengths 2) to (…)."""
    shared, written = sums[..., :WORDS], sums[..., WORDS : 2 * WORDS]
    length, wanted = sums[..., -2], sums[..., -1]
    missing = (shared <= 0) & (written > 0)
    halved = 0.5 ** np.cumsum(missing, -1)
    precision = divide(np.where(missing, halved, shared), written)
    defined = (precision > 0).all(-1) & (shared > 0).any(-1)
    logs = np.log(np.where(precision > 0, precision, 1.0)).mean(-1)
    brevity = np.minimum(1.0 - divide(wanted, length), 0.0)
    return np.where(defined & (length > 0), 100.0 * np.exp(logs + brevity), 0.0)


def _chrf_of(sums: Floats) -> Floats:
    """(…, shared 6, written 6, wanted 6) to (…)."""
    shared, written, wanted = (
        sums[..., part * CHARACTERS : (part + 1) * CHARACTERS] for part in range(3)
    )
    both: NDArray[np.bool_] = (written > 0) & (wanted > 0)
    orders = both.sum(-1)
    precision = divide((divide(shared, written) * both).sum(-1), orders)
    recall = divide((divide(shared, wanted) * both).sum(-1), orders)
    square = _RECALL**2
    return 100.0 * divide((1 + square) * precision * recall, square * precision + recall)
