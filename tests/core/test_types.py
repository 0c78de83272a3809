"""Rows keep together; keys depend on contents."""

from dataclasses import replace

import pytest

from sartor.core.types import Candidate, Examples, Roles

ROWS = Examples(
    ids=("a", "b", "c"),
    inputs={"text": ("one", "two", "three"), "title": ("1", "2", "3")},
    target=("x", "y", "x"),
    extra={"lang": ("en", "zh", None)},
)
CANDIDATE = Candidate("minilm", "ab" * 32, "lora", {"rank": 8, "lr": 1e-3}, 0)


def test_taken_rows_stay_together_in_the_order_asked_for():
    taken = ROWS.take([2, 0])
    assert taken.ids == ("c", "a")
    assert taken.inputs == {"text": ("three", "one"), "title": ("3", "1")}
    assert taken.target == ("x", "x")
    assert taken.extra == {"lang": (None, "en")}
    assert len(taken) == 2


def test_rows_without_answers_stay_without():
    assert replace(ROWS, target=()).take([1]).target == ()


def test_each_row_is_what_a_predictor_takes():
    assert list(ROWS.rows())[1] == {"text": "two", "title": "2"}


def test_the_fingerprint_ignores_the_order_of_the_rows_but_not_their_answers():
    assert ROWS.take([2, 0, 1]).fingerprint() == ROWS.fingerprint()
    assert replace(ROWS, target=("x", "x", "x")).fingerprint() != ROWS.fingerprint()
    assert ROWS.take([0, 1]).fingerprint() != ROWS.fingerprint()
    assert ROWS.take([0, 0, 1]).fingerprint() != ROWS.take([0, 1]).fingerprint()


def test_a_candidates_key_ignores_its_name_and_the_order_of_its_settings():
    settings = dict(reversed(CANDIDATE.settings.items()))
    assert replace(CANDIDATE, backbone="a folder", settings=settings).key == CANDIDATE.key


@pytest.mark.parametrize(
    "change",
    [
        {"backbone_sha256": "cd" * 32},
        {"method": "full"},
        {"settings": {"rank": 4, "lr": 1e-3}},
        {"seed": 1},
    ],
)
def test_a_candidates_key_changes_with_whatever_changes_its_weights(change):
    assert replace(CANDIDATE, **change).key != CANDIDATE.key


def test_roles_name_inputs_before_targets():
    assert Roles({"text": "text"}, {"label": "label"}).names() == ["text", "label"]
