"""The choice is the exact one, the rule follows the criteria, likeness is as it was published."""

import re
import string
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sartor.core.errors import DataError
from sartor.core.likelihood import hits, losses
from sartor.core.pieces import pieces
from sartor.core.types import Examples
from sartor.need.grammar import parse_criterion
from sartor.tasks import TASKS, Unreadable
from sartor.tasks._target.passages import Passages
from sartor.tasks.question_answering.choosing import Rule, choose
from sartor.tasks.question_answering.likeness import exact_match, f1
from sartor.tasks.question_answering.overlap import Overlap
from sartor.tasks.question_answering.train import QuestionAnswering as Trainer

TASK = TASKS.get("question_answering")()
OUTPUTS = ["start", "end"]
CONTEXT = "The warranty covers two years. Batteries are covered for two months. 保修期为三年。"


def rows(*asked):
    """Questions about one context each, with the words that answer."""
    form = Passages()
    targets = [form.value(form.read_in(cell, (), context, str)) for context, cell in asked]
    contexts = tuple(context for context, _ in asked)
    ids = tuple(map(str, range(len(asked))))
    return Examples(ids, {"question": ids, "context": contexts}, tuple(targets))


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 7), st.integers(1, 8), st.integers(0, 10_000), st.floats(-3, 3))
def test_parts_and_their_probabilities_are_those_of_all_parts(count, longest, seed, none):
    z = np.random.default_rng(seed).normal(0, 2, (count + 1, 2)).astype(np.float32)
    unread = seed % (count + 1)
    if unread:
        z[unread] = 0.0
    every = {
        (p, q): (z[1 + p, 0] + z[1 + q, 1]) / 1.5
        for p in range(count)
        for q in range(p, min(p + longest, count))
        if unread not in (1 + p, 1 + q)
    }
    nothing = z[0].sum() / 1.5 + none
    total = np.exp(nothing) + sum(map(np.exp, every.values()))
    found = choose(z, Rule(1.5, none, longest), 3)
    assert found.none == pytest.approx(np.exp(nothing) / total, rel=1e-4)
    best = sorted(every, key=every.__getitem__, reverse=True)[:3]
    assert [(part.first, part.last) for part in found.parts] == best
    for part in found.parts:
        share = np.exp(every[part.first, part.last]) / total
        assert part.probability == pytest.approx(share, rel=1e-4)


def squad_f1(said, right):
    """The published evaluation of SQuAD, in short."""

    def tokens(text):
        text = "".join(c for c in text.lower() if c not in set(string.punctuation))
        return re.sub(r"\b(a|an|the)\b", " ", text).split()

    one, other = tokens(said), tokens(right)
    if not one or not other:
        return float(one == other), one == other
    same = sum((Counter(one) & Counter(other)).values())
    if not same:
        return 0.0, False
    precision, recall = same / len(one), same / len(other)
    return 2 * precision * recall / (precision + recall), one == other


WORDS = st.lists(st.sampled_from(["the", "a", "two", "Two", "years,", "of", "time."]), min_size=1)


@given(WORDS, st.lists(WORDS, min_size=1, max_size=3))
def test_english_is_counted_as_squad_does(said, right):
    said, right = " ".join(said), [" ".join(each) for each in right]
    wanted = [squad_f1(said, one) for one in right]
    assert f1(said, right) == pytest.approx(max(value for value, _ in wanted))
    assert exact_match(said, right) == any(same for _, same in wanted)


def cmrc_f1(said, right):
    """F1 of the longest common run of characters, as CMRC 2018 has it of purely Chinese answers."""
    one, other = (re.sub("[，。：？！]", "", text) for text in (said, right))
    runs = (one[i:j] for i in range(len(one)) for j in range(i + 1, len(one) + 1))
    longest = max((len(run) for run in runs if run in other), default=0)
    return 2 * longest / (len(one) + len(other)) if one and other else 0.0


HAN = st.text("保修期三年，。", min_size=1, max_size=8).filter(
    lambda t: re.search("[保修期三年]", t)
)


@given(HAN, HAN)
def test_chinese_is_counted_as_cmrc_does(said, right):
    assert f1(said, [right]) == pytest.approx(cmrc_f1(said, right))


def test_no_answer_is_right_where_there_is_none_and_wrong_elsewhere():
    assert f1("", []) == 1.0 == float(exact_match("", []))
    assert f1("two", []) == f1("", ["two"]) == 0.0
    assert not exact_match("two", [])
    assert exact_match("The two years.", ["one", "two years"])
    assert exact_match("保修期为三年", ["保修期，为三年。"])


