"""Whatever one row of a task holds, it is read, or dropped with its reason, or refused by file and
row: for every task that there is."""

import json
import math
import re
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from sartor.core.errors import DataError
from sartor.data.check import check
from sartor.data.prepare import Prepared, columns_of, divide, gather
from sartor.data.read import read
from sartor.data.table import Columns, as_frame
from sartor.data.times import times_of
from sartor.need.model import Data
from sartor.tasks import TASKS
from sartor.tasks._target.cells import unlisted

Row = dict[str, Any]
WORDS = ["red", "blue", "green", "small", "large", "quick", "slow", "warm", "cold", "bright"]
ITEMS = {f"i{n}": f"item {n}" for n in range(4)}


def text(i: int) -> str:
    return " ".join(WORDS[(i * k) % 10] for k in (1, 3, 7, 9)) + f" {i}"


def day(i: int) -> str:
    return str(date(2026, 1, 1) + timedelta(i))


def one_label(i: int) -> Row:
    return {"text": text(i), "label": "ab"[i % 2]}


def numbered(i: int) -> Row:
    return {"text": text(i), "label": i % 3 + 1}


def written(i: int) -> Row:
    return {"text": text(i), "label": f"a reply to {text(i)}"}


def chosen(i: int) -> Row:
    return {"user": f"u{i % 6}", "label": f"i{(i * 3 + i // 6) % 4}", "time": day(i)}


def answered(i: int) -> Row:
    row = {"user": f"u{i % 6}", "item": f"i{i % 4}", "skill": f"s{i % 2}", "label": int(i % 3 > 0)}
    return row | {"time": day(i)}


def table(i: int) -> Row:
    row = {"age": 20 + i, "kind": "xyz"[i % 3], "since": day(i)}
    return row | {"text": text(i), "label": "ab"[i % 2]}


def asked(i: int) -> Row:
    context = f"{text(i)} end"
    return {"question": f"what is {i}?", "context": context, "label": {"text": text(i), "start": 0}}


ROWS: dict[str, Callable[[int], Row]] = {
    "text_classification": one_label,
    "product": one_label,
    "multi_label": lambda i: {"text": text(i), "label": ["a", "b"][: 1 + i % 2]},
    "text_pair": lambda i: {"text": text(i), "text_pair": text(i + 50), "label": "ab"[i % 2]},
    "text_regression": numbered,
    "ordinal": numbered,
    "token_classification": lambda i: {
        "text": text(i),
        "label": [{"start": 0, "end": text(i).index(" "), "label": "ab"[i % 2]}],
    },
    "question_answering": asked,
    "retrieval": lambda i: {"text": text(i), "label": f"i{i % 4}"},
    "translation": written,
    "summarization": written,
    "text_generation": written,
    "recommendation": chosen,
    "mastery": answered,
    "tabular_text": table,
}
ODD: tuple[Any, ...] = (
    None,
    "",
    "NaN",
    "\ud800",
    "\ufffd",
    True,
    math.inf,
    -(10**400),
    "1e400",
    "[",
    "[]",
    {},
    [[]],
    ["a", {"b": None}],
    {"a": {"b": [1]}},
    {"text": "red", "start": math.inf},
    '{"text": ["red"], "answer_start": [NaN]}',
    [{"start": 0, "end": math.inf, "label": "a"}],
    [{"start": 0, "end": 10**30, "label": "a"}],
    "[" * 5_000,
    "a" * 30_000,
)


def need_of(task: str, row: Row) -> tuple[Data, Columns]:
    spec = TASKS.get(task)()
    roles = {name: name for name in spec.roles.names() if name in row}
    more: dict[str, Any] = {"time": "time"} if "time" in row else {}
    if task == "tabular_text":
        more["columns"] = ["age", "kind", "since"]
    if task in ("retrieval", "recommendation"):
        more["labels"] = list(ITEMS)
    if task == "mastery":
        more["label_descriptions"] = ITEMS
    data = Data(train=["rows.jsonl"], roles=roles, near_duplicates=False, **more)
    return data, columns_of(data, tuple(spec.roles.inputs), spec.target)


def rows_of(task: str) -> list[Row]:
    return [ROWS[task](i) for i in range(24)]


