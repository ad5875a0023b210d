"""A database that cannot be used: whatever is wrong with it, `syncline serve` and the commands say so in one line, with what to do.

Real files and real processes. What damages a single value is in the second part.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from syncline.server import cli
from syncline.server.app import StartError
from syncline.server.backends.sqlite import Database, migrations
from syncline.server.backends.sqlite.claim import beside
from syncline.server.backends.sqlite.trouble import failure
from syncline.server.seams.outcome import Unavailable
from tests.harness import ServerProcess
from tests.scale import seeds
from tests.serving import serving
from tests.waiting import PATIENCE

from .wsclient import Wire, dial

PAGE = 4096


async def fill(client: Wire, count: int) -> None:
    await client.call("room:join", room="r")
    state = await client.call("document:join", document="d")
    for number in range(count):
        await client.call("message:send", room="r", data="x" * 300)
        seq, revision = number + 1, state["revision"] + number
        await client.call("document:operation", document="d", seq=seq, revision=revision, operation=["x"])


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a server that was killed: a database, and a log beside it with what came last."""
    folder = tmp_path_factory.mktemp("killed")

    async def session(server: ServerProcess, count: int) -> None:
        async with dial(server.url, name="Ada") as ada:
            await fill(ada, count)

    with ServerProcess(folder) as server:
        asyncio.run(session(server, 60))
        server.stop()
        server.start()
        asyncio.run(session(server, 30))
        server.kill()
    return folder


@pytest.fixture
def folder(killed: Path, tmp_path: Path) -> Path:
    """As the killed one, and as if it was served there: moving it is another matter (tests/test_place.py)."""
    made = tmp_path / "state"
    shutil.copytree(killed, made)
    with closing(sqlite3.connect(made / "syncline.db")) as connection:  # with its log, which stays
        marks = [beside(made / "syncline.db", name).stat() for name in (".served", ".place")]
        text = f"{marks[0].st_ino} {marks[1].st_ino} {marks[1].st_ctime_ns}"
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        with connection:
            connection.execute("UPDATE place SET marks = ?", (text,))
        log = beside(made / "syncline.db", "-wal").read_bytes()
    beside(made / "syncline.db", "-wal").write_bytes(log)  # the last connection folds it
    shutil.copyfile(killed / "syncline.db", made / "syncline.db")
    return made


