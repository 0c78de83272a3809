"""The decision rule: calibrated, moved towards the criteria, and silent where it is not sure."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from scipy.stats import beta

from sartor.core.likelihood import fit_temperature
from sartor.need.grammar import parse_criterion
from sartor.tasks._decision.abstaining import pick_threshold
from sartor.tasks._decision.logits import softmax
from sartor.tasks._decision.margins import counted
from sartor.tasks.text_classification.settling import fit_weights

OUTPUTS = ["refund", "invoice", "other"]


def drawn(seed: int, rows: int = 600, scale: float = 1.0):
    """Rows whose true class was drawn from softmax(logits): temperature `scale` fits them."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 2, (rows, 3)) + np.array([0.0, 0.5, 1.5])
    chances = softmax(logits)
    truth = np.array([random.choice(3, p=row) for row in chances])
    return logits * scale, truth


@pytest.mark.parametrize("scale", [0.2, 1.0, 3.0, 10.0])
@pytest.mark.parametrize("seed", range(3))
def test_the_temperature_is_the_one_scipy_finds(scale, seed):
    logits, truth = drawn(seed, 300, scale)

    def loss(log_t: float) -> float:
        z = log_softmax(logits / np.exp(log_t), axis=1)
        return -z[np.arange(len(truth)), truth].mean()

    bounds = (np.log(0.05), np.log(20))
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-9})
    assert fit_temperature(logits, truth) == pytest.approx(np.exp(found.x), rel=1e-4)


@pytest.mark.parametrize("scale", [0.3, 1.0, 4.0])
def test_the_temperature_undoes_overconfidence(scale):
    logits, truth = drawn(0, 4000, scale)
    assert fit_temperature(logits, truth) == pytest.approx(scale, rel=0.1)


@pytest.mark.parametrize(
    ("logits", "truth", "expected"),
    [
        (np.zeros((0, 3)), [], 1.0),
        (np.eye(3), [0, 1, 2], 0.05),
        (np.eye(3), [1, 2, 0], 20.0),
    ],
)
def test_the_temperature_stays_within_its_bounds(logits, truth, expected):
    found = fit_temperature(logits.astype(np.float32), np.array(truth, np.intp))
    assert found == pytest.approx(expected, rel=1e-4)


