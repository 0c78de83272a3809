"""The store keeps what it was given, alone or shared, and says what is wrong with a bad file."""

import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from sartor.core import migrations
from sartor.core.errors import WorkspaceError
from sartor.core.store import Store, StoreFull, token_hash
from sartor.core.tables import VERSION, metadata, predictions
from tests.limited import no_longer_files


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "workspace" / "store.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with Store.open(path) as opened:
        yield opened


def in_new_process(code: str, *arguments: str) -> str:
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout


def test_a_run_is_found_again_with_its_summary_after_reopening(path: Path):
    with Store.open(path) as store:
        run = store.add_run("reviews", "name: reviews\n", seed=7)
        assert store.run(run).state == "running"
        store.finish_run(run, "met", {"score": 0.84, "labels": ["退款"]})
    with Store.open(path) as store:
        found = store.run(run)
    assert (found.name, found.need, found.seed, found.state) == (
        "reviews",
        "name: reviews\n",
        7,
        "met",
    )
    assert found.summary == {"score": 0.84, "labels": ["退款"]}
    assert found.finished is not None
    assert found.started.tzinfo is UTC
    assert found.started <= found.finished <= datetime.now(UTC)


def test_runs_are_listed_newest_first_and_by_need(store: Store):
    for name in ("reviews", "intents", "reviews"):
        store.add_run(name, "", 0)
    assert [run.id for run in store.runs()] == [3, 2, 1]
    assert [run.id for run in store.runs("reviews")] == [3, 1]


def test_an_unknown_run_names_the_known_ones(store: Store):
    store.add_run("reviews", "", 0)
    with pytest.raises(WorkspaceError, match=r"knows no run 9\.\n  Fix: the newest are 1\."):
        store.run(9)
    with pytest.raises(WorkspaceError, match="knows no run 9"):
        store.finish_run(9, "met")


def test_a_test_row_stays_a_test_row(store: Store):
    assert store.assign("reviews", {"a": "test", "b": "train"}) == {"a": "test", "b": "train"}
    assert store.assign("reviews", {"a": "train", "c": "train"}) == {"a": "test", "c": "train"}
    assert store.assign("other", {"a": "train"}) == {"a": "train"}
    assert store.assignments("reviews") == {"a": "test", "b": "train", "c": "train"}


def test_more_rows_are_assigned_than_one_statement_may_hold(store: Store):
    rows = {str(number): "train" for number in range(12_345)}
    assert store.assign("reviews", rows) == rows


def test_looks_come_back_in_order_and_only_for_their_test_rows(store: Store):
    for rows, bundle in (("t1", "a"), ("t2", "b"), ("t1", "c")):
        look = {"test_rows": rows, "bundle": bundle, "criteria": "k", "verdicts": [{"n": 3}]}
        assert store.add_look(look | {"time": datetime.now(UTC), "number": 1}, {7})
    found = store.looks("t1")
    assert [look["bundle"] for look in found] == ["a", "c"]
    assert found[0]["verdicts"] == [{"n": 3}]
    assert found[0].keys() == {
        "test_rows",
        "bundle",
        "criteria",
        "verdicts",
        "time",
        "number",
    }


def test_rows_know_how_many_looks_they_went_through(store: Store):
    look = {"test_rows": "t1", "criteria": "k", "verdicts": [], "time": datetime.now(UTC)}
    many = range(-6_000, 6_000)
    assert store.add_look(look | {"bundle": "a", "number": 1}, many)
    assert store.add_look(look | {"bundle": "b", "number": 2}, {-1, 9_000, 2**63 - 1})
    assert store.looked_at([-6_000, -1, 9_000, 2**63 - 1, 7_000]) == {
        -6_000: 1,
        -1: 2,
        9_000: 1,
        2**63 - 1: 1,
    }
    assert len(store.looked_at(many)) == 12_000


def test_the_same_look_is_recorded_once_and_counted_once(store: Store):
    look = {"test_rows": "t", "bundle": "b", "criteria": "k", "number": 1}
    look |= {"time": datetime.now(UTC)}
    assert store.add_look(look | {"verdicts": [{"n": 1}]}, {7})
    assert not store.add_look(look | {"verdicts": [{"n": 2}]}, {7})
    assert [found["verdicts"] for found in store.looks("t")] == [[{"n": 1}]]
    assert store.looked_at({7}) == {7: 1}


