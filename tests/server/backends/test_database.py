"""The SQLite file and its writing thread: group commit, what fails alone and what together, and refusals to open."""

# ruff: noqa: ASYNC240 (the tests look at files between their steps; nothing else runs in their loop)

from __future__ import annotations

import asyncio
import os
import re
import resource
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from syncline.core.rooms.room import Position, Publication
from syncline.server.backends.sqlite import (
    Database,
    SqliteBroker,
    SqliteEventLog,
    SqlitePresence,
    SqliteStore,
    migrations,
    open_database,
)
from syncline.server.seams.outcome import Conflict, NotWritten, Unavailable
from syncline.server.seams.presence import PresenceChange, PresenceEntry
from syncline.server.seams.store import DocumentRecord, DocumentSnapshot, DocumentState, Turn, UserRecord
from syncline.testing import ManualClock, Outcomes, Recorder, settled
from tests.project import ROOT
from tests.waiting import PATIENCE

NOTES = DocumentRecord("notes", "generation", "ada", created_at=1.0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "syncline.db"


@pytest.fixture
async def database(path: Path) -> AsyncIterator[Database]:
    database = open_database(path, synchronous="normal")
    await database.acquire()
    await database.write(lambda connection: connection.execute("CREATE TABLE test (value UNIQUE)").rowcount)
    yield database
    await database.release()


def insert(connection: sqlite3.Connection, values: Sequence[Any]) -> list[int | Exception]:
    """A writer: each value may be there once; a negative one is an error of its own."""
    outcomes: list[int | Exception] = []
    for value in values:
        if value < 0:
            outcomes.append(Conflict("negative"))
            continue
        connection.execute("INSERT INTO test VALUES (?)", (value,))
        outcomes.append(value)
    return outcomes


async def values(database: Database) -> list[Any]:
    return await database.read(lambda connection: [row[0] for row in connection.execute("SELECT value FROM test")])


def held(connection: sqlite3.Connection, gates: Sequence[tuple[threading.Event, threading.Event]]) -> list[int]:
    """A writer that stands still until it is let go."""
    for entered, gate in gates:
        entered.set()
        assert gate.wait(30)
    return [1] * len(gates)


class Hold:
    """Keeps the writing thread inside a transaction: ``async with Hold(database):``."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._gate = threading.Event()
        self._outcomes = Outcomes()

    async def __aenter__(self) -> None:
        entered = threading.Event()
        self._database.submit(held, (entered, self._gate), self._outcomes.done("held"))
        assert await asyncio.to_thread(entered.wait, 30)

    async def __aexit__(self, *_: object) -> None:
        await asyncio.sleep(0)  # what was submitted goes to the thread
        self._gate.set()
        await self._outcomes.wait()


def break_commit(connection: sqlite3.Connection) -> int:
    """Makes COMMIT itself fail: a foreign key that is looked at only then."""
    connection.execute("PRAGMA defer_foreign_keys = ON")
    return connection.execute("INSERT INTO room_members VALUES ('no such room', 'ada', 'owner')").rowcount


# Group commit --------------------------------------------------------------------------------------------------------


async def test_all_that_one_turn_writes_is_one_transaction(path: Path) -> None:
    database, clock = open_database(path), ManualClock()
    store, broker = SqliteStore(database, clock), SqliteBroker(database)
    log, presence = SqliteEventLog(database, clock), SqlitePresence(database, clock)
    await store.start()
    await broker.start(Recorder())
    await log.start()
    await presence.start()
    await store.create_document(NOTES)
    commits = database.commits
    outcomes = Outcomes()
    waiting = [
        asyncio.ensure_future(
            presence.write([PresenceChange("team", PresenceEntry("ada", "c", "Ada", "online", 1.0), here=True)], 10.0)
        ),
        asyncio.ensure_future(store.put_user(UserRecord("ada"))),
    ]
    await asyncio.sleep(0)
    # The tasks have submitted in this turn; so do we.
    for number in range(100):
        store.append("notes", NOTES.generation, Turn(number, 1, b""), outcomes.done(("turn", number)))
        broker.publish(Publication("team", "ada", "Ada", 0.0, "json", b"1"), outcomes.done(("publication", number)))
        log.append("team", "message", b"1", outcomes.done(("event", number)))
    await outcomes.wait()
    await asyncio.gather(*waiting)
    assert not outcomes.errors
    assert outcomes.order == [(kind, n) for n in range(100) for kind in ("turn", "publication", "event")]
    assert database.commits == commits + 1
    assert database.last_batch == 302
    for part in (broker, presence, log, store):
        await part.close()


async def test_what_comes_while_the_disk_is_busy_is_one_transaction(database: Database) -> None:
    outcomes = Outcomes()
    commits = database.commits
    async with Hold(database):
        for value in range(20):
            database.submit(insert, value, outcomes.done(value))
            await asyncio.sleep(0)  # a turn each
        assert database.queue_depth == 21
        assert outcomes.order == []
    await outcomes.wait()
    assert outcomes.order == list(range(20))
    assert database.commits == commits + 2
    assert database.last_batch == 20
    assert database.queue_depth == 0


async def test_counters(database: Database) -> None:
    before = (database.commits, database.units, database.failures, database.reads)
    outcomes = Outcomes()
    for value in (1, 2, 2, -1):
        database.submit(insert, value, outcomes.done(len(outcomes.order) + database.queue_depth))
    await outcomes.wait()
    await values(database)
    assert (database.commits, database.units, database.failures, database.reads) == (
        before[0] + 1,
        before[1] + 3,  # a conflict is an answer, not a failure
        before[2] + 1,
        before[3] + 1,
    )
    assert (database.queue_depth, database.reading) == (0, 0)
    assert database.commit_seconds > 0


# Failures ------------------------------------------------------------------------------------------------------------


async def test_a_unit_fails_alone_and_leaves_nothing(database: Database) -> None:
    def half(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO test VALUES (1000)")
        raise ZeroDivisionError

    def doubled(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO test VALUES (1001)")
        connection.execute("INSERT INTO test VALUES (1001)")

    outcomes = Outcomes()
    for value in (1, 2, 2, -1, 3):
        database.submit(insert, value, outcomes.done((value, database.queue_depth)))
    works = asyncio.gather(
        database.write(half), database.write(doubled), database.write(lambda _: 7), return_exceptions=True
    )
    await asyncio.sleep(0)
    database.submit(insert, 4, outcomes.done("last"))
    await outcomes.wait()
    first, second, third = await works
    assert isinstance(first, NotWritten)
    assert re.search(r"cannot be read \(ZeroDivisionError: .*, test_database.py:\d+\)", str(first)), "where it was"
    assert isinstance(second, Unavailable)
    assert third == 7
    assert [name if isinstance(name, str) else name[0] for name in outcomes.order] == [1, 2, 2, -1, 3, "last"]
    assert sorted(type(error).__name__ for error in outcomes.errors.values()) == ["Conflict", "NotWritten"]
    assert sorted(await values(database)) == [1, 2, 3, 4]


async def test_a_failing_commit_fails_the_batch_and_nothing_else(database: Database) -> None:
    outcomes = Outcomes()
    async with Hold(database):
        for value in range(3):
            database.submit(insert, value, outcomes.done(value))
        broken = asyncio.ensure_future(database.write(break_commit))
        await asyncio.sleep(0)
    await outcomes.wait()
    with pytest.raises(Unavailable, match="FOREIGN KEY"):
        await broken
    assert outcomes.order == [0, 1, 2]
    assert all(isinstance(error, Unavailable) for error in outcomes.errors.values())
    assert len(outcomes.errors) == 3
    assert await values(database) == []
    for value in range(3):
        assert await database.write(partial(insert, values=[value])) == [value]
    assert await values(database) == [0, 1, 2]


async def test_a_failing_commit_leaves_no_gap_in_offsets_or_revisions(path: Path) -> None:
    database, clock, recorder = open_database(path, synchronous="normal"), ManualClock(), Recorder()
    store, broker, log = SqliteStore(database, clock), SqliteBroker(database), SqliteEventLog(database, clock)
    await store.start()
    await broker.start(recorder)
    await log.start()
    await store.create_document(NOTES)
    await broker.subscribe("team")

    def write(number: int) -> None:
        publication = Publication("team", "ada", "Ada", 0.0, "json", b"%d" % number)
        broker.publish(publication, outcomes.done(("publication", number)))
        store.append("notes", NOTES.generation, Turn(1, 1, b"%d" % number), outcomes.done(("turn", number)))
        log.append("team", "message", b"%d" % number, outcomes.done(("event", number)))

    outcomes = Outcomes()
    store.append("notes", NOTES.generation, Turn(0, 1, b""), outcomes.done("first"))
    publication = Publication("team", "ada", "Ada", 0.0, "json", b"0")
    broker.publish(publication, outcomes.done("publication"))
    await outcomes.wait()
    async with Hold(database):
        write(1)
        broken = asyncio.ensure_future(database.write(break_commit))
        await asyncio.sleep(0)
    with pytest.raises(Unavailable):
        await broken
    await outcomes.wait()
    assert set(outcomes.errors) == {("publication", 1), ("turn", 1), ("event", 1)}
    write(2)
    await outcomes.wait()
    assert len(outcomes.errors) == 3
    assert outcomes.results["publication", 2] == Position(2, publication.epoch)
    assert outcomes.results["turn", 2] == 2
    assert outcomes.results["event", 2] == 1
    assert [(one.offset, one.data) for one in recorder.publications] == [(1, b"0"), (2, b"2")]
    history = await broker.history("team", None, 10)
    assert [(one.offset, one.data) for one in history.publications] == [(1, b"0"), (2, b"2")]
    assert [turn.body for turn in await store.turns("notes", 0, 9)] == [b"", b"2"]
    for part in (broker, log, store):
        await part.close()


async def test_a_full_disk_is_unavailable_until_there_is_room(path: Path) -> None:
    database, clock = open_database(path, synchronous="normal"), ManualClock()
    store = SqliteStore(database, clock)
    await store.start()
    await store.create_document(NOTES)
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Python ignores SIGXFSZ, so a write past the limit fails as on a full disk does: for every process of this user alike.
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.with_name(path.name + "-wal").stat().st_size + 8192, usual[1]))
    try:
        outcomes = Outcomes()
        store.append("notes", NOTES.generation, Turn(0, 1, b"x" * 1_000_000), outcomes.done("big"))
        store.append("notes", NOTES.generation, Turn(0, 1, b"x"), outcomes.done("small"))
        await outcomes.wait()
        with pytest.raises(Unavailable):
            await settled(lambda done: store.append("notes", NOTES.generation, Turn(0, 1, b"x" * 1_000_000), done))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    assert isinstance(outcomes.errors["big"], Unavailable)
    revision = outcomes.results.get("small", 0)
    assert (
        await settled(lambda done: store.append("notes", NOTES.generation, Turn(revision, 1, b"y" * 1_000_000), done))
        == revision + 1
    )
    stored = await store.load_document("notes")
    assert stored is not None
    assert [turn.base for turn in stored.turns] == list(range(revision + 1))
    await store.close()


async def test_a_failing_callback_does_not_keep_the_others_from_hearing(database: Database) -> None:
    heard: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: heard.append(context["exception"]))

    def broken(result: int | None, error: Exception | None) -> None:
        raise ZeroDivisionError

    outcomes = Outcomes()
    database.submit(insert, 1, outcomes.done(1))
    database.submit(insert, 2, broken)
    database.submit(insert, 3, outcomes.done(3))
    await outcomes.wait()
    assert outcomes.order == [1, 3]
    assert [type(error) for error in heard] == [ZeroDivisionError]
    assert database.queue_depth == 0


async def test_who_waits_may_go(database: Database) -> None:
    async with Hold(database):
        writing = asyncio.ensure_future(database.write(lambda connection: insert(connection, [1])))
        await asyncio.sleep(0)
        writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    await database.write(lambda connection: insert(connection, [2]))
    assert await values(database) == [1, 2]


async def test_a_full_queue_refuses_at_once(path: Path) -> None:
    database = Database(path, synchronous="normal", queue_size=5)
    await database.acquire()
    await database.write(lambda connection: connection.execute("CREATE TABLE test (value UNIQUE)").rowcount)
    outcomes = Outcomes()
    async with Hold(database):
        for value in range(8):
            database.submit(insert, value, outcomes.done(value))
        assert list(outcomes.errors) == [4, 5, 6, 7]
        with pytest.raises(Unavailable, match="5 writes are waiting"):
            await database.write(lambda connection: insert(connection, [9]))
    await outcomes.wait()
    assert list(outcomes.results) == [0, 1, 2, 3]
    assert database.failures == 5
    await database.write(lambda connection: insert(connection, [8]))
    assert await values(database) == [0, 1, 2, 3, 8]
    await database.release()


async def test_reads_are_bounded(path: Path) -> None:
    database = Database(path, synchronous="normal", queue_size=3, readers=1)
    await database.acquire()
    gate = threading.Event()
    reads = [asyncio.ensure_future(database.read(lambda _: gate.wait(30))) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(Unavailable, match="3 reads are waiting"):
        await database.read(lambda _: None)
    gate.set()
    assert await asyncio.gather(*reads) == [True] * 3
    await database.release()


async def test_another_writer_is_waited_for_then_unavailable(path: Path) -> None:
    database = Database(path, synchronous="normal", busy_timeout=0.05)
    await database.acquire()
    await database.write(lambda connection: connection.execute("CREATE TABLE test (value UNIQUE)").rowcount)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable, match="locked"):
            await database.write(lambda connection: insert(connection, [1]))
        assert await values(database) == [], "reads do not wait for writers"
        other.execute("COMMIT")
    await database.write(lambda connection: insert(connection, [1]))
    assert await values(database) == [1]
    await database.release()


async def test_a_read_sees_one_moment(database: Database) -> None:
    begun, gate = threading.Event(), threading.Event()

    def read_twice(connection: sqlite3.Connection) -> list[int]:
        count = "SELECT count(*) FROM test"
        (before,) = connection.execute(count).fetchone()
        begun.set()
        assert gate.wait(30)
        return [before, *connection.execute(count).fetchone()]

    reading = asyncio.ensure_future(database.read(read_twice))
    assert await asyncio.to_thread(begun.wait, 30)
    await database.write(lambda connection: insert(connection, [1]))
    assert await values(database) == [1], "a read asked for after the write sees it"
    gate.set()
    assert await reading == [0, 0]


async def test_a_read_cannot_write(database: Database) -> None:
    with pytest.raises(Unavailable, match="readonly"):
        await database.read(lambda connection: insert(connection, [1]))
    assert await values(database) == []


# Opening and closing -------------------------------------------------------------------------------------------------


async def refusal(path: Path) -> str:
    """Why the file cannot be opened."""
    store = SqliteStore(open_database(path), ManualClock())
    with pytest.raises(Unavailable) as refused:
        await store.start()
    with pytest.raises(Unavailable):
        await store.load_document("notes")
    text = str(refused.value)
    assert str(path) in text
    return text


async def test_parts_share_one_file_until_the_last_has_closed(path: Path) -> None:
    database, clock = open_database(path), ManualClock()
    store, log = SqliteStore(database, clock), SqliteEventLog(database, clock)
    await asyncio.gather(store.start(), log.start(), store.start())
    await store.close()
    await store.close()
    log.append("team", "message", b"", lambda sequence, error: None)
    await log.close()
    with pytest.raises(Unavailable, match="closed"):
        await database.write(lambda connection: 1)
    with pytest.raises(Unavailable, match="closed"):
        await database.read(lambda connection: 1)
    left = sorted(file.name for file in path.parent.iterdir())
    assert left == [path.name, path.name + ".lock"], "the write-ahead log was folded in"
    await log.start()
    assert len(await log.read(0, 10)) == 1
    await log.close()


async def test_a_part_that_closes_finishes_its_own(path: Path) -> None:
    database, clock = open_database(path), ManualClock()
    store, log = SqliteStore(database, clock), SqliteEventLog(database, clock)
    await store.start()
    await log.start()
    outcomes = Outcomes()
    for number in range(50):
        log.append("team", "message", b"", outcomes.done(number))
    await log.close()
    assert outcomes.order == list(range(50))
    assert not outcomes.errors
    await store.ping()
    await store.close()


async def test_a_file_that_is_no_database(path: Path) -> None:
    path.write_bytes(b"These are not the bytes you are looking for. " * 100)
    assert "file is not a database" in await refusal(path)


async def test_a_damaged_file_is_unavailable_never_empty(path: Path) -> None:
    store = SqliteStore(open_database(path), ManualClock())
    await store.start()
    await store.create_document(NOTES)
    for base in range(200):
        await settled(partial(store.append, "notes", NOTES.generation, Turn(base, 1, b"x" * 500)))
    await store.close()
    healthy = path.read_bytes()
    # Every page but the first, which holds the schema: one way of damage that opening does not notice.
    path.write_bytes(healthy[:4096] + b"\xff" * (len(healthy) - 4096))
    store = SqliteStore(open_database(path), ManualClock())
    try:
        await store.start()
    except Unavailable as error:
        assert "malformed" in str(error)
    else:
        with pytest.raises(Unavailable, match="malformed"):
            await store.load_document("notes")
        with pytest.raises(Unavailable, match="malformed"):
            await settled(lambda done: store.append("notes", NOTES.generation, Turn(200, 1, b""), done))
    finally:
        await store.close()
    path.write_bytes(healthy)
    store = SqliteStore(open_database(path), ManualClock())
    await store.start()
    assert len(await store.turns("notes", 0, 200)) == 200
    await store.close()


async def test_a_lost_file_is_not_replaced_by_an_empty_one(path: Path) -> None:
    database = open_database(path)
    await database.acquire()
    with pytest.raises(Unavailable):
        await database.write(break_commit)  # so that the next transaction begins on a new connection
    for file in path.parent.iterdir():
        file.unlink()
    with pytest.raises(Unavailable, match="unable to open"):
        await database.write(lambda connection: 1)
    assert not path.exists()
    await database.release()


async def test_a_folder_that_is_not_there(path: Path) -> None:
    assert "there is no directory" in await refusal(path / "deeper" / "syncline.db")


async def test_a_path_that_is_a_folder(tmp_path: Path) -> None:
    assert "is no file" in await refusal(tmp_path)


@pytest.fixture
def sealed() -> Iterator[Path]:
    """A folder that anybody may look into. The folders above a ``tmp_path`` are its user's alone."""
    with tempfile.TemporaryDirectory(prefix="syncline-test-") as name:
        os.chmod(name, 0o755)
        folder = Path(name) / "sealed"
        folder.mkdir()
        yield folder
        folder.chmod(0o755)


def refused_without_rights(path: Path) -> str:
    """What who may not write there is told. Root may write everywhere; so in a process that is nobody's."""
    command = [sys.executable, "-m", "tests.server.backends.nobody", str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("there", [False, True], ids=["new file", "existing file"])
async def test_a_folder_that_cannot_be_written(sealed: Path, there: bool) -> None:
    path = sealed / "syncline.db"
    if there:
        store = SqliteStore(open_database(path), ManualClock())
        await store.start()
        await store.close()
        path.chmod(0o444)
    sealed.chmod(0o555)
    text = refused_without_rights(path)
    assert "not writable" in text
    assert str(path) in text


async def test_a_file_that_cannot_be_read(sealed: Path) -> None:
    path = sealed / "syncline.db"
    store = SqliteStore(open_database(path), ManualClock())
    await store.start()
    await store.close()
    for one in sealed.iterdir():
        one.chmod(0o000 if one == path else 0o666)
    sealed.chmod(0o777)
    text = refused_without_rights(path)
    assert f"{path}: Permission denied: the file or its directory is not writable: chown {path}" in text


def test_a_folder_that_cannot_be_entered(sealed: Path) -> None:
    path = sealed / "deeper" / "syncline.db"
    path.parent.mkdir()
    sealed.chmod(0o000)
    assert f"Permission denied: the user that runs this may not enter {path.parent}" in refused_without_rights(path)


async def test_a_newer_schema_is_refused_and_left_alone(path: Path) -> None:
    store = SqliteStore(open_database(path), ManualClock())
    await store.start()
    await store.create_document(NOTES)
    await store.close()
    newer = len(migrations.MIGRATIONS) + 1
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("INSERT INTO schema_version VALUES (?, 0)", (newer,))
    before = path.read_bytes()
    text = await refusal(path)
    assert f"schema version {newer} was written by a newer Syncline" in text
    assert path.read_bytes() == before


async def test_a_database_of_another_program_is_refused(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE customers (id)")
    assert "is a database of another program" in await refusal(path)


async def test_migrations_run_once_each_in_order(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SqliteStore(open_database(path), ManualClock())
    await store.start()
    await store.put_user(UserRecord("ada", created_at=1.0))
    await store.close()
    more = (("CREATE TABLE extra (value)", "INSERT INTO extra VALUES (1)"), ("INSERT INTO extra VALUES (2)",))
    monkeypatch.setattr(migrations, "MIGRATIONS", (*migrations.MIGRATIONS, *more))
    first, second = open_database(path), open_database(path)
    await asyncio.gather(first.acquire(), second.acquire())  # as two processes that start together
    rows = await second.read(lambda connection: connection.execute("SELECT value FROM extra").fetchall())
    assert rows == [(1,), (2,)]
    versions = await second.read(lambda connection: connection.execute("SELECT version FROM schema_version").fetchall())
    assert versions == [(number,) for number in range(1, len(migrations.MIGRATIONS) + 1)]
    await first.release()
    await second.release()
    store = SqliteStore(open_database(path), ManualClock())
    await store.start()
    assert await store.user("ada") == UserRecord("ada", created_at=1.0)
    await store.close()


async def test_documents_from_before_checkpoints_have_a_history_from_their_snapshot_on(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their first text may be lost, so nothing older than the snapshot may be claimed to be known."""
    usual = migrations.MIGRATIONS
    monkeypatch.setattr(migrations, "MIGRATIONS", usual[:1])
    database = open_database(path)
    await database.acquire()

    def fill(connection: sqlite3.Connection) -> None:
        for key, (name, revision) in enumerate((("long", 3), ("fresh", 1)), 1):
            values = (key, name, "g", "ada", "editor", 5.0, revision)
            connection.execute("INSERT INTO documents VALUES (?, ?, ?, ?, ?, ?, ?)", values)
            for base in range(revision):
                connection.execute("INSERT INTO turns VALUES (?, ?, 1, ?, 9.0)", (key, base, b"turn %d" % base))
        connection.execute("INSERT INTO snapshots VALUES (1, 2, ?)", (b"text at 2",))

    await database.write(fill)
    await database.release()
    monkeypatch.setattr(migrations, "MIGRATIONS", usual)
    store = SqliteStore(open_database(path), ManualClock())
    await store.start()
    snapshot, turns = DocumentSnapshot(2, b"text at 2"), [Turn(base, 1, b"turn %d" % base, 9.0) for base in range(3)]
    long, fresh = await store.load_document("long"), await store.load_document("fresh")
    assert long is not None and (long.snapshot, long.turns) == (snapshot, turns[2:])
    assert await store.document_state("long") == DocumentState(long.record, 3, 2, 2, 2)
    assert long.record.type == "text"
    assert fresh is not None and (fresh.snapshot, fresh.turns, fresh.horizon) == (None, turns[:1], 0)
    assert await store.checkpoints("long") == [2]
    assert await store.turns("long", 0, 3) == turns  # still there for who was away
    await store.close()


async def test_a_failing_migration_changes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SqliteStore(open_database(path), ManualClock())
    await store.start()
    await store.close()
    usual = migrations.MIGRATIONS
    broken = ("CREATE TABLE extra (value)", "INSERT INTO nowhere VALUES (1)")
    monkeypatch.setattr(migrations, "MIGRATIONS", (*usual, broken))
    assert "no such table: nowhere" in await refusal(path)
    monkeypatch.setattr(migrations, "MIGRATIONS", usual)
    await store.start()
    tables = await store._database.read(
        lambda connection: connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'extra'").fetchall()
    )
    assert tables == []
    await store.close()


@pytest.mark.parametrize(("synchronous", "value"), [("full", 2), ("normal", 1)])
async def test_the_file_is_as_safe_as_configured(path: Path, synchronous: str, value: int) -> None:
    database = open_database(path, synchronous=synchronous)
    await database.acquire()

    def settings(connection: sqlite3.Connection) -> list[Any]:
        names = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        return [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names]

    assert await database.write(settings) == ["wal", value, 1, 5000]
    await database.release()
    with pytest.raises(ValueError, match="synchronous"):
        open_database(path, synchronous="off")


async def test_names_in_the_path_are_taken_literally(tmp_path: Path) -> None:
    for name in (":memory:", "a?mode=memory", "100%20", "ä b#c.db"):
        database = open_database(tmp_path / name)
        await database.acquire()
        await database.release()
        assert (tmp_path / name).is_file()


class Failing:
    """A connection whose COMMIT ends with an error: the kernel, or the disk, does not say what it has."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def execute(self, statement: str, *arguments: Any) -> sqlite3.Cursor:
        if statement == "COMMIT":
            raise sqlite3.OperationalError("disk I/O error")
        return self._connection.execute(statement, *arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


async def test_what_is_told_of_a_failed_write_is_what_is_known(path: Path) -> None:
    database = open_database(path, synchronous="normal")
    store = SqliteStore(database, ManualClock())
    await store.start()
    await store.create_document(NOTES)
    connection = database._connection
    assert connection is not None
    database._connection = Failing(connection)  # type: ignore[assignment]
    with pytest.raises(Unavailable) as told:
        await settled(lambda done: store.append("notes", NOTES.generation, Turn(0, 1, b""), done))
    assert not isinstance(told.value, NotWritten), "it may be on the disk"

    def wrong(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO users VALUES (NULL, NULL, NULL, NULL, NULL)")

    with pytest.raises(NotWritten):
        await database.write(wrong)
    await store.close()
    with pytest.raises(NotWritten):
        await settled(lambda done: store.append("notes", NOTES.generation, Turn(0, 1, b""), done))


async def test_what_is_made_is_for_its_user_alone(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    usual = os.umask(0o022)
    try:
        for wide in (False, True):
            if wide:
                path.chmod(0o644)
            database = open_database(path)
            database.claim()
            store = SqliteStore(database, ManualClock())
            await store.start()
            await store.create_document(NOTES)
            modes = {
                one.name.removeprefix(path.name): one.stat().st_mode & 0o777
                for one in path.parent.glob(path.name + "*")
            }
            warned = [record for record in caplog.records if "can be read by others (mode 0644)" in record.getMessage()]
            assert len(warned) == wide
            assert wide or modes == dict.fromkeys(("", "-wal", "-shm", ".lock"), 0o600)
            await store.close()
    finally:
        os.umask(usual)
