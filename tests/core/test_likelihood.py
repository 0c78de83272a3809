"""The form of a truth says its likelihood; numbers are Gaussian, in the truth's own deviation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from sartor.core.likelihood import fit_temperature, form, hits, known, losses, marks, unknown
from sartor.core.strata import counted_under, strata

RNG = np.random.default_rng(0)
TRUTH = RNG.normal(3, 2, 400).astype(np.float32)
SAID = (TRUTH + RNG.normal(0, 0.7, 400)).astype(np.float32)[:, None]


def test_a_number_is_as_likely_as_the_gaussian_that_fits_the_errors():
    spread = np.sqrt(((SAID[:, 0] - TRUTH) ** 2).mean())
    density = norm.logpdf(TRUTH, SAID[:, 0], spread) + np.log(TRUTH.std())
    np.testing.assert_allclose(losses(SAID, TRUTH), -density, rtol=1e-4, atol=1e-4)


def test_the_loss_does_not_depend_on_the_unit_and_falls_with_the_error():
    np.testing.assert_allclose(losses(SAID * 1e3, TRUTH * 1e3), losses(SAID, TRUTH), rtol=1e-3)
    nearer = (SAID + TRUTH[:, None]) / 2
    assert losses(nearer, TRUTH).mean() < losses(SAID, TRUTH).mean() - 0.5
    blind = np.full_like(SAID, TRUTH.mean())
    assert losses(blind, TRUTH).mean() == pytest.approx(0.5 * np.log(2 * np.pi) + 0.5, abs=1e-4)
    assert np.isfinite(losses(TRUTH[:, None], TRUTH)).all()


def test_a_number_has_no_temperature_and_is_right_within_half_a_deviation():
    assert fit_temperature(SAID, TRUTH) == 1.0
    apart = np.abs(SAID[:, 0] - TRUTH) / TRUTH.std()
    assert (hits(SAID, TRUTH) == (apart <= 0.5)).all()


def test_rows_without_a_truth_are_told_in_each_form():
    forms = {
        "label": np.array([0, 1, 2]),
        "labels": np.array([[0, 1], [1, 1], [0, 0]], np.float32),
        "number": np.array([-1.0, 0.0, 5.5], np.float32),
        "pieces": np.array([[0, 1], [2, -1], [1, 1]]),
        "any": np.array([[[0, 1]], [[2, -1]], [[1, 0]]]),
        "asked": np.array([[0, 1], [2, 0], [1, 1]], np.uint32),
    }
    for name, truth in forms.items():
        assert form(truth) == name
        # −1 is a number like any other.
        assert known(truth).all()
        assert not known(unknown(4, truth)).any()
        assert unknown(4, truth).shape == (4, *truth.shape[1:])


def test_numbers_are_counted_under_parts_of_their_range():
    names = [each for (each,) in counted_under([float(n) for n in range(200)])]
    assert len(set(names)) == 10
    assert names[0] == "0 – 19"
    assert names == strata([float(n) for n in range(200)])
    # Equal numbers stay together, however many there are.
    few = counted_under([1.0] * 90 + [2.0] * 10)
    assert {each for (each,) in few} == {"1 – 1", "2 – 2"}
    assert strata(["a", "b"]) == ["a", "b"]
    assert strata([("a", "b"), ("a",), ()]) == ["b", "a", ""]


Z = np.array([[2.0, 0.0, -1.0], [0.5, 1.5, 1.0], [3.0, -2.0, 0.0]], np.float32)
SOME = np.array([[[0, 2]], [[1, -1]], [[-1, -1]]], np.int64)


def test_any_of_some_right_outputs_is_enough():
    p = np.exp(Z) / np.exp(Z).sum(1, keepdims=True)
    wanted = [-np.log(p[0, 0] + p[0, 2]), -np.log(p[1, 1]), 0.0]
    np.testing.assert_allclose(losses(Z, SOME), wanted, rtol=1e-6)
    assert hits(Z, SOME).tolist() == [True, True, False]


def test_of_outputs_that_are_asked_no_other_counts():
    asked = np.array([[0, 1], [2, 0], [1, 1]], np.uint32)
    p = 1 / (1 + np.exp(-Z[np.arange(3), [0, 2, 1]].astype(float)))
    np.testing.assert_allclose(losses(Z, asked), -np.log([p[0], 1 - p[1], p[2]]), rtol=1e-6)
    assert hits(Z, asked).tolist() == [True, False, False]
    assert marks(asked, 3).tolist() == [[1, 0, 0], [0, 0, 0], [0, 1, 0]]
    rng = np.random.default_rng(0)
    z = rng.normal(size=(4_000, 2)).astype(np.float32)
    truth = np.stack([np.arange(4_000) % 2, np.zeros(4_000)], 1).astype(np.uint32)
    drawn = rng.random(4_000) < 1 / (1 + np.exp(-z[np.arange(4_000), truth[:, 0]]))
    truth[:, 1] = drawn
    assert fit_temperature(3 * z, truth) == pytest.approx(3, rel=0.1)


@given(st.lists(st.integers(0, 2), min_size=3, max_size=3))
def test_one_right_output_is_the_same_in_either_form(right):
    one = np.array(right, np.int64)
    np.testing.assert_allclose(losses(Z, one), losses(Z, one[:, None, None]), rtol=1e-12)
    np.testing.assert_array_equal(hits(Z, one), hits(Z, one[:, None, None]))
    assert fit_temperature(Z, one) == pytest.approx(
        fit_temperature(Z, one[:, None, None]), rel=1e-3
    )


def test_logits_that_overflow_have_finite_losses():
    huge = np.array([[1e4, -1e4], [-1e4, 1e4]], np.float32)
    found = losses(huge, np.array([[[0, -1]], [[0, -1]]], np.int64))
    np.testing.assert_allclose(found, [0.0, 2e4])


def test_right_outputs_are_marked_in_every_form_of_labels():
    yes_or_no = np.array([[1, 0, 1]], np.float32)
    np.testing.assert_array_equal(marks(SOME, 3), [[1, 0, 1], [0, 1, 0], [0, 0, 0]])
    np.testing.assert_array_equal(marks(np.array([2, 0]), 3), [[0, 0, 1], [1, 0, 0]])
    np.testing.assert_array_equal(marks(yes_or_no, 3), yes_or_no)