def test_truth_is_the_places_of_first_and_last_pieces_with_none_at_0():
    found = TASK.truth(rows((CONTEXT, "two years"), (CONTEXT, "[]"), (CONTEXT, "三年")), OUTPUTS)
    places = [CONTEXT[start:end] for start, end in pieces(CONTEXT)]
    assert found.shape == (3, 2, 1)
    assert [places[at - 1] for at in found[0, :, 0]] == ["two", "years"]
    assert found[1, :, 0].tolist() == [0, 0]
    assert [places[at - 1] for at in found[2, :, 0]] == ["三", "年"]
    with pytest.raises(DataError, match="'start'"):
        TASK.truth(rows((CONTEXT, "[]")), ["end"])


def test_several_right_answers_are_all_right():
    form = Passages()
    right = form.read_in('["two years", "warranty"]', (), CONTEXT, str)
    for said in ("two years", "warranty"):
        assert form.covers(form.read_in(said, (), CONTEXT, str), right)
    assert not form.covers("[]", right)
    assert not form.covers(form.read_in("三年", (), CONTEXT, str), "[]")
    assert form.covers("[]", "[]")


@pytest.mark.parametrize(
    ("cell", "why"),
    [
        ("three years", "does not stand in the context"),
        ("warranties", "does not stand in the context"),
        ("TWO YEARS", "does not stand in the context"),
        ("two", "stands 2 times in the context, first at 20 and 57"),
        ("year", "cuts 'years' in two"),
        ('{"text": "two years", "start": 21}', "does not stand at 21"),
        ('{"text": "two years", "start": "x"}', "is said to begin at 'x'"),
        ('{"text": "", "start": 3}', "an answer is empty"),
        ('{"text": ["a", "b"], "answer_start": [1]}', "2 answers and 1 starts"),
        ("[3]", "'3' is no answer"),
        ("{}", "'{}' is no answer"),
        ('{"text": "two years", "start": 1e400}', "is said to begin at inf"),
        ('{"text": ["two years"], "answer_start": [NaN]}', "is said to begin at nan"),
    ],
)
def test_what_is_no_answer_says_what_is_wrong(cell, why):
    with pytest.raises(Unreadable, match=re.escape(why)):
        Passages().read_in(cell, (), CONTEXT, str)


def test_an_answer_of_nothing_that_stays_is_empty():
    with pytest.raises(Unreadable, match="an answer is empty"):
        Passages().read_in("\ufffd", (), CONTEXT, lambda text: text.replace("\ufffd", ""))


def test_places_follow_the_context_into_its_usual_form():
    raw = "It  lasts\u00a0 two   years,  cafe\u0301."

    def usual(text):
        import unicodedata

        return " ".join(unicodedata.normalize("NFC", text).split())

    start = raw.index("two")
    cell = f'{{"text": "two   years", "start": {start}}}'
    assert Passages().read_in(cell, (), raw, usual) == '[[9, 18, "two years"]]'
    assert Passages().read_in("cafe\u0301", (), raw, usual) == '[[20, 24, "café"]]'


def test_an_answer_never_cuts_what_a_reader_sees_as_one_character():
    context = "family 👨‍👩‍👧 here, नमस्ते"
    count = len(pieces(context))
    draw = np.random.default_rng(0)
    for _ in range(50):
        logits = draw.normal(0, 4, (1, count + 1, 2)).astype(np.float32)
        (answer,) = TASK.decode(logits, OUTPUTS, {"none": -99.0}, [("?", context)])
        assert context[answer["start"] : answer["end"]] == answer["answer"]
        starts, ends = zip(*pieces(context), strict=True)
        assert (answer["start"] in starts, answer["end"] in ends) == (True, True)


def noisy(examples, shift):
    """Logits that are right but for noise, and lean towards an answer."""
    truth = TASK.truth(examples, OUTPUTS)
    count = len(pieces(CONTEXT)) + 1
    found = np.random.default_rng(1).normal(0, 2, (len(examples), count, 2)).astype(np.float32)
    for row in range(len(examples)):
        for k in range(2):
            found[row, truth[row, k, 0], k] += 4.0
    found[:, 0] -= shift
    return found


