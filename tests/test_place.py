# ruff: noqa: ASYNC240 - small local files
"""A database that is not the one that was last served at its place: clients are told; and one that is: nothing changes.

With real servers and real files: copied over, moved, by SQLite's backup, with the whole folder; stopped or killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from syncline.server.backends.sqlite import Database, place, wal
from syncline.server.seams.outcome import Unavailable
from tests.harness import ServerProcess
from tests.scale import by_level
from tests.server.wsclient import Wire, dial


class Known(NamedTuple):
    """What a client remembers."""

    offset: int
    epoch: str
    generation: str
    revision: int
    text: str


async def write(client: Wire, count: int) -> Known:
    """Messages and edits; what the client knows after them."""
    joined = await client.call("room:join", room="r")
    state = await client.call("document:join", document="d")
    position, revision = joined["position"], state["revision"]
    for number in range(count):
        await client.call("message:send", room="r", data=number)
        seq = number + 1
        revision = (await client.call("document:operation", document="d", seq=seq, revision=revision, operation=["x"]))[
            "revision"
        ]
    joined = await client.call("room:join", room="r")
    position = joined["position"]
    text = (await client.call("document:join", document="d"))["text"]
    return Known(position["offset"], position["epoch"], state["generation"], revision, text)


async def knows(server: ServerProcess, known: Known) -> tuple[bool, bool]:
    """Whether a client that comes back with this recovers its room, and goes on with its document."""
    async with dial(server.url, name="Back") as client:
        position = {"offset": known.offset, "epoch": known.epoch}
        room = await client.call("room:join", room="r", recover=position)
        document = await client.call("document:join", document="d")
        if room["recovered"]:
            assert room["publications"] == [] and room["position"] == position
        else:
            assert room["position"]["epoch"] != known.epoch
        same = document["generation"] == known.generation
        if same:
            assert (document["revision"], document["text"]) == (known.revision, known.text)
        return room["recovered"], same


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "state"
    made.mkdir()
    return made


@pytest.fixture
def server(folder: Path, tmp_path: Path) -> Iterator[ServerProcess]:
    one = ServerProcess(tmp_path, {"store": {"path": str(folder / "syncline.db")}})
    with contextlib.closing(contextlib.ExitStack()) as stack:
        stack.callback(one.kill)
        one.start()
        yield one


async def session(server: ServerProcess, count: int = 3) -> Known:
    async with dial(server.url, name="Ada") as ada:
        return await write(ada, count)


@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_the_same_file_keeps_what_clients_know(server: ServerProcess, end: str) -> None:
    for _ in range(by_level(3, 10, 100)):
        known = await session(server)
        await asyncio.to_thread(getattr(server, end))
        await asyncio.to_thread(server.start)
        assert await knows(server, known) == (True, True)
    assert "New epochs" not in server.log


async def test_killed_amid_writing_it_keeps_them_too(server: ServerProcess) -> None:
    for number in range(by_level(3, 10, 100)):
        known = await session(server)

        async def busy() -> None:
            async with dial(server.url, name="Busy") as client:
                await client.call("room:join", room="other")
                while True:
                    await client.call("message:send", room="other", data="x" * 1000)

        writing = asyncio.create_task(busy())
        async with dial(server.url, name="Watch") as watch:
            await watch.call("room:join", room="other")
            for _ in range(5 + 7 * number):
                await watch.push("message:received")
            await asyncio.to_thread(server.kill)
        with contextlib.suppress(Exception):
            await writing
        await asyncio.to_thread(server.start)
        assert await knows(server, known) == (True, True)
    assert "New epochs" not in server.log


async def test_what_operators_do_meanwhile_changes_nothing(server: ServerProcess, folder: Path) -> None:
    known = await session(server)
    command = [sys.executable, "-m", "syncline"]
    options = ["--config", str(server.directory / "syncline.toml")]
    await asyncio.to_thread(subprocess.run, [*command, "user", "add", "eve", *options], check=True)
    await asyncio.to_thread(server.stop)
    await asyncio.to_thread(subprocess.run, [*command, "user", "add", "eva", *options], check=True)
    await asyncio.to_thread(subprocess.run, [*command, "user", "list", *options], check=True)
    with contextlib.closing(sqlite3.connect(folder / "syncline.db")) as connection:
        connection.execute("VACUUM")
    (folder / "syncline.db").chmod(0o600)
    shutil.copytree(folder, folder.with_name("backup"))  # is read only
    await asyncio.to_thread(server.start)
    assert await knows(server, known) == (True, True)


def by_sqlite(source: Path, target: Path) -> None:
    with contextlib.closing(sqlite3.connect(source)) as one, contextlib.closing(sqlite3.connect(target)) as other:
        one.backup(other)


def over(backup: Path, folder: Path) -> None:
    shutil.copyfile(backup / "syncline.db", folder / "syncline.db")


def moved(backup: Path, folder: Path) -> None:
    os.replace(backup / "syncline.db", folder / "syncline.db")


def backed_up(backup: Path, folder: Path) -> None:
    by_sqlite(backup / "syncline.db", folder / "syncline.db")


def anew(backup: Path, folder: Path) -> None:
    shutil.rmtree(folder)
    shutil.copytree(backup, folder)


def in_place(backup: Path, folder: Path) -> None:
    for one in folder.iterdir():
        if not (backup / one.name).exists():
            one.unlink()
    subprocess.run(["cp", "-a", f"{backup}/.", str(folder)], check=True)


WAYS: list[Callable[[Path, Path], None]] = [over, moved, backed_up, anew, in_place]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("end", ["stop", "kill"])
@pytest.mark.parametrize("taken", ["running", pytest.param("stopped", marks=pytest.mark.full)])
async def test_an_older_copy_is_noticed(
    server: ServerProcess, folder: Path, way: Callable[[Path, Path], None], end: str, taken: str
) -> None:
    """Clients know more than it has, and others write on: what they have said since would be taken for something else."""
    backup = folder.with_name("backup")
    await session(server)
    if taken == "stopped":
        await asyncio.to_thread(server.stop)
        shutil.copytree(folder, backup)
        await asyncio.to_thread(server.start)
    elif way in (anew, in_place):
        shutil.copytree(folder, backup)
    else:
        backup.mkdir()
        by_sqlite(folder / "syncline.db", backup / "syncline.db")
    # After a kill the log is left: here it was folded into the file since the copy was made, and begun anew.
    known = await session(server, 2 if end == "stop" else 400)
    await asyncio.to_thread(getattr(server, end))
    way(backup, folder)
    await asyncio.to_thread(server.start)
    other = await session(server, 5)  # others write on, over what it knew
    assert await knows(server, known) == (False, False)
    assert "New epochs and generations are opened" in server.log
    # And from then on it is the one that is served here.
    await asyncio.to_thread(getattr(server, end))
    await asyncio.to_thread(server.start)
    assert await knows(server, other) == (True, True)


async def test_another_database_is_noticed(server: ServerProcess, folder: Path, tmp_path: Path) -> None:
    known = await session(server)
    await asyncio.to_thread(server.stop)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with ServerProcess(elsewhere) as other:
        theirs = await session(other, 4)
    shutil.copyfile(elsewhere / "syncline.db", folder / "syncline.db")
    await asyncio.to_thread(server.start)
    assert await knows(server, known) == (False, False)
    assert await knows(server, theirs) == (False, False)


def vacuumed(source: Path, target: Path) -> None:
    with contextlib.closing(sqlite3.connect(source)) as connection:
        connection.execute("VACUUM INTO ?", (str(target),))


async def check(server: ServerProcess, folder: Path) -> None:
    await asyncio.to_thread(server.stop)
    with contextlib.closing(sqlite3.connect(folder / "syncline.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


async def test_a_copy_that_the_log_brings_up_to_date(server: ServerProcess, folder: Path) -> None:
    """It is newer than the last folding: with the log that is left it is what was last served, and nothing is missing."""
    await session(server)
    backup = folder.with_name("backup.db")
    by_sqlite(folder / "syncline.db", backup)
    known = await session(server, 20)
    await asyncio.to_thread(server.kill)
    shutil.copyfile(backup, folder / "syncline.db")
    await asyncio.to_thread(server.start)
    assert await knows(server, known) == (True, True) and "New epochs" not in server.log
    await check(server, folder)


async def test_a_vacuumed_copy_never_meets_the_log(server: ServerProcess, folder: Path) -> None:
    await session(server)
    backup = folder.with_name("backup.db")
    vacuumed(folder / "syncline.db", backup)
    known = await session(server, 20)
    await asyncio.to_thread(server.kill)
    shutil.copyfile(backup, folder / "syncline.db")
    await asyncio.to_thread(server.start)
    assert await knows(server, known) == (False, False) and "is kept as" in server.log
    await check(server, folder)


async def test_a_folder_that_is_copied_after_a_kill_keeps_all_that_was_acknowledged(
    server: ServerProcess, folder: Path
) -> None:
    known = await session(server, 50)
    await asyncio.to_thread(server.kill)
    other = folder.with_name("other")
    await asyncio.to_thread(subprocess.run, ["cp", "-a", str(folder), str(other)], check=True)
    shutil.rmtree(folder)
    other.rename(folder)
    await asyncio.to_thread(server.start)
    assert await knows(server, known) == (False, False), "it was moved: new epochs"
    async with dial(server.url, name="New") as client:
        state = await client.call("document:join", document="d")
        assert (state["text"], state["revision"]) == (known.text, known.revision)
        room = await client.call("room:join", room="r", history=1000)
        assert room["position"]["offset"] == known.offset == len(room["publications"])
    assert "is kept as" not in server.log
    await check(server, folder)


async def test_a_power_cut_keeps_all_that_was_acknowledged(server: ServerProcess, folder: Path) -> None:
    """What the kernel had not written of ``.served`` is gone: it says less than is so."""
    beside = folder / "syncline.db.served"
    old = beside.read_bytes()
    known = await session(server, 400)
    await asyncio.to_thread(server.kill)
    with beside.open("r+b") as file:  # the same inode
        file.write(old)
    await asyncio.to_thread(server.start)
    assert await knows(server, known) == (True, True) and "is kept as" not in server.log
    await check(server, folder)


async def test_a_command_between_a_kill_and_a_copy_folds_no_strange_log(server: ServerProcess, folder: Path) -> None:
    await session(server)
    backup = folder.with_name("backup.db")
    by_sqlite(folder / "syncline.db", backup)
    known = await session(server, 400)
    await asyncio.to_thread(server.kill)
    shutil.copyfile(backup, folder / "syncline.db")
    command = [sys.executable, "-m", "syncline", "user", "list", "--config", str(server.directory / "syncline.toml")]
    await asyncio.to_thread(subprocess.run, command, check=True)
    await asyncio.to_thread(server.start)
    assert await knows(server, known) == (False, False)
    await check(server, folder)


async def test_a_folder_over_a_killed_one_that_had_a_log(server: ServerProcess, folder: Path) -> None:
    """``cp -a`` leaves the log there, which goes on elsewhere than the copy ends."""
    await session(server)
    await asyncio.to_thread(server.stop)
    shutil.copytree(folder, folder.with_name("backup"))
    await asyncio.to_thread(server.start)
    known = await session(server, 400)
    await asyncio.to_thread(server.kill)
    await asyncio.to_thread(subprocess.run, ["cp", "-a", f"{folder.with_name('backup')}/.", str(folder)], check=True)
    await asyncio.to_thread(server.start)
    assert await knows(server, known) == (False, False)
    await check(server, folder)


async def test_other_programs_open_and_close_the_file_while_it_is_served(server: ServerProcess, folder: Path) -> None:
    """They must find SQLite's locks: else the first one begins the index of the log anew under the node."""
    program = (
        "import sqlite3, sys\n"
        "for _ in range(30):\n"
        "    one = sqlite3.connect(sys.argv[1])\n"
        "    one.execute('SELECT count(*) FROM publications').fetchone()\n"
        "    one.close()\n"
    )
    command = [sys.executable, "-c", program, str(folder / "syncline.db")]
    outside = asyncio.create_task(asyncio.to_thread(subprocess.run, command, check=True))
    known = await session(server, 300)
    await outside
    assert server.running
    await asyncio.to_thread(server.kill)
    await asyncio.to_thread(server.start)
    assert await knows(server, known) == (True, True)
    await check(server, folder)


