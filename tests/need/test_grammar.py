"""Criteria: what is printed is read back, and nothing but a clear error comes of the rest."""

import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sartor.need.criterion import Bound, Combine, Compare, Condition, Criterion, Scalar
from sartor.need.grammar import CriterionSyntaxError, parse_criterion

KEYWORDS = {"and", "or", "not", "in", "where", "baseline"}
COMPARISONS = (">=", "<=", ">", "<", "==", "!=")

names = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True).filter(lambda n: n not in KEYWORDS)
numbers = st.floats(0, 1e6, allow_nan=False).map(lambda x: round(x, 6))
labels = st.text(st.characters(exclude_characters="\n", codec="utf-8"), max_size=8)
scalars: st.SearchStrategy[Scalar] = st.one_of(labels, numbers, numbers.map(lambda x: -x))
comparisons = st.sampled_from(COMPARISONS)
memberships = st.builds(
    Compare,
    column=names,
    comparison=st.sampled_from(("==", "!=")),
    value=st.lists(scalars, min_size=1, max_size=3).map(tuple),
)
clauses = st.one_of(
    st.builds(Compare, column=st.one_of(names, labels), comparison=comparisons, value=scalars),
    memberships,
)


def nested(inner: st.SearchStrategy[Condition]) -> st.SearchStrategy[Condition]:
    several = st.lists(inner, min_size=2, max_size=3).map(tuple)
    return st.one_of(
        st.builds(Combine, how=st.sampled_from(("and", "or")), parts=several),
        st.builds(Combine, how=st.just("not"), parts=st.tuples(inner)),
    )


conditions = st.recursive(clauses, nested, max_leaves=6)
parameters = st.lists(
    st.tuples(names, st.one_of(scalars, st.builds(Bound, comparisons, numbers))),
    max_size=3,
    unique_by=lambda pair: pair[0],
).map(tuple)
criteria = st.builds(
    Criterion,
    text=st.just(""),
    metric=names,
    comparison=comparisons,
    threshold=st.one_of(numbers, numbers.map(lambda x: -x)),
    relative_to=st.sampled_from(("", "baseline")),
    parameters=parameters,
    where=st.one_of(st.none(), conditions),
).filter(lambda c: len(printed(c)) <= 500)


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def scalar(value: Scalar) -> str:
    return quoted(value) if isinstance(value, str) else f"{value:.6f}"


def clause(condition: Condition) -> str:
    if isinstance(condition, Combine):
        if condition.how == "not":
            return f"not ({clause(condition.parts[0])})"
        return f" {condition.how} ".join(f"({clause(part)})" for part in condition.parts)
    if isinstance(condition.value, tuple):
        how = "in" if condition.comparison == "==" else "not in"
        return f"{quoted(condition.column)} {how} ({', '.join(map(scalar, condition.value))})"
    return f"{quoted(condition.column)} {condition.comparison} {scalar(condition.value)}"


def parameter(name: str, value: Scalar | Bound) -> str:
    if isinstance(value, Bound):
        return f"{name} {value.comparison} {value.value:.6f}"
    return f"{name}={scalar(value)}"


def printed(criterion: Criterion) -> str:
    inside = [parameter(*pair) for pair in criterion.parameters]
    if criterion.where is not None:
        inside.append(f"where: {clause(criterion.where)}")
    bracket = f"[{', '.join(inside)}]" if inside else ""
    target = f"{criterion.threshold:.6f}"
    if criterion.relative_to:
        sign = "-" if criterion.threshold < 0 else "+"
        target = f"baseline {sign} {abs(criterion.threshold):.6f}"
    return f"{criterion.metric}{bracket} {criterion.comparison} {target}"


def without_text(criterion: Criterion) -> tuple[object, ...]:
    return (
        criterion.metric,
        criterion.comparison,
        criterion.threshold,
        criterion.relative_to,
        criterion.parameters,
        criterion.where,
    )