def test_the_rule_gives_no_answer_as_readily_as_the_criteria_ask():
    asked = rows(*([(CONTEXT, "two years"), (CONTEXT, "[]")] * 60))
    logits = noisy(asked, 3.0)

    def silent(*criteria):
        told = [parse_criterion(text) for text in criteria]
        rule = TASK.settle(logits, asked, OUTPUTS, told)
        answers = TASK.decode(logits, OUTPUTS, rule, asked.texts)
        return np.mean([not a["answer"] for a in answers[1::2]])

    assert silent("no_answer_accuracy >= 0.95") >= 0.95
    assert silent("answered_f1 >= 0.99") < silent() <= silent("no_answer_accuracy >= 0.95")


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.2]))
def test_the_loss_is_that_of_the_places_that_are_read(seed, smoothing):
    draw = np.random.default_rng(seed)
    logits = draw.normal(0, 1, (3, 6, 2)).astype(np.float32)
    logits[1, 4:] = 0.0
    truth = np.array([[[2, 0], [3, 1]], [[0, -1], [0, -1]], [[5, -1], [5, -1]]])
    found = Trainer().loss(
        torch.from_numpy(logits), torch.from_numpy(truth), torch.ones(2), smoothing
    )
    each = []
    for row, width in enumerate((6, 4, 6)):
        shares = torch.log_softmax(torch.from_numpy(logits[row, :width]), 0).numpy()
        chosen = np.mean([shares[truth[row, k, 0], k] for k in range(2)])
        each.append(-(1 - smoothing) * chosen - smoothing * shares.mean())
    assert float(found) == pytest.approx(np.mean(each), rel=1e-4)
    if not smoothing:
        assert losses(logits, truth) == pytest.approx(np.array(each), rel=1e-4)
    # What is not read has no gradient, and a row whose answer is cut off has no part.
    open_ = torch.from_numpy(logits).requires_grad_()
    Trainer().loss(open_, torch.from_numpy(truth), torch.ones(2), smoothing).backward()
    assert not open_.grad[1, 4:].any()
    truth[2] = 6
    one = Trainer().loss(torch.from_numpy(logits), torch.from_numpy(truth), torch.ones(2), 0.0)
    assert float(one) == pytest.approx(float(losses(logits[:2], truth[:2]).mean()), rel=1e-4)


def test_the_gradient_is_that_of_finite_differences():
    logits = torch.randn(2, 5, 2, dtype=torch.float64, generator=torch.manual_seed(0))
    truth = torch.tensor([[[1], [3]], [[0], [0]]])

    def loss(z):
        each = z.log_softmax(1).gather(1, truth[:, :, 0].unsqueeze(1)).squeeze(1)
        return -each.mean()

    ours = logits.float().requires_grad_()
    Trainer().loss(ours, truth, torch.ones(2), 0.0).backward()
    for place in ((0, 1, 0), (1, 0, 1), (0, 4, 1)):
        step = torch.zeros_like(logits)
        step[place] = 1e-6
        slope = (loss(logits + step) - loss(logits - step)) / 2e-6
        assert float(ours.grad[place]) == pytest.approx(float(slope), abs=1e-5)


def test_a_place_that_was_not_read_is_no_outcome():
    logits = np.array([[[1.0, 0.5], [2.0, -1.0], [0.0, 0.0]]], np.float32)
    first = np.array([[[1], [1]]])
    whole = losses(logits[:, :2], first)
    assert losses(logits, first) == pytest.approx(whole)
    assert hits(logits, np.array([[[1], [0]]])).tolist() == [True]
    beyond = losses(logits, np.array([[[7], [7]]]))
    assert np.isfinite(beyond).all()
    assert beyond[0] > whole[0]


def test_overlap_points_at_the_sentence_that_shares_the_rare_words():
    model = Overlap(20)
    with torch.no_grad():
        model.weight.copy_(torch.arange(20.0))
        model.weight[:3] = 0.0
        model.closes[3] = 1.0
    # [CLS] 9 7 [SEP]  5 6 .  7 9 8 .  9 5 .  [SEP]; ids 0 to 2 are special, 3 closes.
    ids = torch.tensor([[0, 9, 7, 1, 5, 6, 3, 7, 9, 8, 3, 9, 5, 3, 1, 2]])
    mask = torch.tensor([[2, 1, 1, 1, *[2] * 10, 1, 0]])
    logits = model(ids, mask).numpy()
    assert logits.shape == (1, 16, 2)
    found = choose(logits[0], Rule(), 1).parts[0]
    assert (found.first, found.last) == (3, 5)
    assert not logits[0, 11:].any()
