"""Whatever one line of recorded answers holds, it is read and judged, or refused by file and row:
for every task that there is."""

import json
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sartor.core.errors import DataError, SartorError
from sartor.core.types import HAND_OFF, Examples, answer_key
from sartor.judge.api import Subject
from sartor.judge.rival import read_predictions
from sartor.judge.verdicts import judge
from sartor.need.criterion import Criterion
from sartor.need.grammar import parse_criterion
from sartor.search.assess import classes
from sartor.tasks import TASKS
from tests.data.test_bad_rows import prepared, rows_of, write

ODD: tuple[Any, ...] = (
    None,
    "",
    " ",
    "NaN",
    "\ud800",
    "\ufffd",
    "a\x00b",
    True,
    0,
    -1,
    2.0,
    3.5,
    1e308,
    10**400,
    2**70,
    "1e400",
    "i1",
    "a",
    HAND_OFF,
    [],
    {},
    [[]],
    [None],
    ["a", "a"],
    ["a", {"b": None}],
    {"a": 1},
    {"a": {"b": [1]}},
    {"a": 0.9, "b": 0.9},
    {"a": 0, "b": 0},
    [{"start": 0, "end": 10**30, "label": "a"}],
    [{"start": True, "end": 3, "label": "a"}],
    [{"start": 0, "end": 3}],
    "x" * 30_000,
)
RAW = ("NaN", "-Infinity", "1e400", "nul", '"\\u0000"', '"\\ud800"', "0x1", "[" * 5_000, "")
"""Values that no JSON writer gives."""


def answered(key: str, target: Any) -> Any:
    """A right answer, as a rival writes it."""
    if key == "entities":
        return [span._asdict() for span in target]
    if key in ("documents", "labels"):
        return list(target)
    if key == "answer":
        return target[0].text if target else ""
    if key == "value":
        return target
    return target[0] if isinstance(target, tuple) else str(target)


def odd_lines(good: list[str], key: str) -> Iterator[tuple[str, str]]:
    """(what is odd, the line in place of the second)."""
    line = json.loads(good[1])
    for name in {key, "id", "probabilities", "high"}:
        for odd in ODD:
            yield f"{name} = {odd!r:.40}", json.dumps({**line, name: odd})
        for raw in RAW:
            kept = json.dumps({k: v for k, v in line.items() if k != name})
            yield f"{name} = {raw:.40}", f'{kept[:-1]}, "{name}": {raw}}}'


def criteria_of(task: str) -> list[Criterion]:
    """What a need begins with, and what it proposes."""
    lines = [
        line.lstrip("#- '").partition("  #")[0] for line in TASKS.get(task)().starters(0.5, "a")
    ]
    plain = [line.strip(" '") for line in lines if ">=" in line or "<=" in line]
    asking = ("baseline", "where", "part=", "_ms", "_mb")
    return [parse_criterion(line) for line in plain if not any(a in line for a in asking)]


def judged(file: Path, test: Examples, outputs: Sequence[str], task: str) -> None:
    """Read and judge what a file answers; a result is finite."""
    spec = TASKS.get(task)()
    target = spec.roles.target_kind
    told = read_predictions(file, test, spec.labels(outputs), target)
    subject = Subject(examples=test, answers=told, outputs=classes(spec, outputs), target=target)
    with np.errstate(all="raise"):
        for verdict in judge(criteria_of(task), subject, look=1, seed=0):
            ends = (verdict.value, verdict.low, verdict.high)
            assert not verdict.n or all(map(math.isfinite, ends)), verdict


def refusal(*given: Any) -> DataError | None:
    try:
        judged(*given)
    except DataError as error:
        return error
    return None


@pytest.mark.parametrize("task", TASKS.names())
def test_odd_answers_are_judged_or_refused_with_file_and_row(tmp_path, task: str):
    spec, rows = TASKS.get(task)(), rows_of(task)
    write(tmp_path, rows)
    test = (found := prepared(tmp_path, task, rows[0])).test
    named = ["i0", "i1", "i2", "i3"] if spec.roles.target_kind == "documents" else None
    outputs = spec.outputs(found.train, named)
    key = {"text": "label"}.get(spec.roles.target_kind, answer_key(spec.roles.target_kind))
    good = [
        json.dumps({"id": id, key: answered(key, target)})
        for id, target in zip(test.ids, test.target, strict=True)
    ]
    file, refused = tmp_path / "rival.jsonl", 0
    file.write_text("\n".join(good))
    judged(file, test, outputs, task)
    for odd, line in odd_lines(good, key):
        file.write_text("\n".join([good[0], line, *good[2:]]), encoding="utf-8")
        if error := refusal(file, test, outputs, task):
            refused += 1
            row = rf"line 2: |the answer to row {test.ids[1]}: "
            found = re.search(rf"rival\.jsonl(, ({row})| has no answer|: \d)", error.what)
            assert found, (odd, error.what)
            assert error.fix
            assert len(error.what) + len(error.fix) < 1_000, odd
    assert refused > 20


@pytest.mark.parametrize(
    "form", [lambda text: b"\xef\xbb\xbf" + text, lambda text: text.replace(b"\n", b"\r\n")]
)
def test_marks_that_editors_leave_are_read_over(tmp_path, form):
    file, examples = tmp_path / "rival.jsonl", Examples(("1", "2"), {"text": ("x", "y")})
    file.write_bytes(form(b'{"id": "1", "label": "a"}\n{"id": 2.0, "label": 7}\n'))
    told = read_predictions(file, examples, ("a", "7"))
    assert [each["label"] for each in told] == ["a", "7"], "a number names a label as its text does"


@pytest.mark.parametrize(
    "content",
    [
        '{"id": "1", "label": "a"}'.encode("utf-16"),
        b"id,label\n1,a\n",
        b'[{"label": "a"}]',
        b"\x00",
    ],
)
def test_a_file_of_another_form_is_told_which_one_it_should_have(tmp_path, content: bytes):
    file = tmp_path / "rival.csv"
    file.write_bytes(content)
    with pytest.raises(SartorError, match=r"rival\.csv, line 1: ") as caught:
        read_predictions(file, Examples(("1",), {"text": ("x",)}), ("a",))
    assert "JSON Lines in UTF-8" in caught.value.fix
