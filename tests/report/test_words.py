"""Numbers read as a person would write them, and never contradict their verdict."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sartor.need.verdict import Verdict
from sartor.report.words import Words, clip, plain

EN, ZH = Words.of("en"), Words.of("zh")


def test_a_value_just_below_its_threshold_does_not_read_as_equal_to_it():
    verdict = Verdict("accuracy >= 0.80", 0.79996, 0.77, 0.82, 620, "unproven")
    assert EN.value(verdict) == "0.79996"
    assert EN.interval(verdict) == "0.77000 – 0.82000"


def test_a_value_equal_to_its_threshold_needs_no_more_decimals():
    assert EN.value(Verdict("accuracy >= 0.80", 0.8, 0.7, 0.9, 9, "unproven")) == "0.800"


@given(
    st.floats(0, 1, allow_subnormal=False).filter(lambda v: abs(v - 0.8) > 1e-6),
)
def test_what_is_printed_stands_on_the_same_side_of_the_threshold_as_what_is_true(value):
    printed = float(EN.value(Verdict("accuracy >= 0.8", value, value, value, 9, "met")))
    assert (printed >= 0.8) == (value >= 0.8)


def test_an_exact_value_has_no_interval_and_an_unmeasured_one_no_value():
    assert EN.interval(Verdict("size_mb <= 60", 31.4, 31.4, 31.4, 0, "met")) == "exact"
    unmeasured = Verdict("latency_p95_ms <= 20", 0.0, 0.0, 0.0, 0, "unproven", note="no bundle")
    assert EN.value(unmeasured) == "not measured"
    assert EN.interval(unmeasured) == ""
    assert EN.value(Verdict("accuracy >= 0.8", math.nan, 0, 1, 9, "unproven")) == "not measured"


@pytest.mark.parametrize(
    ("seconds", "english", "chinese"),
    [
        (0.42, "0.4 s", "0.4 秒"),
        (81.2, "81 s", "81 秒"),
        (402, "6 min 42 s", "6 分 42 秒"),
        (600, "10 min", "10 分钟"),
        (1500, "25 min", "25 分钟"),
        (7260, "2 h 1 min", "2 小时 1 分"),
        (None, "not measured", "未测量"),
    ],
)
def test_durations_are_in_the_unit_a_person_would_choose(seconds, english, chinese):
    assert (EN.seconds(seconds), ZH.seconds(seconds)) == (english, chinese)


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ((15, 25), "15 – 25 s"),
        ((60, 120), "1 – 2 min"),
        ((360, 540), "6 – 9 min"),
        ((5, 200), "5.0 s – 3 min 20 s"),
        ((31, 31), "31 s"),
        (None, "not measured"),
    ],
)
def test_a_range_says_its_unit_once_where_it_can(ends, expected):
    assert EN.durations(ends) == expected


def test_sizes_turn_to_gigabytes_when_large():
    assert EN.range((800, 900), EN.megabytes) == "800 – 900 MB"
    assert EN.range((1700, 1900), EN.megabytes) == "1.7 – 1.9 GB"
    assert EN.range((600, 1800), EN.megabytes) == "600 MB – 1.8 GB"


@pytest.mark.parametrize(
    ("share", "expected"),
    [(0, "0 %"), (0.001, "< 1 %"), (0.93, "93 %"), (0.997, "> 99 %"), (1, "100 %")],
)
def test_nearly_all_never_reads_as_all(share, expected):
    assert EN.percent(share) == expected


def test_only_an_unproven_verdict_says_what_would_decide():
    open_ = Verdict("recall[label=refund] >= 0.9", 0.91, 0.8, 0.97, 69, "unproven", (110, 190))
    assert EN.decides(open_) == "110 – 190 more labelled rows would decide"
    assert EN.decides(Verdict("accuracy >= 0.8", 0.9, 0.85, 0.95, 620, "met", (1, 2))) == ""


def test_remarks_of_the_judge_are_translated_part_by_part_with_their_numbers():
    fixed = "no row of the test set is in this slice"
    assert ZH.remark(f"as it is 1; {fixed}") == "as it is 1; 测试集中没有这一部分的样本"
    assert ZH.remark("this machine, batch 1, 2 threads") == "本机，批大小 1，2 个线程"
    assert EN.remark("this machine, batch 1, 2 threads") == "this machine, batch 1, 2 threads"
    assert ZH.remark("") == ""


def test_a_time_that_is_no_time_is_shown_as_it_is():
    assert EN.moment("2026-11-03T09:14:02+00:00") == "2026-11-03 09:14:02 UTC"
    assert EN.moment("yesterday") == "yesterday"


@given(st.text(st.characters(codec=None), max_size=40))
def test_plain_text_can_be_written_and_holds_no_control_character(text):
    shown = plain(text)
    shown.encode("utf-8")
    assert len(shown) == len(text)
    assert not any((c < " " and c not in "\t\n\r") or c == "\x7f" for c in shown)


@given(st.text(max_size=40), st.integers(1, 30))
def test_a_clipped_text_fits(text, length):
    assert len(clip(text, length)) <= length
