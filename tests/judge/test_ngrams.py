"""BLEU and chrF are sacrebleu's, ROUGE-n is its definition, and intervals are over rows."""

import numpy as np
import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st

from sartor.core.replies import Reply
from sartor.core.types import Examples
from sartor.judge.api import Subject
from sartor.judge.checks.translation import Translating
from sartor.judge.ngrams import bleu, bleu_words, chrf, rouge_n
from sartor.judge.verdicts import judge
from sartor.need.grammar import parse_criterion

WORDS = [
    "the",
    "cat",
    "sat",
    "on",
    "a",
    "mat,",
    "3.5",
    "e.g.",
    "x-ray",
    "10-year",
    "&quot;no&quot;",
]
HAN = ["我", "喜欢", "猫。", "（好）", "API", "%(name)s", "3.5", "，"]


def sentences(words):
    return st.lists(
        st.lists(st.sampled_from(words), max_size=9).map(" ".join), min_size=1, max_size=6
    )


@pytest.mark.parametrize("words", [WORDS, HAN])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_bleu_and_chrf_are_those_of_sacrebleu(words, data):
    right = data.draw(sentences(words))
    said = [data.draw(st.sampled_from([one, one[: len(one) // 2], "a b", ""])) for one in right]
    chinese = 2 * sum(any("\u4e00" <= c <= "\u9fff" for c in text) for text in right) > len(right)
    how = "zh" if chinese else "13a"
    theirs = sacrebleu.corpus_bleu(said, [right], tokenize=how).score
    assert bleu(said, right).observed == pytest.approx(theirs, abs=1e-9)
    theirs = sacrebleu.corpus_chrf(said, [right]).score
    assert chrf(said, right).observed == pytest.approx(theirs, abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=40))
def test_words_are_split_as_by_sacrebleu(text):
    from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a
    from sacrebleu.tokenizers.tokenizer_zh import TokenizerZh

    assert bleu_words(text, chinese=False) == Tokenizer13a()(text).split()
    assert bleu_words(text, chinese=True) == TokenizerZh()(text).split()


def test_rouge_n_is_its_definition():
    # 2 of 3 pairs against 2 of 4: F1 = 2 · 2 / (3 + 4).
    assert rouge_n(["the cat sat down"], ["the cat sat on it"], 2).observed == pytest.approx(4 / 7)
    assert rouge_n(["a a b"], ["a b b"], 1).observed == pytest.approx(4 / 6)
    assert rouge_n(["我喜欢"], ["我 喜欢"], 1).observed == 1
    assert rouge_n(["one", ""], ["one", ""], 2).observed == 1
    assert rouge_n(["one"], ["two"], 2).observed == 0


def subject(said, right, texts=None, baseline=None):
    rows = len(said)
    ids = tuple(map(str, range(rows)))
    texts = tuple(texts or ["a text"] * rows)
    examples = Examples(ids, {"text": texts}, tuple(map(Reply, right)))
    answers = [{"best": text} for text in said]
    return Subject(examples, answers, ("reply",), baseline=baseline, target="text")


def verdict(criterion, *given, **more):
    (found,) = judge([parse_criterion(criterion)], subject(*given, **more), seed=0)
    return found


RIGHT = [f"the {a} of the {b} is {c}" for a in "abcd" for b in "efg" for c in "hijk"]


def test_intervals_hold_the_score_and_narrow_with_rows():
    said = [text if i % 3 else "something else" for i, text in enumerate(RIGHT)]
    wide, narrow = (verdict("bleu >= 20", said[:n], RIGHT[:n]) for n in (12, 48))
    for found in (wide, narrow):
        assert found.low < found.value < found.high
    assert narrow.high - narrow.low < wide.high - wide.low
    assert narrow.n == 48


def test_a_perfect_score_is_not_certain_on_few_rows():
    found = verdict("chrf >= 50", RIGHT[:8], RIGHT[:8])
    assert found.value == pytest.approx(100)
    assert found.low < 100


def test_only_rows_with_placeholders_count_for_those_kept():
    texts = ["%(a)s and {}", "plain", "<b>x</b>", "plain"]
    found = verdict("placeholders_kept >= 0.2", ["%(a)s {}", "x", "<b>x", ""], texts, texts)
    assert (found.value, found.n) == (0.5, 2)


def test_a_baseline_is_compared_on_the_same_rows():
    today = ["something else"] * len(RIGHT)
    found = verdict("chrf >= baseline + 5", RIGHT, RIGHT, baseline=today)
    assert found.state == "met"
    assert verdict("bleu >= baseline + 1", today, RIGHT, baseline=today).state != "met"


@pytest.mark.parametrize(
    ("criterion", "words"),
    [
        ("bleu >= 0.3", "30"),
        ("chrf >= 120", "between 0 and 100"),
        ("bleu == 30", "exactly"),
        ("rouge_1 >= 40", "0.4"),
        ("placeholders_kept >= 95", "0.95"),
    ],
)
def test_thresholds_on_another_scale_are_refused(criterion, words):
    fault = Translating().fault(parse_criterion(criterion), ("reply",))
    assert fault is not None
    assert words in f"{fault.what} {fault.fix}"


def test_statistics_take_many_resamples_at_once():
    found = bleu(RIGHT, RIGHT[::-1])
    sums = np.stack([found.sums, 2 * found.sums, 0 * found.sums])
    one, two, none = found.value(sums)
    assert one == pytest.approx(two)
    assert none == 0
