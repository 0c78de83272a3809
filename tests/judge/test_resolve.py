import pytest

from sartor.core.errors import NeedError
from sartor.judge.resolve import Rows, bind, metrics, rows_where, slice_columns, words
from tests.judge.rows import criteria, subject

COLUMNS = {"text": ("x", "y"), "lang": ("zh", "en"), "label": ("refund", "other")}


def bound(*texts, has_baseline=False, outputs=("refund", "other")):
    return bind(
        criteria(*texts),
        file="need.yaml",
        outputs=outputs,
        rows=Rows(COLUMNS, has_baseline),
    )


def test_good_criteria_find_their_checks():
    found = bound(
        "accuracy >= 0.8",
        "recall[label=refund] >= 0.9",
        "f1_macro >= 85%",
        'accuracy[where: lang == "zh"] >= 0.7',
        "automation_rate[precision >= 0.97] >= 0.6",
        "accuracy >= baseline + 0.03",
        "accuracy >= baseline - 0.01",
        "latency_p95_ms <= 20",
        "throughput_per_s >= 50",
        "size_mb <= 60",
        "log_loss <= 0.5",
        "calibration_error <= 0.05",
        has_baseline=True,
    )
    assert [type(binding.check).__name__ for binding in found[6:10]] == [
        "Classification",
        "Latency",
        "Latency",
        "Size",
    ]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("acuracy >= 0.8", "did you mean 'accuracy'"),
        ("recall[label=refnd] >= 0.9", "did you mean 'refund'"),
        ("recall >= 0.9", r"recall\[label=refund\]"),
        ("recall[label=refund] >= 1.2", "cannot be met"),
        ("accuracy >= 85", "85 % is written 0.85"),
        ("accuracy >= 1", "no finite number of rows"),
        ("accuracy <= 0", "cannot be met"),
        ("accuracy == 0.8", "use >= or <="),
        ("log_loss <= 0", "cannot be met"),
        ("latency_p95_ms <= 0", "above 0 for every bundle"),
        ("size_mb <= 0", "above 0 for every bundle"),
        ("latency_p95_ms <= baseline", "has no latency_p95_ms"),
        ("log_loss <= baseline", "have no log_loss"),
        ("accuracy >= baseline + 1.5", "margin between -1 and 1"),
        ("accuracy >= baseline + 0.03", "data.baseline"),
        ("accuracy[label=refund] >= 0.9", "takes no parameter 'label'"),
        ("size_mb[label=refund] <= 60", "takes no parameter 'label'"),
        ("automation_rate[precision >= 1.5] >= 0.5", "cannot be shown"),
        ("automation_rate[precision=0.9] >= 0.5", "not written that way"),
        ('accuracy[where: lng == "zh"] >= 0.7', "did you mean 'lang'"),
        ('accuracy[where: lang == "fr"] >= 0.7', 'no row has lang == "fr"'),
        ('latency_p95_ms[where: lang == "zh"] <= 20', "not to some of the rows"),
    ],
)
def test_a_criterion_that_cannot_be_measured_is_refused_with_the_way_out(text, what):
    with pytest.raises(NeedError, match=what):
        bound(text)


def test_only_the_users_own_columns_are_offered():
    with pytest.raises(NeedError) as caught:
        bound('accuracy[where: nowhere == "zh"] >= 0.7')
    assert "lang" in caught.value.fix
    assert "__" not in caught.value.fix


def test_all_faults_are_reported_at_once_with_their_lines():
    with pytest.raises(NeedError) as caught:
        bound("acuracy >= 0.8", "accuracy >= 0.8", "recall[label=refnd] >= 1.2", "size_mb <= -1")
    assert [fault.line for fault in caught.value.faults] == [1, 3, 4]
    assert all(fault.fix for fault in caught.value.faults)


def test_a_label_that_reads_as_a_number_is_still_a_label():
    assert bound("recall[label=1] >= 0.5", outputs=("0", "1"))
    with pytest.raises(NeedError, match="no label is called '2'"):
        bound("recall[label=2] >= 0.5", outputs=("0", "1"))


def test_a_slice_reads_the_users_columns_and_the_target():
    columns = slice_columns(subject(["a", "b"], ["a", "a"], extra={"n": [1, 20]}).examples)
    condition = criteria('accuracy[where: n > 5 and not (label in ("a", "c"))] >= 0.5')[0].where
    assert rows_where(condition, columns) == [1]
    assert rows_where(None, columns) == [0, 1]


def test_a_condition_is_written_out_as_a_person_would():
    (criterion,) = criteria('accuracy[where: lang in (zh, en) and (n > 5 or not a == "b")] >= 0.5')
    assert words(criterion.where) == 'lang in (zh, en) and (n > 5 or (not (a == "b")))'


def test_every_metric_says_what_it_means():
    assert {"accuracy", "latency_p95_ms", "size_mb"} <= set(metrics())
    assert all(metrics().values())
