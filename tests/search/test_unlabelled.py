"""What smaller models learn from beside the training rows: texts that nobody labelled."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sartor.core.errors import DataError
from sartor.core.events import Emit, Note, silent
from sartor.core.types import Examples
from sartor.core.workspace import Workspace
from sartor.data.prepare import Prepared
from sartor.need.file import parse_need
from sartor.search import unlabelled
from sartor.search.desk import Desk
from sartor.search.judging import roles_of
from sartor.search.unlabelled import Lessons, require_unlabelled, teach_students

NEED = """name: kettles
task: {task}
data:
  train: rows.csv
  {reads}
  label: label
  unlabelled: more.csv
accept: [accuracy >= 0.8]
"""
HELD = "The kettle arrived broken and nobody at the shop answers my letters."
ROWS = Prepared(
    train=Examples(("1", "2"), {"text": ("Good tea", "Bad tea")}, ("good", "bad")),
    validation=Examples(("3",), {"text": (HELD,)}, ("bad",)),
    test=Examples(("4",), {"text": ("Never again would I buy this lid",)}, ("bad",)),
    changes=(),
    assignments={},
)


def desk(place: Path, *texts: str, pairs: bool = False, emit: Emit = silent) -> Desk:
    reads = "text: one\n  text_pair: other" if pairs else "text: text"
    task = "text_pair" if pairs else "text_classification"
    column = "one" if pairs else "text"
    (place / "more.csv").write_text("".join(f"{text}\n" for text in (column, *texts)))
    facts: dict[str, Any] = {}

    def fact(name: str, make: Callable[[], Any]) -> Any:
        return facts.setdefault(name, make())

    need = parse_need(NEED.format(task=task, reads=reads), "need.yaml", roles_of)
    shop: Any = Workspace.open(place)
    return Desk(shop, shop.store, need, "need.yaml", place, fact, emit)


def test_texts_follow_the_training_rows_without_a_label_and_none_is_held_out(tmp_path: Path):
    said: list[str] = []

    def emit(event: object) -> None:
        if isinstance(event, Note):
            said.append(event.text)

    here = desk(tmp_path, "My kettle boils fast", HELD.upper(), "Bad tea", emit=emit)
    found = Lessons(here, ROWS).train
    assert found.texts == ("Good tea", "Bad tea", "My kettle boils fast")
    assert found.target == ("good", "bad", None)
    assert len(set(found.ids)) == 3
    assert "2 unlabelled texts for smaller models to learn from (1 near" in said[0]


def test_of_many_texts_a_sample_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(unlabelled, "MOST", 4)
    texts = [f"Row {i} speaks of {word}" for i, word in enumerate("abcdefghij")]
    one, again = (Lessons(desk(tmp_path, *texts), ROWS).train for _ in range(2))
    assert len(one) == len(ROWS.train) + 4
    assert set(one.texts[2:]) < set(texts)
    assert one == again


def test_a_need_without_them_or_of_pairs_teaches_on_its_training_rows(tmp_path: Path):
    here = desk(tmp_path, "My kettle boils fast", pairs=True)
    assert not teach_students(here.need)
    assert Lessons(here, ROWS).train is ROWS.train
    assert Lessons(here, ROWS).sources == []


@pytest.mark.parametrize(
    ("task", "taught"),
    [
        ("text_classification", True),
        ("multi_label", True),
        ("ordinal", True),
        ("text_regression", True),
        ("token_classification", False),
        ("retrieval", False),
        ("tabular_text", False),
        ("translation", False),
    ],
)
def test_what_answers_about_a_whole_text_is_taught(tmp_path: Path, task: str, taught: bool):
    need = desk(tmp_path).need
    assert teach_students(need.model_copy(update={"task": task})) is taught


def test_what_a_form_was_made_of_changes_with_the_file(tmp_path: Path):
    def sources(*texts: str) -> list[str]:
        here = desk(tmp_path, *texts)
        require_unlabelled(here)
        return Lessons(here, ROWS).sources

    first = sources("My kettle boils fast")
    assert first == sources("My kettle boils fast")
    assert first != sources("My kettle boils slowly")


@pytest.mark.parametrize(
    "write", [lambda path: path.unlink(), lambda path: path.write_text("a\nb\n")]
)
def test_a_file_that_cannot_be_read_is_told_of_before_anything_is_trained(
    tmp_path: Path, write: Callable[[Path], Any]
):
    here = desk(tmp_path, "My kettle boils fast")
    write(tmp_path / "more.csv")
    with pytest.raises(DataError, match=r"more\.csv|text"):
        require_unlabelled(here)


def test_a_file_that_changed_in_between_is_refused(tmp_path: Path):
    here = desk(tmp_path, "My kettle boils fast")
    require_unlabelled(here)
    (tmp_path / "more.csv").write_text("text\nAnother\n")
    with pytest.raises(DataError, match="has changed since"):
        _ = Lessons(here, ROWS).train