def test_a_time_without_a_zone_is_refused(store: Store):
    look = {"test_rows": "t", "bundle": "b", "criteria": "k", "verdicts": []}
    with pytest.raises(sa.exc.StatementError, match="has no time zone"):
        store.add_look(look | {"time": datetime(2026, 1, 1), "number": 1}, {7})


def test_a_key_is_kept_as_a_hash_and_can_be_revoked_once(store: Store, path: Path):
    token = store.add_key("ci")
    (key,) = store.keys()
    assert key.hash == token_hash(token)
    assert key.revoked is None
    everything = b"".join(file.read_bytes() for file in path.parent.iterdir())
    assert token.encode() not in everything
    assert key.hash.encode() in everything
    store.revoke_key(key.id)
    assert store.keys()[0].revoked is not None
    with pytest.raises(WorkspaceError, match="no valid key number 1"):
        store.revoke_key(key.id)


def test_a_commit_is_flushed_and_readers_do_not_block(store: Store):
    with store.read() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1


def test_a_block_that_raises_leaves_nothing(store: Store):
    def write_half() -> None:
        with store.write() as connection:
            connection.exec_driver_sql("INSERT INTO assignments VALUES ('x', 'a', 'test')")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()
    assert store.assignments("x") == {}


WRITE_MANY = """
import sys
from sartor.core.store import Store
with Store.open(sys.argv[1]) as store:
    for number in range(40):
        name = sys.argv[2]
        store.assign("shared", {f"{name}-{number}": name, f"both-{number}": name})
        store.add_run(sys.argv[2], "", number)
"""


def test_processes_that_start_and_write_at_once_lose_nothing(path: Path):
    names = ["train", "test", "validation"]
    started = [
        subprocess.Popen([sys.executable, "-c", WRITE_MANY, str(path), name]) for name in names
    ]
    assert [process.wait(120) for process in started] == [0, 0, 0]
    with Store.open(path) as store:
        assert len(store.runs()) == 120
        splits = store.assignments("shared")
        with store.read() as connection:
            assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
    assert len(splits) == 4 * 40
    for name in names:
        assert all(splits[f"{name}-{number}"] == name for number in range(40))


def test_a_newer_store_is_refused_by_version(path: Path):
    Store.open(path).close()
    with sqlite3.connect(path) as raw:
        raw.execute("UPDATE alembic_version SET version_num = '9999'")
    raw.close()
    with pytest.raises(WorkspaceError, match=r"newer Sartor \(schema 9999") as caught:
        Store.open(path)
    assert "pip install -U sartor" in caught.value.fix


@pytest.mark.parametrize(
    "content", [b"this is not a database" * 100, b"SQLite format 3\0" + b"x" * 99]
)
def test_a_file_that_is_no_database_is_refused(path: Path, content: bytes):
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(WorkspaceError, match="is damaged"):
        Store.open(path)
    assert path.read_bytes() == content


def test_somebody_elses_database_is_left_alone(path: Path):
    path.parent.mkdir()
    with sqlite3.connect(path) as raw:
        raw.execute("CREATE TABLE customers (id)")
    raw.close()
    with pytest.raises(WorkspaceError, match=r"something else.*'customers'"):
        Store.open(path)


@pytest.mark.parametrize("where", ["mysql://root@localhost/x", "not a url://"])
def test_an_unknown_kind_of_database_is_refused(where: str):
    with pytest.raises(WorkspaceError) as caught:
        Store.open(where)
    assert "postgresql://" in caught.value.fix


def test_a_full_disk_says_so_and_keeps_what_was_acknowledged(store: Store):
    store.assign("x", {"a": "test"})
    with store.read() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
    # SQLite's own limit raises the very error that a full disk raises.
    sa.event.listen(
        store._engine,
        "begin",
        lambda connection: connection.exec_driver_sql(f"PRAGMA max_page_count={pages + 2}"),
    )
    with pytest.raises(StoreFull, match="full") as caught:
        store.assign("x", {f"row {number}": "train" for number in range(5_000)})
    assert "free disk space" in caught.value.fix
    assert store.assignments("x") == {"a": "test"}


OPENED = """
import sys
from sartor.core.store import Store
Store.open(sys.argv[1]).close()
print(sorted(name for name in sys.modules if name.startswith("alembic")))
"""


