"""Learning curves: what a few noisy points say of where a loss is going."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sartor.search.curves import Fan, Measured, fit

ROWS = np.array([20.0, 40.0, 80.0, 160.0, 200.0])


def measured(losses: np.ndarray, noise: float, seed: int = 0) -> Measured:
    """Draws around points that were themselves seen with that noise."""
    rng = np.random.default_rng(seed)
    draws = losses + rng.normal(0, noise, (400, len(losses)))
    return Measured(ROWS, np.maximum(draws, 0), np.full(len(losses), noise))


def interval(fan: Fan, target: float) -> tuple[float, float]:
    low, high = np.quantile(fan.reaching(target), [0.1, 0.9], method="inverted_cdf")
    return float(low), float(high)


@pytest.mark.parametrize(
    ("name", "curve", "until"),
    [
        ("a power law", lambda n: 0.05 + 1.2 * n**-0.5, 1500),
        ("a steep power law", lambda n: 0.1 + 6.0 * n**-1.0, 1500),
        ("a flat power law", lambda n: 0.6 * n**-0.2, 1500),
        ("a late one", lambda n: 0.02 + 90.0 * (n + 120) ** -1.2, 1500),
        # Later it is within a thousandth of its floor, which is reached nowhere.
        ("an exponential", lambda n: 0.12 + 0.3 * np.exp(-n / 150), 700),
    ],
)
def test_the_rows_that_reach_a_loss_lie_in_the_interval_as_often_as_it_says(name, curve, until):
    inside = 0
    trials = 60
    for trial in range(trials):
        rng = np.random.default_rng([7, trial])
        truth = rng.uniform(250, until)
        seen = np.maximum(curve(ROWS) + rng.normal(0, 0.01, len(ROWS)), 0)
        low, high = interval(fit(measured(seen, 0.01, trial), seed=trial), curve(truth))
        inside += low <= truth <= high
    assert inside >= 0.75 * trials, f"{name}: {inside} of {trials}"


def test_a_floor_that_lies_above_the_target_is_told_as_never():
    losses = 0.2 + 30.0 * ROWS**-2.0
    fan = fit(measured(losses, 0.002))
    assert interval(fan, 0.05)[0] == np.inf
    assert np.isfinite(fan.reaching(0.21)).mean() > 0.9


def test_more_noise_widens_the_interval():
    losses = 0.05 + 1.2 * ROWS**-0.5
    low, high = interval(fit(measured(losses, 0.002)), 0.1)
    wider_low, wider_high = interval(fit(measured(losses, 0.02)), 0.1)
    assert wider_low < low
    assert wider_high > high


@given(
    st.lists(st.floats(0, 1), min_size=5, max_size=5),
    st.floats(1e-4, 0.2),
    st.floats(0.0, 1.0),
    st.integers(0, 3),
)
def test_curves_never_rise_never_leave_the_bounds_and_reach_what_they_say(
    losses, noise, target, seed
):
    fan = fit(measured(np.array(losses), noise, seed), seed=seed)
    near, far = fan.at(50.0), fan.at(5000.0)
    assert (far <= near + 1e-9).all()
    assert (fan.low >= 0).all()
    assert (fan.height >= 0).all()
    rows = fan.reaching(target)
    assert (rows >= 0).all()
    moved = np.isfinite(rows) & (rows > 1)
    back = np.array(
        [
            fan.at(max(n, 1.0))[i] if m else target
            for i, (n, m) in enumerate(zip(rows, moved, strict=True))
        ]
    )
    np.testing.assert_allclose(back, target, atol=1e-6)


def test_the_same_seed_gives_the_same_curves():
    losses = 0.05 + 1.2 * ROWS**-0.5
    one, other = (fit(measured(losses, 0.01), seed=3) for _ in range(2))
    np.testing.assert_array_equal(one.reaching(0.1), other.reaching(0.1))