async def test_a_transaction_that_fails_is_no_end(tmp_path: Path) -> None:
    """The last connection of the node closes then, and the log goes with it."""
    path = tmp_path / "d.db"
    database = Database(path, busy_timeout=0.05, serves=True)
    await database.acquire()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as outside:
        outside.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable):
            await database.write(lambda connection: 1)
        outside.execute("ROLLBACK")
    assert await database.write(lambda connection: 2) == 2
    await database.release()


async def test_a_slow_look_at_the_file_does_not_see_it_go_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that began before the log was folded must not stop the node after it."""
    database = Database(tmp_path / "d.db", serves=True)
    await database.acquire()
    served = database._place
    assert served is not None
    id, begun, passed, calls = served._witness.id, threading.Event(), threading.Event(), itertools.count(1)

    def look(path: Path) -> tuple[bytes, int]:
        number = next(calls)
        if number == 1:
            begun.set()
            passed.wait(0.5)  # which the second one sets, if it may come before the first has ended
            return id, 1
        passed.set()
        return id, 2

    monkeypatch.setattr(place, "own_row", look)
    os.utime(database.path, (1, 1))
    reader = asyncio.create_task(asyncio.to_thread(served.require))
    await asyncio.to_thread(begun.wait)
    os.utime(database.path, (2, 2))
    await asyncio.to_thread(served.require)
    await reader
    await database.release()


@pytest.mark.parametrize("count", [0, 1, 2, 127, 128, 255, 32_768, 2**24, 2**40, 2**50])
def test_the_count_is_read_from_the_log(tmp_path: Path, count: int) -> None:
    path, id = tmp_path / "d.db", b"0123456789abcdef"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE place (one INTEGER PRIMARY KEY, id BLOB, commits INTEGER, marks TEXT)")
    for marks in ("1 2 3", "x" * 80):
        for at in (count, count + 1):
            connection.execute("REPLACE INTO place VALUES (1, ?, ?, ?)", (id, at, marks))
    assert wal.counts(path.with_name("d.db-wal"), id) == (count, count + 1)
    assert wal.counts(path.with_name("d.db-wal"), b"another database") is None
    connection.close()


async def test_a_log_without_its_database_is_not_thrown_away(server: ServerProcess, folder: Path) -> None:
    known = await session(server)
    await asyncio.to_thread(server.kill)
    (folder / "syncline.db").rename(folder / "away")
    with pytest.raises(RuntimeError, match="is there without its database"):
        await asyncio.to_thread(server.start)
    (folder / "away").rename(folder / "syncline.db")
    await asyncio.to_thread(server.start)
    assert await knows(server, known) == (True, True)


async def test_by_a_symbolic_link(server: ServerProcess, folder: Path, tmp_path: Path) -> None:
    await asyncio.to_thread(server.stop)
    real = tmp_path / "real"
    folder.rename(real)
    folder.mkdir()
    (folder / "syncline.db").symlink_to(real / "syncline.db")
    await asyncio.to_thread(server.start)
    known = await session(server)
    await asyncio.to_thread(server.kill)
    await asyncio.to_thread(server.start)
    assert await knows(server, known) == (True, True)
    backup = tmp_path / "b.db"
    by_sqlite(real / "syncline.db", backup)
    await session(server, 400)
    await asyncio.to_thread(server.kill)
    assert (await asyncio.to_thread(restore, server, str(backup))).returncode == 0
    assert (folder / "syncline.db").is_symlink() and len(list(real.glob("*.before-*[0-9a-f]"))) == 1
    await asyncio.to_thread(server.start)
    assert await knows(server, known) == (False, False)


async def test_a_log_that_is_another_files_is_set_aside(server: ServerProcess, folder: Path) -> None:
    """SQLite would write it over the copy, page by page."""
    await session(server)
    backup = folder.with_name("backup.db")
    by_sqlite(folder / "syncline.db", backup)
    await session(server, 400)
    await asyncio.to_thread(server.kill)
    assert (folder / "syncline.db-wal").stat().st_size > 0
    shutil.copyfile(backup, folder / "syncline.db")
    await asyncio.to_thread(server.start)
    await asyncio.to_thread(server.stop)
    assert len(list(folder.glob("syncline.db-wal.*"))) == 1 and "is kept as" in server.log
    with contextlib.closing(sqlite3.connect(folder / "syncline.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("SELECT offset FROM histories WHERE room = 'r'").fetchone() == (3,)


# -- while it is served ------------------------------------------------------------------------------------------------


async def ready(server: ServerProcess) -> int:
    async with httpx.AsyncClient(base_url=server.url, trust_env=False) as client:
        return (await client.get("/ready")).status_code


@pytest.mark.parametrize("what", ["removed", "moved away", "replaced", "copied over", "folder removed", "log removed"])
async def test_nothing_is_acknowledged_into_a_file_that_is_gone(server: ServerProcess, folder: Path, what: str) -> None:
    path = folder / "syncline.db"
    async with dial(server.url, name="Ada") as ada:
        await write(ada, 3)
        backup = folder.with_name("backup.db")
        by_sqlite(path, backup)
        for number in range(400 if what in ("copied over", "replaced") else 1):  # the log is folded into the file
            await ada.call("message:send", room="r", data=number)
        if what == "removed":
            path.unlink()
        elif what == "moved away":
            path.rename(folder / "away.db")
        elif what == "replaced":
            os.replace(backup, path)
        elif what == "copied over":
            shutil.copyfile(backup, path)
        elif what == "log removed":
            (folder / "syncline.db-wal").unlink()
        else:
            folder.rename(folder.with_name("gone"))
        assert await ada.error("message:send", room="r", data="lost") in ("unavailable", "fate_unknown")
        code = await ada.error("document:operation", document="d", seq=4, revision=3, operation=["y"])
        assert code == "document_unavailable"
        assert await ready(server) == 503
        if what == "moved away":
            (folder / "away.db").rename(path)
            async with asyncio.timeout(30):
                while (await ready(server)) != 200:
                    await asyncio.sleep(0.1)
            await ada.call("message:send", room="r", data="there again")
        elif what != "log removed":
            assert await ready(server) == 503
    if what == "replaced":
        await asyncio.to_thread(server.restart)
        assert await ready(server) == 200 and "New epochs" in server.log


# -- syncline restore --------------------------------------------------------------------------------------------------


def restore(server: ServerProcess, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "syncline",
        "restore",
        *arguments,
        "--config",
        str(server.directory / "syncline.toml"),
    ]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=server.directory)


async def test_restore_puts_a_backup_in_place(server: ServerProcess, folder: Path) -> None:
    known = await session(server)
    backup = folder.with_name("backup.db")
    by_sqlite(folder / "syncline.db", backup)
    later = await session(server, 2)
    refused = await asyncio.to_thread(restore, server, str(backup))
    assert refused.returncode == 1 and f"(pid {server.pid})" in refused.stderr
    await asyncio.to_thread(server.kill)
    done = await asyncio.to_thread(restore, server, str(backup))
    assert done.returncode == 0, done.stderr
    assert "new epochs for 1 rooms and new generations for 1 documents" in done.stdout
    kept = next(folder.glob("syncline.db.before-*[0-9a-f]"))
    with contextlib.closing(sqlite3.connect(kept)) as connection:  # with what was in its log only
        assert connection.execute("SELECT offset FROM histories WHERE room = 'r'").fetchone() == (5,)
    await asyncio.to_thread(server.start)
    assert await knows(server, known) == (False, False) and await knows(server, later) == (False, False)
    assert "New epochs" not in server.log, "they were opened by the command"
    async with dial(server.url, name="New") as client:
        assert (await client.call("document:join", document="d"))["text"] == known.text
    after = await session(server)
    await asyncio.to_thread(server.restart)
    assert await knows(server, after) == (True, True)


async def test_restore_without_a_file_opens_new_epochs_only(server: ServerProcess) -> None:
    known = await session(server)
    await asyncio.to_thread(server.stop)
    done = await asyncio.to_thread(restore, server)
    assert done.returncode == 0 and "before" not in done.stdout
    await asyncio.to_thread(server.start)
    assert await knows(server, known) == (False, False)


@pytest.mark.parametrize("what", ["missing", "text", "other", "empty", "cut"])
async def test_restore_refuses_what_is_no_backup_and_changes_nothing(
    server: ServerProcess, folder: Path, tmp_path: Path, what: str
) -> None:
    known = await session(server, 30)
    await asyncio.to_thread(server.stop)
    backup = tmp_path / "b.db"
    if what == "text":
        backup.write_text("no database" * 1000)
    elif what == "empty":
        backup.touch()
    elif what == "other":
        with contextlib.closing(sqlite3.connect(backup)) as connection:
            connection.execute("CREATE TABLE t (x)")
    elif what == "cut":
        by_sqlite(folder / "syncline.db", backup)
        os.truncate(backup, 8192 * 2)
    before = sorted(one.name for one in folder.iterdir())
    done = await asyncio.to_thread(restore, server, str(backup))
    assert done.returncode == 1 and str(backup) in done.stderr and "Traceback" not in done.stderr
    assert sorted(one.name for one in folder.iterdir()) == before
    await asyncio.to_thread(server.start)
    assert await knows(server, known) == (True, True)