@given(criteria)
def test_a_printed_criterion_is_read_back_the_same(criterion):
    assert without_text(parse_criterion(printed(criterion))) == without_text(criterion)


FULL_WIDTH = str.maketrans(
    {">": "＞", "<": "＜", "=": "＝", "[": "［", "]": "］", "(": "（", ")": "）", ",": "，"}
    | {":": "：", "%": "％", "+": "＋", "-": "－", ".": "．"}
    | {str(digit): chr(0xFF10 + digit) for digit in range(10)}
)


@pytest.mark.parametrize(
    "text",
    [
        "accuracy >= 0.80",
        "accuracy != 80%",
        "accuracy >= baseline + 3.5%",
        "accuracy >= baseline - 0.03",
        "recall[label=refund] >= 90%",
        "automation_rate[precision >= 0.97] >= 0.5",
        "accuracy[where: lang in (zh, en) and not (age < 3 or vip == yes)] >= 0.8",
    ],
)
def test_full_width_signs_and_digits_mean_what_their_ascii_twins_mean(text):
    wide = text.translate(FULL_WIDTH)
    assert wide != text
    assert without_text(parse_criterion(wide)) == without_text(parse_criterion(text))


@pytest.mark.parametrize(("sign", "meaning"), [("≥", ">="), ("≤", "<="), ("≠", "!=")])
def test_mathematical_signs_are_comparisons(sign, meaning):
    assert parse_criterion(f"accuracy {sign} 0.8").comparison == meaning


@pytest.mark.parametrize(
    ("written", "label"),
    [
        ('"退款 申请"', "退款 申请"),
        ("退款", "退款"),
        ("“退款”", "退款"),
        ('‘a"b’', 'a"b'),
        ('"don’t know"', "don’t know"),
        ('"他说“好”"', "他说“好”"),
        ('"全额（含税）：是，否％"', "全额（含税）：是，否％"),
        (r'"a\"＞b"', 'a"＞b'),
        (r'"C:\\temp"', r"C:\temp"),
        ("'it\"s'", 'it"s'),
        ("类别１", "类别１"),
        ('"１"', "１"),
        ('"no"', "no"),
        ("no", "no"),
        ("no-reply", "no-reply"),
        ("billing/refund", "billing/refund"),
        ("1st", "1st"),
        ('""', ""),
        ('"😀 ] >= 1"', "😀 ] >= 1"),
    ],
)
def test_a_label_keeps_every_character_it_was_written_with(written, label):
    assert parse_criterion(f"recall[label={written}] ≥ 0.9").parameter("label") == label


def test_percent_divides_by_a_hundred_wherever_a_number_stands():
    criterion = parse_criterion("automation_rate[precision >= 97 %] >= 50%")
    assert criterion.parameter("precision") == Bound(">=", 0.97)
    assert criterion.threshold == 0.5


@pytest.mark.parametrize(
    ("target", "margin"),
    [
        ("baseline", 0.0),
        ("baseline + 0.03", 0.03),
        ("baseline+3%", 0.03),
        ("baseline-0.03", -0.03),
        ("baseline - 3 %", -0.03),
        ("baseline-3%", -0.03),
    ],
)
def test_a_margin_over_the_baseline_may_be_written_with_or_without_spaces(target, margin):
    criterion = parse_criterion(f"accuracy >= {target}")
    assert criterion.relative_to == "baseline"
    assert criterion.threshold == pytest.approx(margin)


def test_and_binds_tighter_than_or():
    where = parse_criterion("accuracy[where: a == 1 or b == 2 and c == 3] > 0").where
    assert where == Combine(
        "or",
        (
            Compare("a", "==", 1.0),
            Combine("and", (Compare("b", "==", 2.0), Compare("c", "==", 3.0))),
        ),
    )


def test_keywords_may_name_columns_and_labels_when_quoted():
    where = parse_criterion('accuracy[where: "in" == 3 and "not" in ("and", "or")] > 0').where
    assert isinstance(where, Combine)
    assert where.columns() == {"in", "not"}


