"""Replies as numbers, and how much two of them share."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sartor.core.replies import Said, as_numbers, as_said, rouge_l, words_of

TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=40)


@given(st.lists(st.tuples(TEXTS, st.booleans()), min_size=1, max_size=5))
def test_a_reply_comes_back_from_its_numbers(replies):
    said = [Said(text, -0.5, len(text), ended, -2.0, 4) for text, ended in replies]
    assert [as_said(row) for row in as_numbers(said)] == said


@pytest.mark.parametrize("broken", [np.nan, np.inf, float(0xD800), float(0x110000)])
def test_what_is_no_text_is_none(broken):
    numbers = as_numbers([Said("abc", 0.0, 3, True)])
    numbers[0, -1] = broken
    assert as_said(numbers[0]) is None


def reference(one: str, other: str) -> float:
    """Lin 2004 as it is defined, by the textbook's table."""
    a, b = words_of(one), words_of(other)
    table = np.zeros((len(a) + 1, len(b) + 1), int)
    for i, left in enumerate(a):
        for j, right in enumerate(b):
            longer = max(table[i, j + 1], table[i + 1, j])
            table[i + 1, j + 1] = table[i, j] + 1 if left == right else longer
    shared = table[-1, -1]
    precision, recall = shared / len(a), shared / len(b)
    return 2 * precision * recall / (precision + recall) if shared else 0.0


WORDS = st.lists(st.sampled_from(["a", "b", "c", "the", "中"]), min_size=1, max_size=90)


@given(WORDS, WORDS)
def test_rouge_l_is_the_f1_of_the_longest_common_subsequence(one, other):
    texts = " ".join(one), " ".join(other)
    assert rouge_l(*texts) == pytest.approx(reference(*texts))


@pytest.mark.parametrize(
    ("one", "other", "value"),
    [
        ("police killed the gunman", "police kill the gunman", 0.75),  # the paper's own example
        ("the gunman kill police", "police kill the gunman", 0.5),
        ("重启路由器", "请重启 路由器。", 2 * 5 / 11),
        ("", "", 1.0),
        ("...", "?", 0.0),
        ("", "yes", 0.0),
    ],
)
def test_rouge_l_of_known_pairs(one, other, value):
    assert rouge_l(one, other) == pytest.approx(value)