def test_opening_a_new_or_current_store_imports_no_migrations(path: Path):
    assert in_new_process(OPENED, str(path)).strip() == "[]"
    assert in_new_process(OPENED, str(path)).strip() == "[]"


def test_an_old_store_is_migrated_to_the_same_schema_as_a_new_one(path: Path, tmp_path: Path):
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    old = tmp_path / "old.db"
    with sqlite3.connect(old) as raw:
        # A store before the first migration: alembic's table is there and empty.
        raw.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
    raw.close()
    with Store.open(old) as store, store.read() as connection:
        assert connection.scalar(sa.text("SELECT version_num FROM alembic_version")) == VERSION
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        migrated = schema(connection)
    with Store.open(path) as store, store.read() as connection:
        assert migrated == schema(connection)
    with Store.open(old) as store:
        store.add_run("reviews", "", 0)


def at_version(path: Path, version: str) -> None:
    """An empty store as an older Sartor left it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(sa.URL.create("sqlite", database=str(path)))
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(Path(migrations.__file__).parent))
        config.attributes["connection"] = connection
        command.upgrade(config, version)
    engine.dispose()


def old_store(path: Path) -> None:
    """A store of the first version that holds three looks, one of them twice."""
    at_version(path, "0001")
    engine = sa.create_engine(sa.URL.create("sqlite", database=str(path)))
    with engine.begin() as connection:
        for bundle, n in (("a", 1), ("b", 2), ("a", 3)):
            connection.execute(
                sa.text("INSERT INTO looks VALUES (NULL, 't', :b, 'k', :v, '2026-01-02 00:00:00')"),
                {"b": bundle, "v": json.dumps([{"n": n}])},
            )
    engine.dispose()


def test_looks_of_an_old_store_are_kept_and_count_for_exactly_their_rows(path: Path):
    old_store(path)
    with Store.open(path) as store:
        found = store.looks("t")
        assert [(look["bundle"], look["verdicts"]) for look in found] == [
            ("a", [{"n": 1}]),
            ("b", [{"n": 2}]),
        ], "of two that were stored at once, the first was given"
        assert [look["number"] for look in found] == [None, None]
        assert store.looked_at({7, 8}) == {}
        look = {"test_rows": "t", "bundle": "c", "criteria": "k", "verdicts": [], "number": 3}
        store.add_look(look | {"time": datetime.now(UTC)}, {7, 8})
        assert store.looked_at({7, 8}) == {7: 3, 8: 3}, "now their rows are known"
        assert [look["number"] for look in store.looks("t")] == [1, 2, 3]


def schema(connection: sa.Connection) -> str:
    inspector = sa.inspect(connection)
    return json.dumps(
        {
            table: [
                [(c["name"], str(c["type"]), c["nullable"]) for c in inspector.get_columns(table)],
                inspector.get_pk_constraint(table)["constrained_columns"],
                [
                    (f["constrained_columns"], f["options"])
                    for f in inspector.get_foreign_keys(table)
                ],
                sorted(str(i["column_names"]) for i in inspector.get_indexes(table)),
                sorted(str(u["column_names"]) for u in inspector.get_unique_constraints(table)),
            ]
            for table in sorted(metadata.tables)
        }
    )


def test_deleted_words_leave_the_file(store: Store, path: Path):
    row = {"request_id": "r", "row": 0, "bundle": "b", "time": datetime.now(UTC), "answer": {}}
    with store.write() as connection:
        connection.execute(sa.insert(predictions), [row | {"text": "a very secret sentence"}])
    with store.write() as connection:
        connection.execute(sa.delete(predictions))
    store.scrub()
    for file in path.parent.iterdir():
        assert b"a very secret sentence" not in file.read_bytes()


def test_a_full_disk_keeps_the_log_from_being_emptied_and_says_so(store: Store, path: Path):
    fill(store, 0)
    store.scrub()
    fill(store, 1)
    with no_longer_files(path.stat().st_size), pytest.raises(StoreFull, match="cannot be written"):
        store.scrub()
    store.scrub()
    assert len(store.assignments("x")) == 4_000


def fill(store: Store, turn: int) -> None:
    store.assign("x", {f"row {turn}-{number}": "train" for number in range(2_000)})