def test_brackets_may_be_nested_up_to_a_limit():
    def deep(levels: int) -> str:
        return f"accuracy[where: {'(' * levels}a == 1{')' * levels}] > 0"

    assert parse_criterion(deep(20)).where == Compare("a", "==", 1.0)
    with pytest.raises(CriterionSyntaxError, match="at most 20 levels"):
        parse_criterion(deep(21))
    with pytest.raises(CriterionSyntaxError):
        parse_criterion(f"accuracy[where: {'not ' * 100}a == 1] > 0")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "accuracy",
        "accuracy >=",
        "accuracy >= high",
        "accuracy => 0.8",
        "accuracy >= 0.8 please",
        "accuracy >= 0.8.1",
        "accuracy >= --1",
        "accuracy >= 1e999",
        "accuracy >= " + "9" * 400,
        "accuracy >= nan",
        "accuracy[] >= 0.8",
        "accuracy[label] >= 0.8",
        "accuracy[label=] >= 0.8",
        "accuracy[label=a >= 0.8",
        'accuracy[label="a] >= 0.8',
        "accuracy[label=two words] >= 0.8",
        "accuracy[where lang == zh] >= 0.8",
        "accuracy[where: lang] >= 0.8",
        "accuracy[where: lang in zh] >= 0.8",
        "accuracy[where: lang not == zh] >= 0.8",
        "accuracy[where: (a == 1] >= 0.8",
        "0.8 <= accuracy",
        "__import__('os').system('ls') >= 1",
        "accuracy >= \ud800",
        "accuracy \x00 >= 0.8",
        "accuracy >= 5²",
        "a" * 501,
    ],
)
def test_what_is_no_criterion_is_refused_with_an_example(text):
    with pytest.raises(CriterionSyntaxError) as caught:
        parse_criterion(text)
    assert caught.value.fix


@pytest.mark.parametrize(
    "text",
    [
        "recall[label=a, label=b] >= 0.9",
        "accuracy[where: a == 1, where: b == 2] >= 0.9",
    ],
)
def test_a_parameter_given_twice_is_refused_instead_of_one_being_forgotten(text):
    with pytest.raises(CriterionSyntaxError):
        parse_criterion(text)


def test_the_fault_is_placed_where_the_user_sees_it():
    with pytest.raises(CriterionSyntaxError, match=r"at character 12, found '>='"):
        parse_criterion("accuracy ≥ ≥ 3")


@given(st.text(max_size=80))
def test_no_text_raises_anything_but_a_syntax_error(text):
    with suppress(CriterionSyntaxError):
        parse_criterion(text)


pieces = st.sampled_from(
    [
        *COMPARISONS,
        *KEYWORDS,
        *"[](),:=+-%≥“”\"'",
        "accuracy",
        "0.8",
        "\\",
        " ",
        "１",
        "：",
        "label",
    ]
)


@given(st.lists(pieces, max_size=25).map(" ".join))
def test_no_mix_of_the_grammars_own_words_raises_anything_but_a_syntax_error(text):
    with suppress(CriterionSyntaxError):
        parse_criterion(text)


@pytest.mark.parametrize(
    "text",
    [
        '"' * 499,
        '"' + "\\" * 498,
        "“" + "a\\" * 249,
        "1" * 499,
        "1." * 249,
        "1e" * 249,
        "a.-/" * 124,
        "a " * 249,
        " " * 499 + "!",
        "a[" + "(" * 490,
        "a >= 1" + " " * 490 + "^",
        "'" + "a" * 498,
        "baseline-" * 55,
    ],
)
def test_no_text_within_the_limit_takes_long_to_refuse(text):
    began = time.process_time()
    with pytest.raises(CriterionSyntaxError):
        parse_criterion(text)
    assert time.process_time() - began < 0.2
