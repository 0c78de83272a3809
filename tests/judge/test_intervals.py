import numpy as np
import pytest
from scipy.stats import binomtest

from sartor.judge.checks.classification import Classification
from sartor.judge.intervals import bootstrap, clopper_pearson, interval, spread
from sartor.judge.statistic import difference, mean, proportion
from tests.judge.rows import criteria, flipped, subject

SETS = 400


def coverage(hits: list[bool]) -> float:
    return float(np.mean(hits))


@pytest.mark.parametrize(("k", "n"), [(0, 7), (7, 7), (3, 7), (171, 180), (1, 1)])
def test_clopper_pearson_is_scipys_exact_interval(k, n):
    low, high = clopper_pearson(k, n, 0.05)
    reference = binomtest(k, n).proportion_ci(0.95, "exact")
    assert (float(low), float(high)) == pytest.approx((reference.low, reference.high), abs=1e-9)


def test_clopper_pearson_of_nothing_is_everything():
    low, high = clopper_pearson(0, 0, 0.05)
    assert (float(low), float(high)) == (0.0, 1.0)


@pytest.mark.parametrize(("n", "p"), [(20, 0.97), (60, 0.9), (300, 0.5)])
def test_clopper_pearson_covers_at_least_as_often_as_it_says(n, p):
    k = np.random.default_rng(1).binomial(n, p, 20_000)
    low, high = clopper_pearson(k, np.full_like(k, n), 0.05)
    assert np.mean((low <= p) & (p <= high)) >= 0.948
    assert np.mean(low > p) <= 0.027
    assert np.mean(high < p) <= 0.027


@pytest.mark.parametrize(("right", "wrong"), [(60, 0), (0, 60)])
def test_at_the_edge_the_widened_bootstrap_of_a_proportion_is_clopper_pearson(right, wrong):
    share = proportion(np.array([True] * right + [False] * wrong))
    exact = clopper_pearson(right, right + wrong, 0.05)
    assert bootstrap(share, 0.05, 0, draws=40_000) == pytest.approx(
        tuple(map(float, exact)), abs=3e-3
    )


def test_inside_the_widened_bootstrap_holds_clopper_pearson():
    share = proportion(np.array([True] * 57 + [False] * 3))
    low, high = bootstrap(share, 0.05, 0, draws=40_000)
    exact_low, exact_high = map(float, clopper_pearson(57, 60, 0.05))
    assert exact_low - 0.02 <= low <= exact_low + 0.003
    assert exact_high - 0.003 <= high <= 1.0


def test_many_rows_cost_no_more_than_a_few_and_give_the_normal_interval():
    loss = np.random.default_rng(0).exponential(1.0, 50_000)
    low, high = bootstrap(mean(loss, 0.0, loss.max()), 0.05, 0)
    half = 1.96 * loss.std() / np.sqrt(len(loss))
    assert low == pytest.approx(loss.mean() - half, abs=half / 4)
    assert high == pytest.approx(loss.mean() + half, abs=half / 4)


def test_a_faultless_sample_is_no_certainty_for_any_averaged_metric():
    truth = ["a"] * 40 + ["b"] * 20
    for metric in ("f1_macro", "recall_macro", "precision_weighted"):
        (part,) = Classification().parts(
            criteria(f"{metric} >= 0.9")[0], subject(truth, list(truth))
        )
        low, high = interval(part.statistic, 0.05, 0)
        assert low < 0.96
        assert high == pytest.approx(1.0)


@pytest.mark.parametrize("accuracy", [0.97, 0.8])
def test_the_bootstrap_of_macro_f1_covers_near_one_where_the_percentile_one_fails(accuracy):
    rng = np.random.default_rng(2)
    criterion = criteria("f1_macro >= 0.9")[0]
    shares = {"a": 0.5, "b": 0.3, "c": 0.2}

    def draw(n):
        truth = rng.choice(list(shares), n, p=list(shares.values()))
        return subject([*truth, "a", "b", "c"], [*flipped(truth, accuracy, rng), "a", "b", "c"])

    (population,) = Classification().parts(criterion, draw(100_000))
    true = population.statistic.observed
    inside, below, plain = [], [], []
    for seed in range(SETS):
        (part,) = Classification().parts(criterion, draw(60))
        low, high = interval(part.statistic, 0.05, seed)
        inside.append(low <= true <= high)
        below.append(low > true)
        counts = rng.multinomial(63, part.statistic.counts / 63, 500)
        ends = np.quantile(part.statistic.value(counts @ part.statistic.kinds), [0.025, 0.975])
        plain.append(ends[0] <= true <= ends[1])
    assert coverage(inside) >= 0.94
    assert coverage(below) <= 0.045
    if accuracy == 0.97:
        assert coverage(plain) < 0.92, "the plain bootstrap holds, so the widening is not tested"