@pytest.fixture
def closed(folder: Path) -> Path:
    """The database of a server that was stopped."""
    with closing(sqlite3.connect(folder / "syncline.db")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return folder / "syncline.db"


def run(path: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    usual = {name: value for name, value in os.environ.items() if not name.startswith("SYNCLINE_")}
    settings = {"SYNCLINE_STORE__PATH": str(path), "SYNCLINE_LOG__LEVEL": "warning", **environment}
    return subprocess.run(
        [sys.executable, "-m", "syncline", *arguments],
        env={**usual, **settings},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        cwd=path.parent.parent,
    )


COMMANDS = (("user", "list"), ("user", "add", "eve"), ("token", "create", "--user", "eve"))


def command(path: Path, arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> int:
    """Its exit code, in this process."""
    monkeypatch.setenv("SYNCLINE_STORE__PATH", str(path))
    return cli.main(arguments)


def one_line(text: str, *words: str) -> None:
    assert text.startswith("syncline: ") and text.count("\n") == 1, text
    assert "Traceback" not in text and len(text) < 700
    for word in words:
        assert word in text, text


def over(path: Path, at: int, size: int, junk: bytes = b"\xff") -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(junk * size)


def header(path: Path) -> None:
    over(path, 0, 100)


def first_page(path: Path) -> None:
    over(path, 100, PAGE - 100)


def the_middle(path: Path) -> None:
    for page in range(2, path.stat().st_size // PAGE):
        over(path, page * PAGE, PAGE)


def schema_text(path: Path) -> None:
    """What SQLite quotes of it has line feeds."""
    content = path.read_bytes()
    assert b"created_at REAL" in content
    path.write_bytes(content.replace(b"created_at REAL", b'created_at "EAL', 1))


def schema_no_text(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"CREATE TABLE users", b"CREATE TABLE \xff\xfe\xffrs", 1))


def half(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2 // PAGE * PAGE)


def half_a_page(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2 // PAGE * PAGE + 777)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def text(path: Path) -> None:
    path.write_bytes(b"These are not the bytes you are looking for. " * 100)


def newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("INSERT INTO schema_version VALUES (99, 0)")


def strange_version(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DROP TABLE schema_version")
        connection.execute("CREATE TABLE schema_version (version, applied_at)")
        connection.execute("INSERT INTO schema_version VALUES ('five', 0)")


def another_program(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE customers (id)")


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def directory(suffix: str) -> Callable[[Path], None]:
    def put(path: Path) -> None:
        one = beside(path, suffix)
        one.unlink(missing_ok=True)
        one.mkdir()

    put.__name__ = f"directory_as_{suffix[1:]}"
    return put


_BACKUP = "syncline restore FILE"
#: What is done to the file of a stopped server, and what must be told of it.
DAMAGES: list[tuple[Callable[[Path], None], tuple[str, ...]]] = [
    (header, ("file is not a database", _BACKUP)),
    (first_page, ("the database is damaged", _BACKUP)),
    (the_middle, ("the database is damaged", _BACKUP)),
    (schema_text, ("malformed database schema", "unrecognized token", "the database is damaged", _BACKUP)),
    (schema_no_text, ("the database is damaged", _BACKUP)),
    (half, ("the database is damaged", _BACKUP)),
    (half_a_page, ("the database is damaged", _BACKUP)),
    (empty, ("is empty, but a database was served there", _BACKUP, "remove it")),
    (text, ("file is not a database", "set store.path")),
    (newer, ("schema version 99 was written by a newer Syncline", "run that one")),
    (strange_version, ("the version of the schema", "the database is damaged", _BACKUP)),
    (another_program, ("is a database of another program", "set store.path")),
    (pipe, ("is no file", "set store.path")),
    (directory("-wal"), ("-wal: Is a directory", "move the directory away")),
    (directory(".lock"), (".lock: Is a directory", "move the directory away")),
    (directory(".served"), (".served: Is a directory", "move the directory away")),
]


@pytest.mark.parametrize(("damage", "words"), DAMAGES, ids=[damage.__name__ for damage, _ in DAMAGES])
def test_a_damaged_database_is_one_line(
    closed: Path,
    damage: Callable[[Path], None],
    words: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    damage(closed)
    before = closed.read_bytes() if closed.is_file() else b""
    done = run(closed, "serve", "--port", "0")
    assert (done.returncode, done.stdout) == (1, "")
    one_line(done.stderr, str(closed), *words)
    for arguments in COMMANDS:
        assert command(closed, arguments, monkeypatch) == 1
        one_line(capsys.readouterr().err, str(closed), *words)
    if not closed.is_fifo():
        assert closed.read_bytes() == before, "whoever repairs it finds it as it was"


def test_a_directory_in_its_place_is_an_error_of_the_configuration(tmp_path: Path) -> None:
    done = run(tmp_path, "serve", "--port", "0")
    assert done.returncode == 2 and "is a folder; a file is expected" in done.stderr and "Traceback" not in done.stderr


def test_a_kept_secret_that_is_damaged_is_one_line(
    closed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(sqlite3.connect(closed)) as connection, connection:
        connection.execute("UPDATE settings SET value = substr(value, 1, 9) WHERE key = 'auth.secret'")
    done = run(closed, "serve", "--port", "0")
    assert (done.returncode, done.stdout) == (1, "")
    one_line(done.stderr, f"{closed}: the secret that is kept in it is damaged", "or set auth.secret")
    assert command(closed, ("token", "create", "--user", "eve"), monkeypatch) == 1
    one_line(capsys.readouterr().err, "the secret that is kept in it is damaged")


def test_more_is_told_at_debug(closed: Path) -> None:
    header(closed)
    done = run(closed, "serve", "--port", "0", SYNCLINE_LOG__LEVEL="debug")
    assert done.returncode == 1 and '"exception": "Traceback' in done.stderr
    (line,) = (line for line in done.stderr.splitlines(keepends=True) if line.startswith("syncline: "))
    one_line(line, "file is not a database")


def test_a_disk_that_is_full(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "d.db")) as connection:
        connection.execute("PRAGMA max_page_count = 2")
        with pytest.raises(sqlite3.OperationalError) as full:
            connection.executescript("CREATE TABLE a (x); CREATE TABLE b (x); CREATE TABLE c (x)")
    told = str(failure(tmp_path / "d.db", full.value))
    assert "disk is full: make room on the file system of " in told and "\n" not in told
    told = str(failure(tmp_path / "d.db", OSError(28, "No space left on device", str(tmp_path / "d.db.lock"))))
    assert "d.db.lock: No space left on device: make room" in told


def test_a_file_that_another_program_keeps_locked(closed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = Database(closed, busy_timeout=0.05, serves=True)
    with closing(sqlite3.connect(closed, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable, match="another program writes to it: end that"):
            asyncio.run(database.acquire())


async def test_damage_that_shows_while_it_is_served(closed: Path, tmp_path: Path) -> None:
    """The node goes on; who asks is told, and the operator in few lines."""
    with ServerProcess(tmp_path, {"store": {"path": str(closed)}}) as server:
        token = (await asyncio.to_thread(run, closed, "token", "create", "--user", "eve")).stdout.strip()
        the_middle(closed)
        async with dial(server.url) as ada:
            codes = [await ada.error("auth", **who) for who in ({"name": "Ada"}, {"token": token}, {"token": token})]
            assert codes == ["unavailable"] * 3
        assert server.running and "the database is damaged: keep the file" in server.log
        assert "Traceback" not in server.log
        async with httpx.AsyncClient(base_url=server.url, trust_env=False) as client:
            metrics = (await client.get("/metrics")).text
        found = re.search(r"^syncline_store_read_failures_total (\S+)$", metrics, re.MULTILINE)
        assert found is not None and float(found[1]) > 0


async def test_a_document_whose_body_nobody_wrote(closed: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A number of revisions that cannot be: nobody gets another text than was written."""
    with closing(sqlite3.connect(closed)) as connection, connection:
        connection.execute("UPDATE snapshots SET revision = 4611686018427387904")
        connection.execute("UPDATE turns SET count = 4611686018427387904")
    async with serving(closed.parent, "sqlite") as app, dial(app.url, name="Ada") as ada:
        assert await ada.error("document:join", document="d") == "document_unavailable"
    assert "document d cannot be loaded" in caplog.text
    assert not [record for record in caplog.records if record.exc_info]


# -- the log -----------------------------------------------------------------------------------------------------------


def log_header(log: Path) -> None:
    over(log, 0, 32)


def log_middle(log: Path) -> None:
    over(log, 32 + (24 + PAGE) * 20 + 500, 50)


@pytest.mark.parametrize("damage", [log_header, log_middle])
def test_a_damaged_log_that_lost_something_is_one_line(
    folder: Path,
    damage: Callable[[Path], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """SQLite would go on without what it cannot read, and remove it."""
    path = folder / "syncline.db"
    log = beside(path, "-wal")
    damage(log)
    before = log.read_bytes()
    done = run(path, "serve", "--port", "0")
    assert (done.returncode, done.stdout) == (1, "")
    words = ("-wal is damaged", "transactions that were acknowledged cannot be read", _BACKUP, "go on without them")
    one_line(done.stderr, *words)
    for arguments in COMMANDS:
        assert command(path, arguments, monkeypatch) == 1
        one_line(capsys.readouterr().err, *words)
    assert log.read_bytes() == before
    # And what it says helps.
    done = run(path, "restore")
    assert done.returncode == 0 and "new epochs" in done.stdout
    (kept,) = folder.glob("syncline.db-wal.*")
    assert kept.read_bytes() == before and kept.stat().st_mode & 0o777 == 0o600
    assert command(path, ("user", "list"), monkeypatch) == 0


def test_what_was_being_written_is_no_damage(folder: Path) -> None:
    """A kill, or a power cut, in the middle of a transaction that nobody was told of."""
    log = beside(folder / "syncline.db", "-wal")
    content = log.read_bytes()
    with log.open("ab") as file:  # a frame without a commit, and with no checksum that holds
        file.write(content[32 : 32 + 4] + bytes(4) + content[16:24] + bytes(8) + bytes(PAGE))
    server = ServerProcess(folder)
    with server:
        assert "was not closed" in server.log and "damaged" not in server.log and "missing" not in server.log


def test_with_normal_synchronous_what_a_power_cut_took_is_told_and_kept(folder: Path) -> None:
    log = beside(folder / "syncline.db", "-wal")
    log_middle(log)
    with ServerProcess(folder, {"store": {"synchronous": "normal"}}) as server:
        assert "-wal is damaged" in server.log and "transactions are lost; it is kept as" in server.log
        assert "New epochs and generations are opened" in server.log
    assert len(list(folder.glob("syncline.db-wal.*"))) == 1


# -- what is told of what goes well ------------------------------------------------------------------------------------


def told(log: str, part: str) -> list[str]:
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    found = [line for line in lines if part in line["message"]]
    assert all(line["level"] == "info" for line in found)
    return [line["message"] for line in found]


def test_recovery_after_a_crash_is_a_line(folder: Path) -> None:
    (folder / "server.log").unlink()
    with ServerProcess(folder) as server:
        (line,) = told(server.log, "was not closed")
        found = re.search(r"(\d+) transactions \((\d+) pages\)", line)
        assert found is not None and 30 < int(found[1]) < int(found[2]), line
        server.stop()
        server.start()
        assert len(told(server.log, "was not closed")) == 1, "a server that was stopped has nothing to recover"


def test_each_migration_is_a_line(tmp_path: Path) -> None:
    path = tmp_path / "syncline.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        usual = migrations.MIGRATIONS
        for version, statements in enumerate(usual[:3], 1):
            if version == 1:
                connection.execute(
                    "CREATE TABLE schema_version (version INTEGER PRIMARY KEY, applied_at REAL NOT NULL)"
                )
            for statement in statements:
                connection.execute(statement)
            connection.execute("INSERT INTO schema_version VALUES (?, 0)", (version,))
    with ServerProcess(tmp_path) as server:
        lines = told(server.log, "its schema went from")
        assert [line.split(" in ")[0] for line in lines] == [
            f"{path}: its schema went from version {version} to {version + 1}" for version in range(3, len(usual))
        ]
        server.stop()
        server.start()
        assert len(told(server.log, "its schema went from")) == len(lines)


def test_a_new_file_is_one_line(tmp_path: Path) -> None:
    with ServerProcess(tmp_path) as server:
        (line,) = [*told(server.log, "its schema went from"), *told(server.log, "created, with schema version")]
        assert line == f"{tmp_path / 'syncline.db'}: created, with schema version {len(migrations.MIGRATIONS)}"


# -- values ------------------------------------------------------------------------------------------------------------

JUNK = [None, "x", b"\xff\x00\x01", b"", -1, 2**62, 1.5, 0]


def spoil(path: Path, rng: random.Random) -> list[str]:
    """Puts values into some columns that nobody wrote there, as a page that was written over has them."""
    done = []
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for pragma in ("ignore_check_constraints = 1", "foreign_keys = 0"):
            connection.execute(f"PRAGMA {pragma}")
        query = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY name"
        tables = [name for (name,) in connection.execute(query)]
        for _ in range(rng.choice((1, 2, 4))):
            table = rng.choice(tables)
            column = rng.choice([row[1] for row in connection.execute(f"PRAGMA table_info({table})")])
            value = rng.choice([*JUNK, "cut", "flipped", "no text"])

            def changed(old: object, value: object = value) -> object:
                if not isinstance(old, bytes) or not old:
                    return old
                if value == "cut":
                    return old[: rng.randrange(len(old))]
                return bytes(byte ^ (rng.randrange(256) if rng.random() < 0.05 else 0) for byte in old)

            done.append(f"{table}.{column} = {value!r}")
            connection.create_function("changed", 1, changed)
            term = {"cut": f"changed({column})", "flipped": f"changed({column})", "no text": "CAST(x'ff41' AS TEXT)"}
            try:
                if isinstance(value, str) and value in term:
                    connection.execute(f"UPDATE {table} SET {column} = {term[value]}")
                else:
                    connection.execute(f"UPDATE {table} SET {column} = ?", (value,))
            except sqlite3.Error as error:
                done.append(str(error))
    return done


CALLS: list[tuple[str, dict[str, object]]] = [
    ("room:join", {"room": "r"}),
    ("room:join", {"room": "r", "history": 50}),
    ("document:join", {"document": "d"}),
    ("document:history", {"document": "d"}),
    ("message:send", {"room": "r", "data": 1}),
    ("document:create", {"document": "e"}),
]


async def test_a_room_before_its_beginning_is_one_line(closed: Path) -> None:
    with closing(sqlite3.connect(closed, isolation_level=None)) as connection:
        connection.execute("UPDATE histories SET offset = -1")
    with pytest.raises(StartError, match="the history of a room holds a value that nobody wrote"):
        async with serving(closed.parent, "sqlite"):
            pass


@pytest.mark.parametrize("seed", seeds(24, 100, 400))
async def test_values_that_nobody_wrote_are_no_fault_of_ours(
    closed: Path, seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    """A server either does not start, with its line, or works and answers; in its log there is no traceback."""
    done = spoil(closed, random.Random(seed))
    try:
        async with serving(closed.parent, "sqlite") as app, dial(app.url) as ada:
            if "error" not in await ada.ask("auth", name="Ada"):
                for event, data in CALLS:
                    reply = await ada.ask(event, **data)
                    assert reply.get("error", {}).get("code") != "internal", (done, reply)
    except Exception as error:
        assert type(error).__name__ == "StartError" and "\n" not in str(error), done
    assert not [record for record in caplog.records if record.exc_info], done
