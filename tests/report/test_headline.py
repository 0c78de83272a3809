"""One sentence, never more cheerful than the worst criterion."""

import pytest

from sartor.report.headline import headline
from sartor.report.result import read_result
from sartor.report.words import translator
from tests.report.samples import VERDICTS


def said(states: str, *, released: bool = False, language: str = "en") -> str:
    names = {"m": "met", "u": "unmet", "?": "unproven"}
    verdicts = [{**VERDICTS[0], "state": names[state]} for state in states]
    found = read_result({"verdicts": verdicts, "released": released})
    return headline(found, translator(language))


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ("m", "The criterion is met."),
        ("mmm", "All 3 criteria are met."),
        ("u", "Not released: the criterion is not met."),
        ("?", "Not released: the criterion is neither shown to be met nor shown to fail."),
        ("um", "Not released: 1 of 2 criteria is not met."),
        ("uum", "Not released: 2 of 3 criteria are not met."),
        ("?m", "Not released: 1 of 2 criteria is unproven."),
        ("??m", "Not released: 2 of 3 criteria are unproven."),
        ("u??m", "Not released: of 4 criteria, 1 not met and 2 unproven."),
    ],
)
def test_the_sentence_counts_what_is_missing(states, expected):
    assert said(states) == expected


def test_released_is_said_only_when_it_happened():
    assert said("mm", released=True) == "Released: all 2 criteria are met."
    assert said("m", released=True) == "Released: the criterion is met."
    assert said("mu", released=True).startswith("Released although")


def test_the_chinese_sentence_is_chinese_with_the_same_counts():
    assert said("u??m", language="zh") == "未发布：4 项标准中，1 项未达标，2 项证据不足。"
    assert said("mm", released=True, language="zh") == "已发布：2 项标准全部达标。"
