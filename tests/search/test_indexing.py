"""Pieces of documents that stand for questions, and what is said of a large base."""

from sartor.core.events import Note
from sartor.need.file import parse_need
from sartor.search import indexing
from sartor.search.indexing import pieces, tell_of_cells
from sartor.tasks import TASKS

NEED = """name: answers
task: {task}
data: {{train: rows.csv, text: question, label: answer}}
accept: [{metric} >= 0.5]
"""


def test_a_piece_is_a_half_of_a_document_from_any_place_in_it():
    documents = [f"{i:04d} " + "退款 money back " * 30 for i in range(900)]
    found = pieces(documents)
    assert found == pieces(documents)
    assert len(found) == 512
    assert all(any(piece in text for text in documents) for piece in found)
    assert {len(piece) for piece in found} <= {*range(150, 161)}
    assert len({*found}) > 20, "all from the same place"
    assert pieces(["x", "é"]) == ["x", "é"] or pieces(["x", "é"]) == ["é", "x"]


def said(task: str, metric: str, count: int) -> list[str]:
    need = parse_need(
        NEED.format(task=task, metric=metric), "need.yaml", lambda name: TASKS.get(name)().roles
    )
    words = {f"d{i}": "words" for i in range(count)}
    told = need.data.model_copy(update={"label_descriptions": words})
    notes: list[str] = []

    def emit(event: object) -> None:
        assert isinstance(event, Note)
        notes.append(event.text)

    tell_of_cells(need.model_copy(update={"data": told}), emit)
    return notes


def test_a_large_base_is_told_of_when_planning(monkeypatch):
    monkeypatch.setattr(indexing, "FEWEST", 50)
    (note,) = said("retrieval", "mrr", 60)
    assert note.startswith("60 documents")
    assert not said("retrieval", "mrr", 40)
    assert not said("text_classification", "accuracy", 60)
