# ruff: noqa: ASYNC240 - small local files
"""One node per database, by whatever names: with real servers, links and mounts. Whoever comes second is told who is there."""

from __future__ import annotations

import asyncio
import importlib
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from syncline.server.backends.sqlite import Database, migrations
from syncline.server.backends.sqlite.claim import Claim, Taken, beside
from syncline.server.seams.outcome import Unavailable
from tests.harness import ServerProcess
from tests.server.wsclient import dial
from tests.waiting import PATIENCE, until

restoring = importlib.import_module(
    "syncline.server.backends.sqlite.restore"
)  # the package has the function by that name


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "state"
    made.mkdir()
    return made


@pytest.fixture
def server(folder: Path, tmp_path: Path) -> Iterator[ServerProcess]:
    one = ServerProcess(tmp_path, {"store": {"path": str(folder / "syncline.db")}})
    one.start()
    yield one
    one.kill()


def command(path: Path | str, *arguments: str, before: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """`syncline ...` with a configuration of its own, for a database of that name."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SYNCLINE_")}
    return subprocess.run(
        [*before, sys.executable, "-m", "syncline", *arguments],
        env={**environment, "SYNCLINE_STORE__PATH": str(path), "SYNCLINE_LOG__LEVEL": "error"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def serve(path: Path | str, *, before: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    return command(path, "serve", "--port", "0", before=before)


def refused(done: subprocess.CompletedProcess[str], server: ServerProcess) -> str:
    """In one line, which says who is there."""
    assert done.returncode == 1 and not done.stdout
    assert done.stderr.count("\n") == 1 and f"served by another process already (pid {server.pid})" in done.stderr
    return done.stderr


async def goes_on(server: ServerProcess) -> None:
    """It writes, and has kept SQLite's locks: an outsider that comes and goes must not fold and remove its log."""
    path = Path(str(server._settings["store"]["path"]))
    async with dial(server.url, name="Ada") as ada:
        await ada.call("room:join", room="r")
        await ada.call("message:send", room="r", data=1)
        before = beside(path, "-wal").stat().st_ino
        outsider = (
            "import sqlite3, sys; one = sqlite3.connect(sys.argv[1]); one.execute('SELECT * FROM users'); one.close()"
        )
        await asyncio.to_thread(subprocess.run, [sys.executable, "-c", outsider, str(path)], check=True)
        assert beside(path, "-wal").stat().st_ino == before
        await ada.call("message:send", room="r", data=2)


#: Other names of the same file by which SQLite finds the same log: a second node is refused, a command may work beside the first.
SAME = ["the same", "relative", "symbolic link", "linked folder"]
#: And those by which it would not: nobody may open it.
OTHER = ["hard link", "mounted file"]


def name(way: str, folder: Path, tmp_path: Path) -> tuple[Path | str, tuple[str, ...]]:
    """Another name of the database, and what to put before a command that uses it."""
    path, elsewhere = folder / "syncline.db", tmp_path / "elsewhere"
    elsewhere.mkdir()
    if way == "the same":
        return path, ()
    if way == "relative":
        return os.path.relpath(folder / ".." / folder.name / "syncline.db"), ()
    if way == "symbolic link":
        (elsewhere / "data.db").symlink_to(path)
        return elsewhere / "data.db", ()
    if way == "linked folder":
        (elsewhere / "state").symlink_to(folder)
        return elsewhere / "state" / "syncline.db", ()
    if way == "hard link":
        os.link(path, elsewhere / "data.db")
        return elsewhere / "data.db", ()
    # In a mount namespace of its own, so that nothing is left of it.
    source, target = (path, elsewhere / "data.db") if way == "mounted file" else (folder, elsewhere)
    if way == "mounted file":
        target.touch()
    shell = 'mount --bind "$0" "$1" && shift && exec "$@"'
    before = ("unshare", "--mount", "sh", "-c", shell, str(source), str(target))
    if (
        shutil.which("unshare") is None
        or subprocess.run([*before, "true"], check=False, capture_output=True).returncode
    ):
        pytest.skip("nothing may be mounted here")
    return (target if way == "mounted file" else elsewhere / "syncline.db"), before


@pytest.mark.parametrize("way", [*SAME, "mounted folder", *OTHER])
async def test_a_second_node_is_refused_by_whatever_name(
    server: ServerProcess, folder: Path, tmp_path: Path, way: str
) -> None:
    other, before = name(way, folder, tmp_path)
    refused(await asyncio.to_thread(serve, other, before=before), server)
    listed = await asyncio.to_thread(command, other, "user", "list", before=before)
    if way in OTHER:
        assert "by another name" in refused(listed, server)
        token = await asyncio.to_thread(command, other, "token", "create", "--user", "eve", before=before)
        refused(token, server)
        refused(await asyncio.to_thread(command, other, "restore", before=before), server)
        assert not list((tmp_path / "elsewhere").glob("*-wal"))
    else:
        assert listed.returncode == 0, listed.stderr
    await goes_on(server)


@pytest.mark.parametrize("way", ["the same", "hard link"])
async def test_a_lock_that_is_removed_lets_nobody_in(
    server: ServerProcess, folder: Path, tmp_path: Path, way: str
) -> None:
    """And is no reason to stop: the node makes it again, with its next write."""
    other, _ = name(way, folder, tmp_path)
    lock = folder / "syncline.db.lock"
    lock.unlink()
    refused(await asyncio.to_thread(serve, other), server)
    lock.unlink(missing_ok=True)  # the second one's
    await goes_on(server)
    assert lock.exists() and "syncline.db.lock was removed while it was served" in server.log
    refused(await asyncio.to_thread(serve, other), server)
    assert (await asyncio.to_thread(command, folder / "syncline.db", "user", "list")).returncode == 0


async def test_a_place_is_taken_though_another_file_was_put_there(server: ServerProcess, folder: Path) -> None:
    """What SQLite keeps beside it is the first one's."""
    path = folder / "syncline.db"
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(folder / "copy.db")) as target:
        source.backup(target)
    os.replace(folder / "copy.db", path)
    refused(await asyncio.to_thread(serve, path), server)
    async with dial(server.url) as ada:  # and the first one has noticed
        assert await ada.error("auth", name="Ada") == "unavailable"


