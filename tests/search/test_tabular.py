"""What a run asks and tells of columns before anything is fitted."""

import numpy as np
import pytest

from sartor.core.columns import TableCode
from sartor.core.errors import SettingError
from sartor.core.texts import Cells, cells_of
from sartor.core.types import Backbone, Examples
from sartor.need.file import parse_need
from sartor.search.estimates import Work
from sartor.search.judging import roles_of
from sartor.search.rungs import Aim, build_rungs, method_order
from sartor.search.suiting import unfit
from sartor.search.tabular import NOTHING, doubts, refuse_unread

NEED = "{name: n, task: tabular_text, data: {train: t.csv, columns: [a], label: l}, accept: [x > 1]"
COUNT = 200


def rows(**columns) -> Examples:
    table = [
        Cells.of(dict(zip(columns, row, strict=True)))
        for row in zip(*columns.values(), strict=True)
    ]
    target = tuple("yes" if i % 3 else "no" for i in range(COUNT))
    return Examples(tuple(map(str, range(COUNT))), {"columns": tuple(table)}, target)


def told(kinds, **columns) -> list[str]:
    train = rows(**columns)
    return list(doubts(TableCode.fit(cells_of(train.texts), kinds), train))


def test_a_column_that_gives_the_label_away_is_told_and_noise_is_not():
    draw = np.random.default_rng(0)
    number = {"a": "number"}
    noise = draw.normal(size=COUNT).tolist()
    assert told(number, a=noise) == []
    leak = [2.0 * bool(i % 3) + 0.1 * x for i, x in enumerate(noise)]
    (said,) = told(number, a=leak)
    assert "AUC" in said
    # A gap may give it away too.
    (said,) = told(number, a=[None if i % 3 else x for i, x in enumerate(noise)])
    assert "alone tells" in said
    words = draw.choice(["x", "y", "z"], COUNT).tolist()
    assert told({"a": "category"}, a=words) == []
    (said,) = told({"a": "category"}, a=["paid" if i % 3 else "owed" for i in range(COUNT)])
    assert "alone tells" in said


def test_ids_texts_and_constants_are_told():
    category = {"a": "category"}
    (said,) = told(category, a=[f"n{i}" for i in range(COUNT)])
    assert "an id" in said
    (said,) = told(
        category, a=[f"the customer told us a long story about case {i}" for i in range(COUNT)]
    )
    assert "data.text" in said
    (said,) = told({"a": "number"}, a=[1] * COUNT)
    assert "one value" in said


def test_columns_have_a_ladder_of_their_own_and_others_none_of_it():
    assert method_order(None, task="tabular_text") == ["columns", "boosting", "fusion"]
    assert not {"columns", "boosting", "fusion"} & set(method_order(None, llm=True))
    assert "reads columns" in unfit("boosting", "text_classification")
    assert "rows of tabular_text hold columns" in unfit("lora", "tabular_text")
    assert "names none" in unfit("fusion", "tabular_text", text=False)
    assert unfit("fusion", "tabular_text") == ""


def test_columns_alone_are_one_rung_whatever_the_backbones():
    backbones = [
        Backbone(name, "folder", "", name * 64, "MIT", ("en",), 10**8, 6, 384) for name in "ab"
    ]
    work = Work(1000, 100, 1100, 100.0, 20.0)
    aim = Aim("tabular_text", 0)
    found, dropped = build_rungs(
        backbones, method_order(None, task="tabular_text"), aim, lambda *_: work
    )
    assert [(r.name, r.candidates[0].backbone) for r in found] == [
        ("columns", "a"), ("boosting", "a"), ("fusion", "a"), ("fusion", "b")
    ]  # fmt: skip
    assert not dropped
    assert found[0].estimate.size_mb.high < 1
    aim = Aim("tabular_text", 0, text=False)
    found, dropped = build_rungs(
        [NOTHING], method_order(None, task="tabular_text"), aim, lambda *_: work
    )
    assert [r.name for r in found] == ["columns", "boosting"]
    assert [d.rung for d in dropped] == ["fusion"]


@pytest.mark.parametrize("prefer", ["llm: smollm2", "pretrain: mlm", "long_texts: windows"])
def test_what_is_for_texts_alone_is_refused(prefer):
    text = f"{NEED}, prefer: {{{prefer}}}}}"
    with pytest.raises(SettingError, match=prefer.split(":")[0]):
        refuse_unread(parse_need(text, "need.yaml", roles_of), "need.yaml")
    refuse_unread(parse_need(NEED + "}", "need.yaml", roles_of), "need.yaml")
