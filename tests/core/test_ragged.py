"""Answers about pieces: likelihoods are those of the pieces alone, whatever stands beside them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sartor.core.likelihood import (
    NO_PIECE,
    fit_temperature,
    fitting,
    hits,
    losses,
    of_marks,
    of_pieces,
)
from sartor.core.ragged import fit_to, rows_scored, stacked, under, widened

TRUTH = np.array([[0, 2, 1], [1, NO_PIECE, NO_PIECE], [NO_PIECE] * 3], np.int64)


def logits(seed=0, width=3):
    return np.random.default_rng(seed).normal(size=(3, width, 3)).astype(np.float32)


def test_the_form_of_the_truth_is_told_by_the_array():
    assert of_pieces(TRUTH)
    assert not of_marks(TRUTH)
    assert of_marks(np.zeros((2, 3), np.float32))
    assert not of_pieces(np.zeros((2, 3), np.float32))
    assert not of_pieces(np.zeros(3, np.int64))


def test_a_rows_loss_is_the_mean_over_its_pieces():
    z = logits()
    each = losses(z.reshape(9, 3), np.maximum(TRUTH, 0).ravel()).reshape(3, 3)
    wanted = [each[0].mean(), each[1, 0], 0.0]
    np.testing.assert_allclose(losses(z, TRUTH), wanted)
    z[1, 1:], z[2] = 1e6, -1e6
    np.testing.assert_allclose(losses(z, TRUTH), wanted, err_msg="padding had a say")


def test_a_row_is_hit_where_all_its_pieces_are():
    sure = np.eye(3, dtype=np.float32)[np.maximum(TRUTH, 0)]
    assert hits(sure, TRUTH).tolist() == [True, True, True]
    sure[0, 2] = [1, 0, 0]
    assert hits(sure, TRUTH).tolist() == [False, True, True]


def test_the_temperature_is_that_of_all_pieces_as_rows():
    z = 4 * logits(1)
    flat = z[TRUTH != NO_PIECE], TRUTH[TRUTH != NO_PIECE]
    assert fit_temperature(z, TRUTH) == pytest.approx(fit_temperature(*flat))


@given(st.integers(0, 6), st.integers(0, 6))
def test_pieces_that_were_not_read_have_even_odds_and_more_than_there_are_do_not_count(one, two):
    z = logits(2)
    wide = widened(z, 3 + one)
    assert wide.shape[1] == 3 + one
    np.testing.assert_allclose(losses(wide, TRUTH), losses(z, TRUTH))
    narrow = widened(z, min(two, 3))
    left = losses(fitting(narrow, TRUTH), TRUTH)
    if two < 3:
        assert left[0] > 0
    if two == 0:
        np.testing.assert_allclose(left[:2], np.log(3))


def test_arrays_of_different_widths_stand_under_one_another():
    one, two = logits(0, 2), logits(1, 4)
    both = under([one, two])
    assert both.shape == (6, 4, 3)
    np.testing.assert_array_equal(both[:3, :2], one)
    assert not both[:3, 2:].any()
    rows = stacked([one[0], two[1]])
    assert rows.shape == (2, 4, 3)
    flat = np.ones((2, 3), np.float32)
    np.testing.assert_array_equal(under([flat, flat]), np.ones((4, 3)))
    np.testing.assert_array_equal(stacked([flat[0], flat[1]]), flat)
    assert fit_to(two, one).shape == one.shape
    assert fit_to(flat, one) is flat


def test_rows_that_were_not_scored_are_found_in_any_form():
    z = logits()
    z[1] = np.nan
    assert rows_scored(z).tolist() == [0, 2]
    assert rows_scored(z[:, 0]).tolist() == [0, 2]