@pytest.mark.parametrize("way", ["the same", "lock removed"])
async def test_a_kill_leaves_nothing_to_remove(server: ServerProcess, folder: Path, way: str) -> None:
    await goes_on(server)
    await asyncio.to_thread(server.kill)
    if way == "lock removed":
        (folder / "syncline.db.lock").unlink()
    await asyncio.to_thread(server.start)
    await goes_on(server)


async def test_whoever_has_another_name_is_warned(folder: Path, tmp_path: Path) -> None:
    """A hard link is the same file and no copy; its log is not there."""
    with ServerProcess(tmp_path, {"store": {"path": str(folder / "syncline.db")}}) as server:
        server.stop()
        os.link(folder / "syncline.db", tmp_path / "backup.db")
        server.start()
        assert "has 2 names (hard links)" in server.log


# -- in one process ----------------------------------------------------------------------------------------------------


async def test_who_is_refused_leaves_the_locks_of_others_in_this_process(tmp_path: Path) -> None:
    """Closing a descriptor of a file gives up what the process has locked in it, SQLite's locks too."""
    path = tmp_path / "d.db"
    first = Database(path, serves=True)
    await first.acquire()
    await first.write(lambda connection: connection.execute("CREATE TABLE t (x)").rowcount)
    second = Database(path, serves=True)
    with pytest.raises(Taken):
        await second.acquire()
    beside(path, ".lock").unlink()
    with pytest.raises(Unavailable, match="by another name"):
        await second.acquire()
    third = Database(path)
    with pytest.raises(Unavailable, match="by another name"):
        await third.acquire()
    log = beside(path, "-wal").stat().st_ino
    outsider = "import sqlite3, sys; one = sqlite3.connect(sys.argv[1]); one.execute('SELECT * FROM t'); one.close()"
    await asyncio.to_thread(subprocess.run, [sys.executable, "-c", outsider, str(path)], check=True)
    assert beside(path, "-wal").stat().st_ino == log, "the outsider took itself for the last one"
    await first.write(lambda connection: connection.execute("INSERT INTO t VALUES (1)").rowcount)
    await first.release()
    await second.acquire()
    assert await second.read(lambda connection: connection.execute("SELECT x FROM t").fetchall()) == [(1,)]
    await second.release()


async def test_a_claim_that_ends_leaves_the_locks_of_others_in_this_process(tmp_path: Path) -> None:
    """Two that do not serve, as commands: each looks after the file for a moment when it opens it."""
    path = tmp_path / "d.db"
    first, second = Database(path), Database(path)
    await first.acquire()
    await first.write(lambda connection: connection.execute("CREATE TABLE t (x)").rowcount)
    descriptors = len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0
    for _ in range(3):
        await second.acquire()
        await second.release()
    log = beside(path, "-wal").stat().st_ino
    outsider = "import sqlite3, sys; one = sqlite3.connect(sys.argv[1]); one.execute('SELECT * FROM t'); one.close()"
    await asyncio.to_thread(subprocess.run, [sys.executable, "-c", outsider, str(path)], check=True)
    assert beside(path, "-wal").stat().st_ino == log
    await first.release()
    if descriptors:
        assert len(os.listdir("/proc/self/fd")) <= descriptors, "what was kept open is closed with the last one"


async def test_a_node_waits_for_a_command_that_looks_for_a_moment(tmp_path: Path) -> None:
    path = tmp_path / "d.db"
    database = Database(path, serves=True)
    held = Claim(path)
    opening = asyncio.create_task(database.acquire())
    tried = threading.Event()
    threading.Timer(0.1, tried.set).start()
    await until(tried.is_set)
    held.close()
    await opening
    await database.release()


def test_what_restore_puts_there_is_taken_before_it_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a node that starts in that moment would serve it, and the command go on writing beside it."""
    path, backup = tmp_path / "d.db", tmp_path / "backup.db"
    with closing(sqlite3.connect(backup)) as connection:
        migrations.migrate(connection)
    usual, tried = restoring.sync_folder, []

    def put(folder: Path) -> None:
        usual(folder)
        beside(path, ".lock").unlink()
        with pytest.raises(Unavailable, match="served by another process"):
            Claim(path)
        tried.append(path.stat().st_ino)

    monkeypatch.setattr(restoring, "sync_folder", put)
    restoring.restore(path, backup)
    assert tried == [path.stat().st_ino]
    Claim(path).close()


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "d.db")
    with pytest.raises(Unavailable, match="is no file"):
        Claim(tmp_path / "d.db")
    assert not beside(tmp_path / "d.db", ".lock").exists()
