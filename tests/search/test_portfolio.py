"""What a need gives methods stands in the place of their own settings."""

import pytest

from sartor.core.errors import NeedError, SettingError
from sartor.core.types import Backbone
from sartor.need.file import parse_need
from sartor.need.model import Preferences
from sartor.search.estimates import Work
from sartor.search.judging import roles_of
from sartor.search.portfolio import (
    check_given,
    check_given_to_writers,
    given_to,
    known_to,
    over,
)
from sartor.search.rungs import Aim, build_rungs
from sartor.search.space import Space

TASK = "text_classification"
NEED = """name: n
task: text_classification
data: {train: a.csv, text: text, label: label}
accept: [accuracy >= 0.8]
"""


def given(settings: dict[str, object], *methods: str) -> list[str]:
    return check_given(Preferences(settings=settings), "need.yaml", TASK, methods)


def test_what_is_given_is_tried_in_the_place_of_the_portfolios_own() -> None:
    backbone = Backbone("tiny", "folder", "", "0" * 64, "MIT", ("en",), 1_000_000, 2, 64)
    settings = {"dropout": 0.3, "full": {"epochs": 2, "thaw": 0.5}, "lora": {"rank": 2}}
    rungs, dropped = build_rungs(
        [backbone],
        ["head", "full", "lora"],
        Aim(TASK, 0, given=settings),
        lambda b, layer: Work(1000, 100, 0, 100.0),
    )
    assert not dropped
    head, full, lora = rungs
    assert all("dropout" not in each.settings for each in head.candidates)
    assert {each.settings["epochs"] for each in full.candidates} == {2}
    assert {each.settings["thaw"] for each in full.candidates} == {0.5}
    assert all(each.settings["dropout"] == 0.3 for each in (*full.candidates, *lora.candidates))
    assert {each.settings["rank"] for each in lora.candidates} == {2}
    assert len({each.key for each in full.candidates}) == len(full.candidates)


def test_nothing_is_tried_twice() -> None:
    assert over([{"lr": 1.0, "epochs": 1}, {"lr": 2.0, "epochs": 1}], {"lr": 3.0}) == [
        {"lr": 3.0, "epochs": 1}
    ]


def test_a_search_leaves_what_is_given_alone() -> None:
    fixed = given_to({"lora": {"lr": 1e-3}}, "lora", known_to("lora", TASK))
    assert "lr" in Space.of(TASK, "lora").dimensions
    assert "lr" not in Space.of(TASK, "lora", fixed).dimensions


@pytest.mark.parametrize(
    ("settings", "what", "fix"),
    [
        ({"rdrop": 1}, "'rdrop', which no method has", "r_drop"),
        ({"lorra": {"rank": 4}}, "'lorra', which is no method", "lora"),
        ({"lora": {"rnk": 4}}, "'lora' has no setting 'rnk'", "rank"),
        ({"r_drop": -1}, "for full: setting r_drop=-1", "default is 0.0"),
        ({"dropout": "much"}, "dropout='much'", "under its name"),
    ],
)
def test_what_cannot_be_is_refused_by_name(
    settings: dict[str, object], what: str, fix: str
) -> None:
    with pytest.raises(SettingError) as raised:
        given(settings, "head", "full", "lora")
    assert what in raised.value.what
    assert fix in raised.value.fix


def test_what_the_ladder_has_no_use_for_is_told() -> None:
    assert given({"r_drop": 1.0}, "head") == [
        "prefer.settings.r_drop is not read: no method of the ladder has it."
    ]
    assert given({"lora": {"rank": 4}}, "head") == [
        "prefer.settings.lora is not read: that method is not on the ladder."
    ]
    assert given({"r_drop": 1.0, "lora": {"rank": 4}}, "head", "lora") == []


def test_a_method_that_asks_takes_none() -> None:
    with pytest.raises(SettingError, match="has no settings") as raised:
        given({"prompted": {"examples": 4}}, "prompted")
    assert "prefer.llm" in raised.value.fix


def test_writers_have_settings_of_their_own() -> None:
    def check(settings: dict[str, object]) -> list[str]:
        prefer = Preferences(settings=settings)
        return check_given_to_writers(prefer, "need.yaml", ["nearest", "lora"])

    assert check({"lora": {"rank": 4}, "epochs": 2}) == []
    with pytest.raises(SettingError, match="no method has"):
        check({"r_dropp": 1})


@pytest.mark.parametrize("held", ["{a: {b: 1}}", "[[1]]", "{a: [{}]}", ".inf", "[1.0, .nan]"])
def test_a_value_is_one_or_a_list(held: str) -> None:
    text = f"{NEED}prefer: {{settings: {{r_drop: {held}}}}}\n"
    with pytest.raises(NeedError, match="r_drop") as raised:
        parse_need(text, "need.yaml", roles_of)
    assert raised.value.faults[0].line == 5
