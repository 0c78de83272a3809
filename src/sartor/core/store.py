"""The workspace's memory: runs, split assignments, looks at test rows, API keys, served answers.

One SQLite file (or one Postgres database, by URL) that several processes may use at once. Values
are columns and JSON; nothing is ever unpickled. Stages that keep rows of their own (served answers,
feedback) reach the tables of `core.tables` through `read()` and `write()`.
"""

import hashlib
import secrets
from collections.abc import Collection, Generator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from sartor.core.database import StoreBusy, StoreFull, connect, display, faults
from sartor.core.errors import WorkspaceError
from sartor.core.grants import Grant
from sartor.core.tables import api_keys, assignments, look_rows, looks, now, runs

__all__ = ["ApiKey", "Run", "Store", "StoreBusy", "StoreFull", "token_hash"]

# Postgres takes at most 65,535 parameters a statement, SQLite 32,766.
_PIECE = 5_000


@dataclass(frozen=True, slots=True)
class Run:
    """One `sartor run`.

    Args:
        id: Number in this store, from 1.
        name: The need's name.
        need: Text of the need file.
        state: "running" until finished; then what the pipeline says: met, unmet, unproven, …
        summary: JSON the pipeline left, or None.
    """

    id: int
    name: str
    need: str
    seed: int
    state: str
    started: datetime
    finished: datetime | None
    summary: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as the store knows it: never the token, only its SHA-256."""

    id: int
    name: str
    hash: str
    created: datetime
    revoked: datetime | None
    grant: Grant


def token_hash(token: str) -> str:
    """SHA-256 of a bearer token, 64 hex digits.

    Tokens are 256 random bits, so a slow password hash would protect nothing that guessing could
    reach, and would cost every request.
    """
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


class Store:
    """An open store; safe to share between threads."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._writer = engine.execution_options(writes=True)

    @classmethod
    def open(cls, where: str | Path) -> "Store":
        """Open, making or migrating the database where needed.

        Args:
            where: Path of the SQLite file, or a URL such as postgresql://user@host/name.

        Raises:
            WorkspaceError: If it is damaged, of a newer version, unreachable or out of space.
            MissingExtra: If a Postgres URL is given without psycopg.
        """
        return cls(connect(where))

    def close(self) -> None:
        """Give the connections back; the store cannot be used afterwards."""
        self._engine.dispose()

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def where(self) -> str:
        """Path or URL, without a password."""
        return display(self._engine)

    @contextmanager
    def read(self) -> Generator[sa.Connection]:
        """A connection for one consistent view; nothing it writes is kept."""
        with faults(self._engine), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Generator[sa.Connection]:
        """One transaction, on the disk when the block ends, undone when it raises.

        Raises:
            StoreFull: If the disk is full; nothing of the block is kept.
            StoreBusy: If another process held the store for 30 s.
        """
        with faults(self._engine), self._writer.begin() as connection:
            yield connection

    def scrub(self) -> None:
        """Empty the write-ahead log into the file, so that deleted words leave the disk.

        Raises:
            StoreFull: If the disk is full; the words are still in the log.
        """
        if self._engine.dialect.name == "sqlite":
            with faults(self._engine), self._engine.connect() as connection:
                # Checkpointing cannot run inside a transaction.
                raw = connection.connection.driver_connection
                if raw is not None:
                    connection.rollback()
                    raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    # Runs

    def add_run(self, name: str, need: str, seed: int) -> int:
        """Record that a run has started; gives its number."""
        values = {
            "name": name,
            "need": need,
            "seed": seed,
            "state": "running",
            "started": now(),
        }
        with self.write() as connection:
            return connection.scalars(sa.insert(runs).values(values).returning(runs.c.id)).one()

    def finish_run(self, run: int, state: str, summary: Mapping[str, Any] | None = None) -> None:
        """Record how a run ended.

        Raises:
            WorkspaceError: If there is no such run.
        """
        values = {"state": state, "finished": now(), "summary": summary}
        with self.write() as connection:
            done = connection.execute(sa.update(runs).where(runs.c.id == run).values(values))
        if not done.rowcount:
            raise self._no_run(run)

    def run(self, run: int) -> Run:
        """
        Raises:
            WorkspaceError: If there is no such run.
        """
        with self.read() as connection:
            found = connection.execute(_RUNS.where(runs.c.id == run)).one_or_none()
        if found is None:
            raise self._no_run(run)
        return Run(*found)

    def runs(self, name: str | None = None) -> list[Run]:
        """All runs, newest first; of one need where `name` is given."""
        query = _RUNS.order_by(runs.c.id.desc())
        if name is not None:
            query = query.where(runs.c.name == name)
        with self.read() as connection:
            return [Run(*found) for found in connection.execute(query)]

    # Split assignments

    def assign(self, scope: str, splits: Mapping[str, str]) -> dict[str, str]:
        """Remember the split of each row that has none yet; gives the splits that hold.

        A row keeps the split it got first, whoever asks: a test row stays a test row.

        Args:
            scope: What the rows belong to, e.g. the need's name.
            splits: Row id to split name.
        """
        rows = [{"scope": scope, "row_id": row, "split": split} for row, split in splits.items()]
        with self.write() as connection:
            new = _insert_new(connection, assignments, ["scope", "row_id"])
            for start in range(0, len(rows), _PIECE):
                connection.execute(new, rows[start : start + _PIECE])
            held = _assignments(connection, scope)
        return {row: held[row] for row in splits}

    def assignments(self, scope: str) -> dict[str, str]:
        """Row id to split, for every row ever assigned in this scope."""
        with self.read() as connection:
            return _assignments(connection, scope)

    # Looks at test rows

    def looks(self, test_rows: str) -> list[dict[str, Any]]:
        """Every look at exactly these rows, oldest first.

        Args:
            test_rows: `Examples.fingerprint()` of the test rows.

        Returns:
            test_rows, bundle, criteria, verdicts, time and number, which is None for a look whose
            rows are not kept.
        """
        columns = (looks.c.test_rows, looks.c.bundle, looks.c.criteria, looks.c.number)
        query = sa.select(*columns, looks.c.verdicts, looks.c.time).order_by(looks.c.id)
        with self.read() as connection:
            found = connection.execute(query.where(looks.c.test_rows == test_rows))
            return [dict(row) for row in found.mappings()]

    def looked_at(self, rows: Collection[int]) -> dict[int, int]:
        """How many looks each of these rows has been through, for those that have.

        Args:
            rows: From `hashing.mark`.
        """
        found: dict[int, int] = {}
        marks = list(rows)
        query = sa.select(look_rows.c.row, sa.func.count()).group_by(look_rows.c.row)
        with self.read() as connection:
            for start in range(0, len(marks), _PIECE):
                some = query.where(look_rows.c.row.in_(marks[start : start + _PIECE]))
                found |= {row: count for row, count in connection.execute(some)}
        return found

    def add_look(self, look: Mapping[str, Any], rows: Collection[int]) -> bool:
        """Record a look and its rows, unless the same one is recorded already.

        Earlier looks at exactly these rows that have none yet get them too.

        Args:
            look: test_rows, bundle, criteria, verdicts (JSON values), time (aware) and number.
            rows: From `hashing.mark`.

        Returns:
            False if the same test rows, bundle and criteria were there.
        """
        place = ["test_rows", "bundle", "criteria"]
        with self.write() as connection:
            new = _insert_new(connection, looks, place).returning(looks.c.id)
            added = connection.scalars(new.values(dict(look))).one_or_none()
            if added is None:
                return False
            bare = sa.select(looks.c.id).where(
                looks.c.test_rows == look["test_rows"], looks.c.number.is_(None)
            )
            earlier = connection.scalars(bare.order_by(looks.c.id)).all()
            for number, one in enumerate(earlier, start=1):
                counted = sa.update(looks).where(looks.c.id == one)
                connection.execute(counted.values(number=number))
            kept = [{"row": row, "look": one} for one in (*earlier, added) for row in rows]
            for start in range(0, len(kept), _PIECE):
                connection.execute(sa.insert(look_rows), kept[start : start + _PIECE])
        return True

    # API keys

    def add_key(self, name: str, grant: Grant | None = None) -> str:
        """Make a key; the token is given once and only its hash is kept.

        Args:
            name: Whose key it is.
            grant: What it allows; to predict and to send feedback when None.
        """
        token = f"sartor_{secrets.token_urlsafe(32)}"
        values = {"name": name, "hash": token_hash(token), "created": now()}
        values |= asdict(grant or Grant())
        with self.write() as connection:
            connection.execute(sa.insert(api_keys).values(values))
        return token

    def keys(self) -> list[ApiKey]:
        """All keys, revoked ones included."""
        query = sa.select(
            *(api_keys.c.id, api_keys.c.name, api_keys.c.hash, api_keys.c.created),
            *(api_keys.c.revoked, api_keys.c.role, api_keys.c.tenant, api_keys.c.rate),
        ).order_by(api_keys.c.id)
        with self.read() as connection:
            return [ApiKey(*row[:5], Grant(*row[5:])) for row in connection.execute(query)]

    def revoke_key(self, key: int) -> None:
        """
        Raises:
            WorkspaceError: If no key that still holds has this number.
        """
        valid = sa.and_(api_keys.c.id == key, api_keys.c.revoked.is_(None))
        with self.write() as connection:
            done = connection.execute(sa.update(api_keys).where(valid).values(revoked=now()))
        if not done.rowcount:
            raise WorkspaceError(
                f"{self.where} holds no valid key number {key}.",
                fix=f"name one of {[k.id for k in self.keys() if k.revoked is None]}.",
            )

    def _no_run(self, run: int) -> WorkspaceError:
        known = [str(found.id) for found in self.runs()[:10]]
        return WorkspaceError(
            f"{self.where} knows no run {run}.",
            fix=f"the newest are {', '.join(known)}."
            if known
            else "start one: sartor run need.yaml.",
        )


_RUNS = sa.select(
    runs.c.id,
    runs.c.name,
    runs.c.need,
    runs.c.seed,
    runs.c.state,
    runs.c.started,
    runs.c.finished,
    runs.c.summary,
)


def _insert_new(connection: sa.Connection, table: sa.Table, key: list[str]) -> sa.Insert:
    """Insert that leaves rows alone whose key is there already; both databases spell it alike."""
    if connection.dialect.name == "sqlite":
        from sqlalchemy.dialects.sqlite import insert
    else:
        from sqlalchemy.dialects.postgresql import insert
    return insert(table).on_conflict_do_nothing(index_elements=key)


def _assignments(connection: sa.Connection, scope: str) -> dict[str, str]:
    query = sa.select(assignments.c.row_id, assignments.c.split).where(assignments.c.scope == scope)
    return {row: split for row, split in connection.execute(query)}
