"""Likelihoods by the form of the truth."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sartor.core.likelihood import compete, fit_temperature, hits, losses, marks

Z = np.array([[2.0, 0.0, -1.0], [0.5, 1.5, 1.0], [3.0, -2.0, 0.0]], np.float32)
SOME = np.array([[0, 2], [1, -1], [-1, -1]], np.int64)


def test_any_of_some_right_outputs_is_enough():
    p = np.exp(Z) / np.exp(Z).sum(1, keepdims=True)
    wanted = [-np.log(p[0, 0] + p[0, 2]), -np.log(p[1, 1]), 0.0]
    np.testing.assert_allclose(losses(Z, SOME), wanted, rtol=1e-6)
    assert hits(Z, SOME).tolist() == [True, True, False]


@given(st.lists(st.integers(0, 2), min_size=3, max_size=3))
def test_one_right_output_is_the_same_in_either_form(right):
    one = np.array(right, np.int64)
    np.testing.assert_allclose(losses(Z, one), losses(Z, one[:, None]), rtol=1e-12)
    np.testing.assert_array_equal(hits(Z, one), hits(Z, one[:, None]))
    assert fit_temperature(Z, one) == pytest.approx(fit_temperature(Z, one[:, None]), rel=1e-3)


def test_logits_that_overflow_have_finite_losses():
    huge = np.array([[1e4, -1e4], [-1e4, 1e4]], np.float32)
    found = losses(huge, np.array([[0, -1], [0, -1]], np.int64))
    np.testing.assert_allclose(found, [0.0, 2e4])


def test_the_form_says_whether_outputs_compete():
    yes_or_no = np.array([[1, 0, 1]], np.float32)
    assert [compete(t) for t in (np.array([1]), SOME, yes_or_no)] == [True, True, False]
    np.testing.assert_array_equal(marks(SOME, 3), [[1, 0, 1], [0, 1, 0], [0, 0, 0]])
    np.testing.assert_array_equal(marks(np.array([2, 0]), 3), [[0, 0, 1], [1, 0, 0]])
    np.testing.assert_array_equal(marks(yes_or_no, 3), yes_or_no)