def test_the_largest_float32_logits_have_a_temperature():
    logits = np.array([[3e38, -3e38], [-3e38, 3e38]], np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert 0.05 <= fit_temperature(logits, np.array([0, 0])) <= 20.001


def recall(probabilities, weights, truth, index: int) -> float:
    best = (probabilities * weights).argmax(1)
    return float((best[truth == index] == index).mean())


@pytest.mark.parametrize(
    "criteria",
    [
        [],
        ["accuracy >= 0.99"],
        ["f1_macro >= 0.99"],
        ["recall[label=nobody] >= 0.99"],
        ["recall[label=refund] >= baseline + 0.1"],
        ['recall[label=refund, where: lang == "zh"] >= 0.9'],
        ["latency_p95_ms <= 20"],
    ],
)
def test_every_weight_is_one_when_no_criterion_asks_for_a_label(criteria):
    logits, truth = drawn(1)
    asked = [parse_criterion(text) for text in criteria]
    assert fit_weights(softmax(logits), truth, OUTPUTS, asked).tolist() == [1.0, 1.0, 1.0]


def test_what_holds_anyway_costs_no_accuracy():
    logits, truth = drawn(1)
    chances = softmax(logits)
    asked = [parse_criterion("recall[label=other] >= 0.1")]
    best = (chances * fit_weights(chances, truth, OUTPUTS, asked)).argmax(1)
    assert (best == truth).mean() >= (chances.argmax(1) == truth).mean()


@pytest.mark.parametrize("seed", range(4))
def test_the_weights_reach_the_recall_asked_for_and_move_only_that_label(seed):
    logits, truth = drawn(seed)
    chances = softmax(logits)
    before = recall(chances, np.ones(3), truth, 0)
    assert before < 0.9, "otherwise there is nothing to move"
    asked = [parse_criterion("recall[label=refund] >= 0.9")]
    weights = fit_weights(chances, truth, OUTPUTS, asked)
    assert recall(chances, weights, truth, 0) >= 0.9
    assert weights[0] > 1
    assert weights[1:].tolist() == [1.0, 1.0]


def test_no_more_accuracy_is_paid_than_the_recall_needs():
    logits, truth = drawn(0, 2000)
    chances = softmax(logits)
    costs = []
    for threshold in (0.75, 0.85, 0.95):
        asked = [parse_criterion(f"recall[label=refund] >= {threshold}")]
        best = (chances * fit_weights(chances, truth, OUTPUTS, asked)).argmax(1)
        costs.append((best != truth).mean())
    assert costs == sorted(costs)
    assert costs[0] < costs[-1] - 0.05


def test_precision_moves_the_weight_the_other_way():
    logits, truth = drawn(0, 2000)
    chances = softmax(logits)
    asked = [parse_criterion("precision[label=refund] >= 0.8")]
    weights = fit_weights(chances, truth, OUTPUTS, asked)
    best = (chances * weights).argmax(1)
    assert weights[0] < 1
    assert (truth[best == 0] == 0).mean() >= 0.8


@pytest.mark.parametrize("outputs", [["1", "3", "5"], ["1.0", "3.0", "5.0"]])
def test_a_label_that_is_a_number_is_found(outputs):
    logits, truth = drawn(0)
    asked = [parse_criterion("recall[label=1] >= 0.9")]
    weights = fit_weights(softmax(logits), truth, outputs, asked)
    assert weights[0] > 1


def test_a_label_without_rows_or_answers_breaks_nothing():
    logits, truth = drawn(0)
    truth = np.where(truth == 0, 1, truth)
    asked = [parse_criterion(f"{m}[label=refund] >= 0.9") for m in ("recall", "precision")]
    weights = fit_weights(softmax(logits), truth, OUTPUTS, asked)
    assert np.isfinite(weights).all()
    assert (weights > 0).all()


def test_a_rule_chosen_on_many_rows_keeps_the_margin_that_few_test_rows_need():
    """Four thousand rows know a recall to a point; a test set of two hundred does not prove it."""
    logits, truth = drawn(0, 4000)
    chances = softmax(logits)
    asked = [parse_criterion("recall[label=refund] >= 0.8")]
    fresh, labels = drawn(1, 20_000)
    fresh, random = softmax(fresh), np.random.default_rng(0)

    def proven(weights) -> float:
        right = (fresh * weights).argmax(1)[labels == 0] == 0
        hits = random.binomial(70, right.mean(), 2000)
        return float((beta.ppf(0.025, np.maximum(hits, 1), 71 - hits) >= 0.8).mean())

    many = fit_weights(chances, truth, OUTPUTS, asked)
    few = fit_weights(chances, truth, OUTPUTS, asked, counted(4000, 200))
    assert proven(few) > 0.9
    assert proven(many) < 0.5
    assert counted(4000, 0) == counted(4000, 4000) == counted(4000, 9000) == 1.0


def test_an_abstention_threshold_chosen_on_many_rows_does_too():
    random = np.random.default_rng(0)
    fresh, right = answers(random, 200_000)
    confidence, known = answers(random, 20_000)
    tested = []
    for count in (1.0, counted(20_000, 500)):
        threshold = pick_threshold(confidence, known, 0.92, 0.3, count)
        rows = random.integers(0, len(fresh), (2000, 500))
        answered = fresh[rows] >= threshold
        hits, n = (answered & right[rows]).sum(1), answered.sum(1)
        low = beta.ppf(0.025, hits, n - hits + 1)
        tested.append(float((low >= 0.92).mean()))
    assert tested[0] < 0.3 < 0.8 < tested[1]


def answers(random: np.random.Generator, rows: int):
    """Confidences that are honest: a row is right with the probability it states."""
    confidence = random.beta(6, 0.8, rows)
    return confidence, random.random(rows) < confidence


@pytest.mark.parametrize("precision", [0.92, 0.95])
def test_the_abstention_threshold_keeps_the_precision_on_fresh_rows(precision):
    random = np.random.default_rng(0)
    fresh, right = answers(random, 200_000)
    kept, answered = [], []
    for _ in range(200):
        threshold = pick_threshold(*answers(random, 600), precision, 0.3)
        kept.append(right[fresh >= threshold].mean() >= precision)
        answered.append((fresh >= threshold).mean())
    assert np.mean(kept) >= 0.9, "95 % for one look, and the best of many looks is taken"
    assert np.mean(answered) > 0.3, "answering nothing would keep any precision"


@given(st.lists(st.tuples(st.sampled_from([0.5, 0.6, 0.9, 1.0]), st.booleans()), max_size=120))
def test_rows_of_equal_confidence_are_answered_together(rows):
    confidence = np.array([c for c, _ in rows])
    right = np.array([r for _, r in rows], bool)
    threshold = pick_threshold(confidence, right, 0.8, 0.0)
    answered = confidence >= threshold
    shown = [c for c in set(confidence) if lower(right[confidence >= c]) >= 0.8]
    if shown:
        assert lower(right[answered]) >= 0.8
        assert answered.sum() == (confidence >= min(shown)).sum()


def lower(right: np.ndarray) -> float:
    """Wilson's lower end, one-sided 95 %, in its other form: the root of a quadratic."""
    n, k = len(right), right.sum()
    z = 1.645
    centre, spread = k + z * z / 2, z * np.sqrt(k * (n - k) / n + z * z / 4)
    return float((centre - spread) / (n + z * z))


def test_wrong_answers_that_are_as_sure_as_right_ones_are_not_hidden_by_their_order():
    confidence = np.repeat([1.0, 0.9, 0.9], [50, 50, 100])
    right = np.repeat([True, True, False], [50, 50, 100])
    threshold = pick_threshold(confidence, right, 0.8, 0.0)
    assert threshold == 1.0, "a threshold of 0.9 would answer the hundred wrong rows too"


def test_everything_is_answered_where_everything_is_right():
    assert pick_threshold(np.linspace(0.4, 1, 300), np.ones(300, bool), 0.95, 0.5) == 0.0


@pytest.mark.parametrize("coverage", [0.0, 0.3, 1.0, 7.0])
def test_where_the_precision_cannot_be_shown_the_asked_share_is_answered(coverage):
    confidence = np.linspace(0.01, 1, 100)
    threshold = pick_threshold(confidence, np.zeros(100, bool), 0.9, coverage)
    wanted = max(1, min(100, round(coverage * 100)))
    assert (confidence >= threshold).sum() == wanted


def test_no_rows_mean_no_threshold():
    assert pick_threshold(np.zeros(0), np.zeros(0, bool), 0.9, 0.5) == 0.0


def test_the_threshold_is_moved_to_where_mistakes_cost_least():
    logits, truth = drawn(3, 2000)
    chances = softmax(logits)
    (criterion,) = [parse_criterion("expected_cost[label=refund, miss=9] <= 0.01")]
    weights = fit_weights(chances, truth, OUTPUTS, [criterion])

    def cost(weights) -> float:
        said, true = (chances * weights).argmax(1) == 0, truth == 0
        return float((9 * (true & ~said) + (said & ~true)).mean())

    assert weights[0] > 1
    assert cost(weights) < 0.8 * cost(np.ones(3))
    # A miss that costs nothing is no reason to say the label at all.
    (criterion,) = [parse_criterion("expected_cost[label=refund, miss=0] <= 0.001")]
    assert fit_weights(chances, truth, OUTPUTS, [criterion])[0] < 1
