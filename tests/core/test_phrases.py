"""A phrase says itself in any language, and survives JSON."""

import json

import pytest

from sartor.core.phrases import Phrase

PART = Phrase("{n} rows ({why})", {"n": "1,200", "why": "accuracy >= 0.8"})
STEP = Phrase("Label {parts} in {time}.", {"parts": (PART, PART), "time": Phrase("an hour")})
CHINESE = {
    "Label {parts} in {time}.": "用{time}标注 {parts}。",
    "{n} rows ({why})": "{n} 条（{why}）",
    "an hour": "一小时",
    ", ": "、",
}


def test_every_part_of_a_phrase_is_said_in_the_language():
    assert STEP.say() == str(STEP)
    assert str(STEP) == (
        "Label 1,200 rows (accuracy >= 0.8), 1,200 rows (accuracy >= 0.8) in an hour."
    )
    said = STEP.say(lambda text: CHINESE[text])
    assert said == "用一小时标注 1,200 条（accuracy >= 0.8）、1,200 条（accuracy >= 0.8）。"


def test_a_phrase_comes_back_from_json():
    assert Phrase.of_json(json.loads(json.dumps(STEP.as_json()))) == STEP


def test_a_value_that_looks_like_a_gap_is_not_filled():
    found = Phrase("{criterion} in {time}", {"criterion": "f1[label={time}]", "time": "an hour"})
    assert found.say() == "f1[label={time}] in an hour"
    assert Phrase("{a.b} {0} {unknown}", {"a": "x"}).say() == "{a.b} {0} {unknown}"


def nested(depth):
    return {"message": "m", "values": {"a": nested(depth - 1)}} if depth else "end"


@pytest.mark.parametrize(
    "found", [None, [], "text", {}, {"message": 3}, {"message": "m", "values": [1]}, nested(50)]
)
def test_what_is_no_phrase_is_refused(found):
    with pytest.raises(ValueError, match="no phrase"):
        Phrase.of_json(found)
