"""Metrics of replies, by hand and against their definitions."""

from dataclasses import replace

import numpy as np
import pytest

from sartor.core.replies import Reply
from sartor.core.types import Examples
from sartor.judge.api import Subject
from sartor.judge.checks.writing import METRICS, Writing
from sartor.judge.verdicts import judge
from sartor.need.grammar import parse_criterion


def subject(pairs, right=None, baseline=None) -> Subject:
    ids = tuple(map(str, range(len(pairs))))
    answers = [{"label": said or None, "best": said} for said, _ in pairs]
    for answer, found in zip(answers, right or [], strict=False):
        answer["right"] = found
    examples = Examples(ids, {"text": ids}, tuple(Reply(truth) for _, truth in pairs))
    return Subject(examples, answers, ["reply"], target="text", baseline=baseline)


def value(criterion: str, found: Subject) -> float:
    (part,) = Writing().parts(parse_criterion(criterion), found)
    return part.statistic.observed


PAIRS = [
    ("Yes.", "yes."),
    ("It is a dog, I think", "a dog"),
    ('{"a": 1}', "no"),
    ("", "something"),
]


@pytest.mark.parametrize(
    ("metric", "wanted"),
    [
        ("exact_match", 0.25),
        ("contains", 0.5),
        ("json_valid", 0.25),
        ("answered", 0.75),
        ("rouge_l", (1 + 2 * 2 / 8 + 0 + 0) / 4),
        ("length_ratio", (1 + 6 + 2 + 0) / (1 + 2 + 1 + 1)),
    ],
)
def test_metrics_of_known_replies(metric, wanted):
    assert value(f"{metric} >= 0.1", subject(PAIRS)) == pytest.approx(wanted)


def test_perplexity_is_that_of_all_tokens_together():
    found = subject(PAIRS, right=[[-1.0, 2], [-6.0, 3], [-2.0, 4], [-3.0, 1]])
    assert value("perplexity <= 10", found) == pytest.approx(np.exp(12 / 10))
    (verdict,) = judge([parse_criterion("perplexity <= 40")], found)
    assert verdict.low <= np.exp(1.2) <= verdict.high
    assert verdict.state == "unproven"


def test_perplexity_of_recorded_replies_is_not_measured():
    (verdict,) = judge([parse_criterion("perplexity <= 40")], subject(PAIRS))
    assert (verdict.state, verdict.n) == ("unproven", 0)
    assert "not measured" in verdict.note


def test_a_baseline_is_compared_row_by_row():
    found = subject(PAIRS, baseline=["no", "a dog", "no", "something"])
    assert value("exact_match >= baseline + 0.01", found) == pytest.approx(0.25 - 0.75)


def test_many_good_replies_prove_a_criterion():
    (met,) = judge([parse_criterion("rouge_l >= 0.8")], subject([("a b", "a b")] * 60))
    (unmet,) = judge([parse_criterion("exact_match >= 0.5")], subject([("a", "b")] * 60))
    assert (met.state, unmet.state) == ("met", "unmet")


@pytest.mark.parametrize(
    "text",
    [
        "perplexity >= baseline + 1",
        "perplexity <= 1",
        "perplexity == 3",
        "length_ratio <= 0",
        "rouge_l >= 20",
        "rouge_l[label=a] >= 0.2",
        "exact_match >= 1",
    ],
)
def test_a_criterion_that_no_replies_could_meet_is_refused(text):
    assert Writing().fault(parse_criterion(text), ["reply"]) is not None


@pytest.mark.parametrize("metric", METRICS)
def test_a_criterion_that_replies_could_meet_is_taken(metric):
    limit = 40 if metric == "perplexity" else 0.5
    sign = "<=" if metric in ("perplexity", "length_ratio") else ">="
    assert Writing().fault(parse_criterion(f"{metric} {sign} {limit}"), ["reply"]) is None


def test_how_a_reply_comes_is_read_from_the_streams():
    streams = np.stack([np.full((5, 2), [100.0 + i, 20.0 - i]) for i in range(6)])
    found = replace(subject(PAIRS), streaming=lambda: streams)
    criteria = [parse_criterion(t) for t in ("first_token_p95_ms <= 120", "tokens_per_s >= 19")]
    begins, goes_on = judge(criteria, found)
    assert (begins.value, begins.low, begins.high, begins.state) == (102.5, 100.0, 105.0, "met")
    assert (goes_on.value, goes_on.state) == (17.5, "unproven")
    (lacking,) = judge(criteria[:1], subject(PAIRS))
    assert (lacking.n, lacking.state) == (0, "unproven")