def write(place: Path, rows: list[Row]) -> None:
    (place / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def prepared(place: Path, task: str, row: Row) -> Prepared:
    data, columns = need_of(task, row)
    gathered = gather(data, place, known={}, columns=columns)
    return divide(gathered, wanted_test=4, seed=0, known={})


def faults(place: Path, task: str, row: Row) -> list[str]:
    data, columns = need_of(task, row)
    found = check({"train": data.train}, place, columns, labels=data.labels)
    named = [each for each in found if each.level == "fault"]
    return [f"rows.jsonl, row {f.row}: {f.what}" if f.row else f.what for f in named]


@pytest.mark.parametrize("task", TASKS.names())
def test_odd_cells_are_read_or_told_with_file_and_row(tmp_path, task: str):
    rows = rows_of(task)
    write(tmp_path, rows)
    assert len(prepared(tmp_path, task, rows[0]).train) > 8
    assert not faults(tmp_path, task, rows[0])
    refused = set[str]()
    for name in rows[0]:
        left = {at: ROWS[task](24 + at) | {name: odd} for at, odd in enumerate(ODD)}
        while True:
            write(tmp_path, [*rows, *left.values()])
            places = dict(zip(range(len(rows) + 1, len(rows) + len(left) + 1), left, strict=True))
            told = [places[row] for row in named(faults(tmp_path, task, rows[0]))]
            if not told:
                break
            with pytest.raises(DataError) as caught:
                prepared(tmp_path, task, rows[0])
            assert named([caught.value.what])
            assert caught.value.fix
            refused |= {name}
            left = {place: row for place, row in left.items() if place not in told}
        assert prepared(tmp_path, task, rows[0])
    free = {"translation": {}, "summarization": {}, "text_generation": {}, "text_pair": {"label"}}
    assert refused or not free.get(task, True), "nothing was refused; the test would be vacuous"


def named(told: list[str]) -> list[int]:
    """The rows that sentences name, each sentence one."""
    found = [re.search(r"rows\.jsonl, row (\d+)", what) for what in told]
    assert all(found), told
    return [int(each.group(1)) for each in found if each]


@pytest.mark.parametrize("task", TASKS.names())
def test_a_column_that_is_absent_is_named(tmp_path, task: str):
    rows = rows_of(task)
    for name in rows[0]:
        write(tmp_path, [{key: cell for key, cell in row.items() if key != name} for row in rows])
        with pytest.raises(DataError, match=f"no column is called '{name}'"):
            prepared(tmp_path, task, rows[0])
        assert f"no column is called {name!r}" in faults(tmp_path, task, rows[0])


@pytest.mark.parametrize("task", TASKS.names())
@pytest.mark.parametrize("count", [1, 2])
def test_a_row_or_two_are_too_few_and_no_fault_of_ours(tmp_path, task: str, count: int):
    rows = rows_of(task)[:count]
    write(tmp_path, rows)
    with pytest.raises(DataError):
        prepared(tmp_path, task, rows[0])


def test_ids_that_no_float_holds_stay_apart():
    frame = as_frame([{"user": 10**19 + n, "score": 0.5} for n in range(2)] + [{"user": 1.5}])
    assert frame["user"].to_list() == [str(10**19), str(10**19 + 1), "1.5"]
    assert frame["score"].to_list() == [0.5, 0.5, None]
    held = as_frame({"label": np.array([0.5, 2.0], np.float64)})
    assert held["label"].to_list() == ["0.5", "2"]


@pytest.mark.parametrize("name", ["__columns__", "__moment__", "__row__"])
def test_a_column_of_our_own_name_is_refused(tmp_path, name: str):
    with pytest.raises(DataError, match=f"column '{name}' is reserved"):
        read([{"text": ["a"], name: ["b"]}], tmp_path)


@pytest.mark.parametrize(
    ("cells", "order"),
    [
        # Milliseconds, some of which would read as days of the eighteenth century.
        (["1774012112345", "1774012112344", "1799999999999"], [1, 0, 2]),
        (["20260331", "20260401", "20251231"], [2, 0, 1]),
        (["20260331", "99999999", "5"], [2, 0, 1]),
        (["2026-3-1 8:05", "2026/3/1 7:59", "2026.2.28", "2026年3月1日 8:04:59"], [2, 1, 3, 0]),
        (["２０２６-０３-０２", "2026-03-01T23:00:00-02:00"], [0, 1]),
        (["1,700", "900", "１２"], [2, 1, 0]),
    ],
)
def test_times_sort_however_they_are_written(cells: list[str], order: list[int]):
    found = times_of(pl.Series("t", cells), [""] * len(cells))
    assert sorted(range(len(cells)), key=found.__getitem__) == order


@pytest.mark.parametrize(
    "odd", ["inf", "nan", "1e999", "1774012112345", "2026-02-30", "03/01/2026", "12", "8:05"]
)
def test_a_time_of_another_kind_is_refused_by_row(odd: str):
    with pytest.raises(DataError, match=r"row 2: t .* is not a time"):
        times_of(pl.Series("t", ["2026-01-01", odd]), ["row 1", "row 2"])
    with pytest.raises(DataError, match="row 2: t inf is not a time"):
        times_of(pl.Series("t", [1.0, math.inf]), ["row 1", "row 2"])


def test_a_near_miss_is_found_among_many_names():
    known = frozenset(f"order-{n:05}" for n in range(20_000)) | {"Refund"}
    assert "did you mean 'order-012" in unlisted("no", "order-0123", known, "add it").fix
    assert "did you mean 'Refund'?" in unlisted("no", "refunds", known, "add it").fix
    far = unlisted("no", "zzz", known, "add it").fix
    assert (
        far == "use one of order-00000, order-00001, order-00002, order-00003 … (19,997 more)."
        " Correct it, or add it"
    )
