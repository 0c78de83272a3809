"""The same store on a real Postgres: what SQLite keeps, Postgres keeps."""

import asyncio
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from sartor.core.errors import WorkspaceError
from sartor.core.grants import Grant
from sartor.core.store import Store
from sartor.core.tables import metadata
from sartor.listen.by_user import Who, heard, users
from sartor.listen.export import corrections, delete_user
from sartor.listen.feedback import draw_audit, summary
from sartor.serve import stored_keys
from sartor.serve.records import Keeping, Recorder, Said, Served
from sartor.tasks import Brief
from sartor.tasks.text_classification.spec import TextClassification
from tests.served import serving

PLACES = ["/usr/local/bin", *map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin")))]
ANSWER = {"label": "refund", "best": "refund", "probabilities": {"refund": 0.9, "other": 0.1}}
BRIEF = TextClassification().brief


def program(name: str) -> str:
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), *PLACES]))
    if found is None:
        pytest.skip(f"no {name} program on this machine")
    return found


def unprivileged() -> str | None:
    """Postgres refuses to run as root: the user to run it as, or None for ourselves."""
    if os.getuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    pytest.skip("root, and no user that Postgres could run as")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Folder with the socket of a Postgres that runs for these tests."""
    initdb, postgres = program("initdb"), program("postgres")
    user = unprivileged()
    folder = Path(tempfile.mkdtemp(prefix="sartor-pg-"))
    try:
        if user:
            shutil.chown(folder, user)
        command = [initdb, "-D", folder / "data", "-U", "sartor", "--auth=trust", "-E", "UTF8"]
        subprocess.run(
            [*command, "--no-sync", "--locale=C"], check=True, capture_output=True, user=user
        )
        options = ["-D", folder / "data", "-k", folder, "-c", "listen_addresses=", "-F"]
        with subprocess.Popen(
            [postgres, *options], user=user, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as started:
            try:
                yield str(folder)
            finally:
                started.terminate()
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def url(server: str) -> Iterator[str]:
    """An empty database."""
    admin = sa.create_engine(
        f"postgresql+psycopg://sartor@/postgres?host={server}", isolation_level="AUTOCOMMIT"
    )
    for _ in range(100):
        with suppress(sa.exc.OperationalError), admin.connect() as connection:
            connection.exec_driver_sql("DROP DATABASE IF EXISTS tested")
            connection.exec_driver_sql("CREATE DATABASE tested")
            break
        asyncio.run(asyncio.sleep(0.1))
    yield f"postgresql://sartor@/tested?host={server}"
    admin.dispose()


def test_runs_assignments_looks_and_keys(url: str):
    with Store.open(url) as store:
        run = store.add_run("reviews", "name: reviews\n", 3)
        store.finish_run(run, "met", {"labels": ["退款"]})
        assert store.assign("s", {"a": "test"}) == {"a": "test"}
        look = {"test_rows": "t", "bundle": "b", "criteria": "k", "verdicts": [{"n": 1}]}
        look |= {"time": datetime.now(UTC), "number": 1}
        assert store.add_look(look, {-(2**63), 7})
        assert not store.add_look(look, {-(2**63), 7})
        store.add_key("ci")
    with Store.open(url) as store:
        assert store.run(run).summary == {"labels": ["退款"]}
        assert store.run(run).started.utcoffset() is not None
        assert store.assign("s", {"a": "train", "b": "train"}) == {"a": "test", "b": "train"}
        assert [look["verdicts"] for look in store.looks("t")] == [[{"n": 1}]]
        assert store.looked_at({-(2**63), 7, 8}) == {-(2**63): 1, 7: 1}
        store.revoke_key(1)
        assert store.keys()[0].revoked is not None


def test_served_answers_and_feedback_through_the_whole_way(url: str):
    async def story(recorder: Recorder) -> list[object]:
        for request, user in (("r1", "u1"), ("r2", "u2")):
            recorder.served(
                Served(request, "b", datetime.now(UTC), ["nul \x00 text"], [ANSWER], BRIEF, user)
            )
        said = (
            Said("r1", 0, "other", comment="a\x00b"),
            Said("r2", 0, "refund"),
            Said("x", 0, "a"),
        )
        return await asyncio.gather(*map(recorder.said, said), return_exceptions=True)

    with Store.open(url) as store:
        recorder = Recorder(store, Keeping(texts=True))
        first, second, unknown = asyncio.run(story(recorder))
        recorder.close()
        assert sorted([first, second]) == [1, 2]
        assert unknown.status == 404
        drawn = draw_audit(store, 1, seed=0)
        assert drawn[0].text == "nul \ufffd text"
        found = summary(store)
        assert (found.requests, found.said.n, found.said.agreed) == (2, 2, 1)
        assert found.confused == (("refund", "other", 1),)
        assert found.audit is not None
        assert [c["label"] for c in corrections(store)] == ["other", "refund"]
        assert users(store) == [Who(None, "u1"), Who(None, "u2")]
        (theirs,) = heard(store, Who(None, "u2")).rows
        assert (theirs.label, theirs.best, theirs.named) == ("refund", "refund", True)
        deleted = delete_user(store, "u1")
        assert (deleted.predictions, deleted.feedback) == (1, 1)
        assert [c["user"] for c in corrections(store)] == ["u2"]


def test_what_postgres_cannot_hold_does_not_undo_what_others_said(url: str):
    quote = "two \x00 or \\u0000 years"
    quoted = Brief(quote, quote, 0.9)

    async def story(recorder: Recorder) -> list[object]:
        answers = (("r1", ANSWER, BRIEF), ("r2", {"best": quote}, lambda answer: quoted))
        for request, answer, brief in answers:
            recorder.served(Served(request, "b", datetime.now(UTC), [], [answer], brief))
        said = (Said("r1", 0, "other"), Said("r\x001", 0, "other"), Said("r2", 0, "other"))
        return await asyncio.gather(*map(recorder.said, said), return_exceptions=True)

    with Store.open(url) as store:
        recorder = Recorder(store)
        first, unknown, second = asyncio.run(story(recorder))
        recorder.close()
        assert sorted([first, second]) == [1, 2]
        assert (unknown.status, recorder.unrecorded) == (404, 0)
        assert summary(store).confused == (
            ("refund", "other", 1),
            ("two \ufffd or \\u0000 years", "other", 1),
        )


def test_the_migrations_lead_to_the_same_schema(url: str):
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE alembic_version (version_num VARCHAR(32))")
    with Store.open(url) as store, store.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    engine.dispose()


def older(url: str, version: str) -> sa.Engine:
    """A store as an older Sartor left it, empty."""
    from alembic import command
    from alembic.config import Config

    from sartor.core import migrations

    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(Path(migrations.__file__).parent))
        config.attributes["connection"] = connection
        command.upgrade(config, version)
    return engine


def test_keys_and_answers_of_an_old_store_are_kept_and_belong_to_no_tenant(url: str):
    engine = older(url, "0002")
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO api_keys (name, hash, created) VALUES ('old', 'h', now())"
        )
        connection.exec_driver_sql(
            "INSERT INTO predictions (request_id, row, bundle, time, answer)"
            """ VALUES ('r', 0, 'b', now(), '{"best": "a", "probabilities": {"a": 1}}')"""
        )
    engine.dispose()
    said = (Said("r", 0, "a", tenant="acme"), Said("r", 0, "a"))

    async def story(recorder: Recorder) -> list[object]:
        return await asyncio.gather(*map(recorder.said, said), return_exceptions=True)

    with Store.open(url) as store:
        assert store.keys()[0].grant == Grant("admin")
        store.add_key("new", Grant("predict", "acme", "50/s"))
        assert store.keys()[1].grant == Grant("predict", "acme", "50/s")
        recorder = Recorder(store)
        foreign, own = asyncio.run(story(recorder))
        recorder.close()
        assert (foreign.status, own) == (404, 1)


def test_looks_of_an_old_store_are_kept(url: str):
    engine = older(url, "0001")
    with engine.begin() as connection:
        for bundle, n in (("a", 1), ("b", 2), ("a", 3)):
            connection.exec_driver_sql(
                "INSERT INTO looks (test_rows, bundle, criteria, verdicts, time) "
                f"""VALUES ('t', '{bundle}', 'k', '[{{"n": {n}}}]', now())"""
            )
    engine.dispose()
    with Store.open(url) as store:
        assert [look["verdicts"] for look in store.looks("t")] == [[{"n": 1}], [{"n": 2}]]
        look = {"test_rows": "t", "bundle": "c", "criteria": "k", "verdicts": [], "number": 3}
        assert store.add_look(look | {"time": datetime.now(UTC)}, {7})
        assert store.looked_at({7}) == {7: 3}


def test_a_server_that_does_not_answer_says_so(server: str):
    with pytest.raises(WorkspaceError, match="did not answer") as caught:
        Store.open(f"postgresql://sartor:secret-word@/nothing?host={server}")
    assert "secret-word" not in str(caught.value)
    assert "reachable" in caught.value.fix


def test_a_store_that_hangs_holds_up_neither_known_keys_nor_the_servers_own(
    url: str, bundle, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(stored_keys, "_FRESH_S", 0.0)
    own = "0123456789abcdef" * 2
    with Store.open(url) as store:
        theirs = store.add_key("ci")
    holder = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))

    def asked(key: str) -> int:
        headers = {"authorization": f"Bearer {key}"}
        return client.get("/v1/model", headers=headers, timeout=10).status_code

    with serving(bundle=str(bundle.folder), store=url, key=own) as client:
        assert asked(theirs) == 200
        with holder.begin() as connection:
            connection.exec_driver_sql("LOCK TABLE api_keys IN ACCESS EXCLUSIVE MODE")
            assert [asked(key) for key in (theirs, own, theirs, "wrong" * 8)] == [200] * 3 + [401]
            monkeypatch.setattr(stored_keys, "_STALE_S", 0.0)
            monkeypatch.setattr(stored_keys, "_PATIENT_S", 0.0)
            assert [asked(key) for key in (theirs, own)] == [503, 200]
        monkeypatch.undo()
        assert asked(theirs) == 200
    holder.dispose()
