"""What one user was answered and said: theirs alone, newest first, and deleted for good."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from sartor.core.store import Store
from sartor.core.tables import deletions, feedback, look_rows, looks, predictions
from sartor.listen.by_user import Who, heard, tenants_of, users
from sartor.listen.export import delete_user

START = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store.db") as opened:
        yield opened


def serve(store: Store, request: str, user: str | None, **more: object) -> None:
    """A minute after another, by the number that the request ends in."""
    row = {
        "request_id": request,
        "row": 0,
        "bundle": "b1",
        "time": START + timedelta(minutes=int(request[1:])),
        "label": "refund",
        "answer": {"label": "refund", "best": "refund", "probabilities": {"refund": 1.0}},
        "text": f"text of {request}",
        "user": user,
        "tenant": None,
    }
    with store.write() as connection:
        connection.execute(sa.insert(predictions), [row | more])


def say(store: Store, request: str, label: str, **more: object) -> None:
    row = {"request_id": request, "row": 0, "time": START, "label": label}
    with store.write() as connection:
        connection.execute(sa.insert(feedback), [row | more])


def test_rows_come_newest_first_with_the_latest_word_and_silence_told_apart(store: Store):
    for number in range(3):
        serve(store, f"r{number}", "ana")
    say(store, "r0", "other")
    say(store, "r0", "invoice")
    found = heard(store, Who(None, "ana"))
    assert [(row.request_id, row.label) for row in found.rows] == [
        ("r2", None),
        ("r1", None),
        ("r0", "invoice"),
    ]
    assert {row.best for row in found.rows} == {"refund"}
    assert all(row.named for row in found.rows)
    assert found.hidden == 0


def test_a_user_is_who_spoke_even_where_the_request_named_nobody(store: Store):
    serve(store, "r0", None)
    serve(store, "r1", None)
    say(store, "r0", "other", user="ana")
    found = heard(store, Who(None, "ana"))
    assert [(row.request_id, row.named) for row in found.rows] == [("r0", False)]
    assert users(store) == [Who(None, "ana")]


def test_nobody_else_is_heard_neither_another_tenant_nor_another_user(store: Store):
    serve(store, "r0", "ana")
    serve(store, "r1", "ana", tenant="acme")
    serve(store, "r2", "ben")
    for request in ("r0", "r1", "r2"):
        say(store, request, "other")
    assert [row.request_id for row in heard(store, Who(None, "ana")).rows] == ["r0"]
    assert [row.request_id for row in heard(store, Who("acme", "ana")).rows] == ["r1"]
    assert heard(store, Who("acme", "ben")).rows == ()
    assert users(store) == [Who(None, "ana"), Who(None, "ben"), Who("acme", "ana")]
    assert users(store, "acme") == [Who("acme", "ana")]
    assert tenants_of(store, "ana") == [None, "acme"]


def test_answers_without_a_text_are_counted_from_the_first_that_has_one(store: Store):
    serve(store, "r0", "ana", text=None)  # its text has expired
    serve(store, "r1", "ana")
    serve(store, "r2", "ana", text=None)
    serve(store, "r3", "ana", text=None)
    say(store, "r3", "other", text="sent along")
    found = heard(store, Who(None, "ana"))
    assert [row.text for row in found.rows] == ["sent along", "text of r1"]
    assert found.hidden == 1


def test_one_who_floods_the_store_is_heard_to_a_bound(store: Store):
    for number in range(6):
        serve(store, f"r{number}", "ana")
    found = heard(store, Who(None, "ana"), most=4)
    assert [row.request_id for row in found.rows] == ["r5", "r4", "r3", "r2"]


def look_at(store: Store, who: Who) -> None:
    look = {"test_rows": who.name, "bundle": f"{who.book}aa", "criteria": "c", "verdicts": []}
    store.add_look(look | {"time": START, "number": 1}, [hash(who) % 1_000, 7])


def test_deleting_a_user_takes_their_looks_too_and_leaves_a_line_without_their_name(
    store: Store, tmp_path: Path
):
    for request, user in (("r0", "ana-of-acme"), ("r1", "ben")):
        serve(store, request, user, tenant="acme")
        say(store, request, "other", tenant="acme")
        look_at(store, Who("acme", user))

    gone = delete_user(store, "ana-of-acme", "acme", adapters=("acme",))

    assert (gone.predictions, gone.feedback, gone.looks, gone.adapters) == (1, 1, 1, 1)
    with store.read() as connection:
        (line,) = connection.execute(sa.select(deletions)).mappings()
        left = connection.scalars(sa.select(looks.c.bundle)).all()
        marks = connection.scalars(sa.select(look_rows.c.row)).all()
    assert line["tenant"] == "acme"
    assert line["gone"] == {"predictions": 1, "feedback": 1, "looks": 1, "adapters": 1}
    assert "ana" not in str(dict(line))
    assert left == [f"{Who('acme', 'ben').book}aa"]
    assert len(marks) == 2
    for file in tmp_path.iterdir():
        assert b"ana-of-acme" not in file.read_bytes()
        assert Who("acme", "ana-of-acme").name.encode() not in file.read_bytes()


def test_deleting_nobody_writes_no_line(store: Store):
    assert delete_user(store, "nobody").predictions == 0
    with store.read() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(deletions)) == 0


def test_without_a_tenant_a_user_is_deleted_under_every_one(store: Store):
    for request, tenant in (("r0", None), ("r1", "acme")):
        serve(store, request, "ana", tenant=tenant)
        look_at(store, Who(tenant, "ana"))
    gone = delete_user(store, "ana")
    assert (gone.predictions, gone.looks) == (2, 2)
