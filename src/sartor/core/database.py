"""Opening a database: engine, schema version, and faults said in words.

SQLite runs with a write-ahead log and `synchronous=FULL`: a commit that returned is on the disk.
Writers take the lock when they begin (`BEGIN IMMEDIATE`), so two of them wait for each other
instead of failing half-way.
"""

import json
import re
import sqlite3
import time
from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event, exc
from sqlalchemy.pool import ConnectionPoolEntry

from sartor.core.errors import MissingExtra, WorkspaceError
from sartor.core.tables import VERSION, metadata

_BUSY_MS = 30_000
_LOCK = 7_270_114_901
"""Postgres advisory lock held while the schema is made or migrated."""

_PATIENCE = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}
"""A Postgres that is gone without a word is noticed within half a minute; what its URL says goes
before. No statement has a time of its own: migrations and exports of a large store take long."""
_NUL = re.compile(r"((?<!\\)(?:\\\\)*)\\u0000")


class StoreFull(WorkspaceError):
    """No space is left for the store; nothing that was acknowledged is lost."""


class StoreBusy(WorkspaceError):
    """Another process held the store for too long."""


def connect(where: str | Path) -> sa.Engine:
    """An engine on a database whose schema is the newest, created or migrated where needed.

    Raises:
        WorkspaceError: If it is damaged, of a newer version, unreachable or out of space.
        MissingExtra: If a Postgres URL is given without psycopg.
    """
    engine = _engine(where)
    try:
        with faults(engine):
            _settle_version(engine)
    except BaseException:
        engine.dispose()
        raise
    return engine


def display(engine: sa.Engine) -> str:
    """The database as a user knows it, without its password."""
    return engine.url.database or "" if _is_sqlite(engine) else str(engine.url)


@contextmanager
def faults(engine: sa.Engine) -> Generator[None]:
    """Turn the driver's errors into ones that say what to do."""
    try:
        yield
    except exc.IntegrityError:
        raise
    except exc.DBAPIError as error:
        raise _explain(error.orig, display(engine)) from error
    except sqlite3.Error as error:  # of a statement that the driver ran by itself
        raise _explain(error, display(engine)) from error


def _engine(where: str | Path) -> sa.Engine:
    if isinstance(where, str) and "://" in where:
        return _from_url(where)
    path = Path(where)
    path.parent.mkdir(parents=True, exist_ok=True)
    return _sqlite(sa.URL.create("sqlite", database=str(path)))


def _from_url(text: str) -> sa.Engine:
    try:
        url = sa.make_url(text)
    except exc.ArgumentError as error:
        raise WorkspaceError(
            f"{text!r} is not a database URL.", fix="write postgresql://user@host/name, or a path."
        ) from error
    kind = url.get_backend_name()
    if kind == "sqlite":
        return _sqlite(url)
    if kind not in ("postgresql", "postgres"):
        raise WorkspaceError(
            f"The store runs on SQLite or Postgres, not on {kind!r}.",
            fix="write postgresql://user@host/name, or a path to a file.",
        )
    try:
        # An error that quotes its parameters would carry users' texts into a log.
        return sa.create_engine(
            url.set(drivername="postgresql+psycopg"),
            pool_pre_ping=True,
            hide_parameters=True,
            json_serializer=_without_nul,
            connect_args={k: v for k, v in _PATIENCE.items() if k not in url.query},
        )
    except ImportError as error:
        raise MissingExtra(
            "A Postgres store needs psycopg, which is not installed.",
            fix="pip install 'sartor[postgres]'.",
        ) from error


def _without_nul(value: Any) -> str:
    """JSON that Postgres can read a text from: it takes one with a NUL, and no key of it later."""
    text = json.dumps(value)
    return _NUL.sub(r"\1\\ufffd", text) if "\\u0000" in text else text


def _sqlite(url: sa.URL) -> sa.Engine:
    timeout = {"timeout": _BUSY_MS / 1000}
    engine = sa.create_engine(url, connect_args=timeout, hide_parameters=True)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: sqlite3.Connection, entry: ConnectionPoolEntry) -> None:
    # The driver would begin transactions on its own and too late; `_begin_sqlite` says when.
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout={_BUSY_MS}")
    _write_ahead(connection)
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")
    # A deleted user's words are overwritten, not only unlinked.
    connection.execute("PRAGMA secure_delete=ON")


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Switch to the write-ahead log; SQLite does not wait for rivals doing the same, so we do."""
    deadline = time.monotonic() + _BUSY_MS / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _begin_sqlite(connection: sa.Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _settle_version(engine: sa.Engine) -> None:
    found = _version(engine)
    if found == VERSION:
        return
    if found is not None and found > VERSION:
        raise WorkspaceError(
            f"{display(engine)} was written by a newer Sartor (schema {found}, "
            f"this one knows {VERSION}).",
            fix="upgrade with `pip install -U sartor`, or use another workspace.",
        )
    with engine.execution_options(writes=True).begin() as connection:
        if not _is_sqlite(engine):
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
        _create_or_migrate(connection)


def _create_or_migrate(connection: sa.Connection) -> None:
    """Under the lock, so that of two processes the second finds the work done."""
    inspector = sa.inspect(connection)
    if inspector.has_table("alembic_version"):
        found = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
        if found != VERSION:
            # Alembic takes 0.4 s to import: only a store that is really old pays for it.
            import_module("sartor.core.migrations").upgrade(connection)
        return
    if inspector.get_table_names():
        raise WorkspaceError(
            f"{display(connection.engine)} is a database of something else "
            f"(it has the table {inspector.get_table_names()[0]!r}).",
            fix="name a file or database that is new or was made by Sartor.",
        )
    metadata.create_all(connection)
    connection.exec_driver_sql(
        "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, "
        "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
    )
    connection.execute(
        sa.text("INSERT INTO alembic_version VALUES (:version)"), {"version": VERSION}
    )


def _version(engine: sa.Engine) -> str | None:
    """Schema version, by one statement; None where the table is missing or empty."""
    with engine.connect() as connection:
        try:
            return connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
        except (exc.OperationalError, exc.ProgrammingError) as error:
            if "no such table" in str(error.orig) or _state(error.orig) == "42P01":
                return None
            raise


def _is_sqlite(engine: sa.Engine) -> bool:
    return engine.dialect.name == "sqlite"


def _state(error: BaseException | None) -> str:
    """SQLite's error name or Postgres's SQLSTATE."""
    name = getattr(error, "sqlite_errorname", None) or getattr(error, "sqlstate", None)
    return name or ""


def _explain(error: BaseException | None, where: str) -> WorkspaceError:
    state, said = _state(error), str(error).strip()
    if state in ("SQLITE_FULL", "53100") or state.startswith("SQLITE_IOERR"):
        return StoreFull(
            f"{where} cannot be written: {said}.",
            fix="free disk space and try again; what was acknowledged is safe.",
        )
    if state.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")) or state == "55P03":
        return StoreBusy(
            f"{where} has been held by another process for {_BUSY_MS // 1000} s.",
            fix="try again, or stop the other process.",
        )
    if state.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
        return WorkspaceError(
            f"{where} is damaged: {said}.",
            fix="restore it from a backup, or move it away and start a new one.",
        )
    if state.startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_PERM")):
        return WorkspaceError(
            f"{where} cannot be opened for writing: {said}.",
            fix="check that the folder exists and that you may write to it.",
        )
    return WorkspaceError(
        f"{where} did not answer as expected: {said}.",
        fix="check that the database is running and reachable, then try again.",
    )