def test_the_bootstrap_over_groups_covers_where_rows_alone_would_not():
    rng = np.random.default_rng(3)
    grouped, alone = [], []
    for seed in range(SETS):
        easy = rng.beta(4, 1, 40)  # Each customer has a rate of their own; the mean is 0.8.
        groups = np.repeat([f"customer {i}" for i in range(40)], 8)
        share = proportion(rng.random(320) < np.repeat(easy, 8))
        low, high = bootstrap(share, 0.05, seed, list(groups), draws=800)
        grouped.append(low <= 0.8 <= high)
        low, high = interval(share, 0.05, seed)
        alone.append(low <= 0.8 <= high)
    assert coverage(grouped) >= 0.93
    assert coverage(alone) < 0.9, "rows are as good as independent, so groups are not tested"


@pytest.mark.parametrize(("ours", "theirs"), [(0.9, 0.8), (0.99, 0.97)])
def test_the_paired_interval_of_a_difference_covers(ours, theirs):
    rng = np.random.default_rng(4)
    inside = []
    for seed in range(SETS):
        luck = rng.random(120)  # One draw for both: rows hard for one are hard for the other.
        pair = difference(proportion(luck < ours), proportion(luck < theirs))
        low, high = interval(pair, 0.05, seed)
        inside.append(low <= ours - theirs <= high)
    assert coverage(inside) >= 0.935


def test_pairing_shortens_the_interval():
    rng = np.random.default_rng(5)
    luck = rng.random(400)
    one, other = luck < 0.85, luck < 0.8
    paired = interval(difference(proportion(one), proportion(other)), 0.05, 0)
    shuffled = proportion(rng.permutation(other))
    unpaired = interval(difference(proportion(one), shuffled), 0.05, 0)
    assert paired[1] - paired[0] < 0.7 * (unpaired[1] - unpaired[0])


def test_the_mean_of_a_skewed_loss_is_covered():
    rng = np.random.default_rng(6)
    inside = []
    for seed in range(SETS):
        loss = rng.exponential(0.3, 80)
        found = mean(loss, loss.min(), max(loss.max(), np.log(3)))
        low, high = bootstrap(found, 0.05, seed, draws=800)
        inside.append(low <= 0.3 <= high)
    assert coverage(inside) >= 0.93


def test_a_calibrated_model_is_seldom_called_miscalibrated():
    rng = np.random.default_rng(7)
    above, naive = [], []
    criterion = criteria("calibration_error <= 0.05")[0]
    for seed in range(150):
        sure = rng.uniform(0.5, 1.0, 200)
        truth = np.where(rng.random(200) < sure, "a", "b")
        found = subject([*truth, "b"], ["a"] * 201, probabilities=_two(np.append(sure, 0.5)))
        (part,) = Classification().parts(criterion, found)
        low, _ = bootstrap(part.statistic, 0.05, seed, draws=800)
        above.append(low > 0)
        naive.append(part.statistic.observed > 0.03)
    assert coverage(above) <= 0.07
    assert coverage(naive) > 0.5, "noise alone should push the raw error up"


def test_a_miscalibrated_model_is_noticed():
    rng = np.random.default_rng(8)
    truth = [*np.where(rng.random(300) < 0.7, "a", "b"), "b"]
    found = subject(truth, ["a"] * 301, probabilities=_two(np.full(301, 0.95)))
    (part,) = Classification().parts(criteria("calibration_error <= 0.05")[0], found)
    low, high = interval(part.statistic, 0.05, 0)
    assert 0.15 < low < 0.25 < high


@pytest.mark.parametrize("processes", [6, 7, 12])
def test_processes_enclose_the_median_of_all(processes: int):
    rng = np.random.default_rng(9)
    ends = [spread(rng.gamma(2, 5, processes)) for _ in range(4000)]
    median = np.median(rng.gamma(2, 5, 200_000))
    assert coverage([low <= median <= high for low, high in ends]) >= 0.945


def test_two_slow_processes_in_twelve_do_not_reach_the_interval():
    assert spread(np.array([*range(10), 90.0, 95.0])) == (2, 9)
    assert spread(np.array([*range(5), 90.0])) == (0, 90)
    assert spread(np.array([3.0])) == (3, 3)


def test_the_same_seed_gives_the_same_interval_and_another_one_nearly_so():
    loss = mean(np.random.default_rng(0).exponential(1, 100), 0.0, 5.0)
    assert bootstrap(loss, 0.05, 1) == bootstrap(loss, 0.05, 1)
    assert bootstrap(loss, 0.05, 1) != bootstrap(loss, 0.05, 2)
    assert bootstrap(loss, 0.05, 1) == pytest.approx(bootstrap(loss, 0.05, 2), abs=0.1)


def _two(sure: np.ndarray) -> np.ndarray:
    return np.column_stack([sure, 1 - sure])
