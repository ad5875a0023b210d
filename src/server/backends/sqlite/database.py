"""One SQLite file with one writing thread: group commit, readers beside it, and who may use it.

A write is a *unit*: a writer (what to do), an item (with what) and ``done``. Units go through four hands:

1. ``submit`` (event loop) puts the unit into the turn's list;
2. the end of the turn hands the list to the writing thread;
3. the thread takes every list that has come while it was committing, and makes them one transaction. Neighbours with
   the same writer are written by one call, in a savepoint of their own: when it fails they are tried one by one, so
   that a unit fails alone;
4. after COMMIT one callback on the loop calls every ``done``, in order of submission.

When COMMIT fails, every unit of the transaction fails with Unavailable, and the next one begins on a new connection.
Reads run on connections of their own, each in one transaction: WAL gives them the state of one moment, with everything
that was acknowledged before they were asked for. Bounds: ``queue_size`` units and as many reads; more fail with
Unavailable at once.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import queue
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from operator import itemgetter
from pathlib import Path
from typing import Any, TypeVar

from ...seams.outcome import Done, NotWritten, Unavailable
from .claim import Claim, Taken
from .file import connect, real, warn_of
from .migrations import migrate
from .place import Place, last_served
from .strange_log import guard_log
from .telling import call, tell
from .trouble import failure

log = logging.getLogger("syncline.sqlite")

Item = TypeVar("Item")
Result = TypeVar("Result")

#: Writes items in order and returns one result each; an Exception as a result is that unit's error, and nothing was
#: written for it. Runs in the writing thread, maybe twice (see above).
Writer = Callable[[sqlite3.Connection, Sequence[Item]], Sequence[Result | Exception]]
_Unit = tuple[Writer[Any, Any], Any, Callable[[Any, Exception | None], None]]
_Batches = queue.SimpleQueue[list[_Unit] | None]  # None: the end


def open_database(
    path: str | Path, *, synchronous: str = "full", queue_size: int = 100_000, serves: bool = False
) -> Database:
    """A Database that opens with the first part that starts on it and closes with the last. Does no I/O itself.

    ``serves``: for a node, which takes the file for itself and notices when it is not the one that was served (place.py)."""
    return Database(path, synchronous=synchronous, queue_size=queue_size, serves=serves)


def _each(connection: sqlite3.Connection, works: Sequence[Callable[[sqlite3.Connection], Any]]) -> list[Any]:
    """The writer of ``Database.write``."""
    return [work(connection) for work in works]


class Database:
    """``synchronous``: full (an acknowledged write survives power loss) or normal (it survives a crash of the process).

    ``busy_timeout``: seconds to wait for another process that is writing. ``readers``: reads at one time.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        synchronous: str = "full",
        queue_size: int = 100_000,
        busy_timeout: float = 5.0,
        readers: int = 2,
        serves: bool = False,
    ) -> None:
        if synchronous not in ("full", "normal"):
            raise ValueError(f"synchronous is full or normal, not {synchronous!r}")
        self.path = real(Path(path))
        self._synchronous = synchronous
        self._queue_size = queue_size
        self._busy_timeout = busy_timeout
        self._readers = readers
        self._serves = serves
        self._lossy = synchronous != "full"  # what was acknowledged may be missing after a power cut
        # For the metrics; changed on the loop's thread only.
        self.commits = 0  # transactions that were committed
        self.units = 0  # units in them
        self.failures = 0  # units that ended as Unavailable
        self.queue_depth = 0  # units submitted whose ``done`` was not called yet
        self.last_batch = 0  # units in the last transaction
        self.commit_seconds = 0.0  # in transactions, sum
        self.reads = 0  # reads done
        self.read_failures = 0  # of them ended as Unavailable
        self.reading = 0  # reads under way or waiting
        # Loop's thread.
        self._parts = 0
        self._changing = asyncio.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None  # None: closed
        self._turn: list[_Unit] = []
        self._executor: ThreadPoolExecutor | None = None
        self._claim: Claim | None = None
        self._closed: asyncio.Future[None] | None = None
        # Between the threads.
        self._batches: _Batches = queue.SimpleQueue()
        self._idle_readers: deque[sqlite3.Connection | None] = deque()
        # Writing thread.
        self._connection: sqlite3.Connection | None = None
        self._place: Place | None = None  # of a file that is served

    # Opening and closing -------------------------------------------------------------------------------------

    async def acquire(self) -> None:
        """One more part uses the database; the first one opens and migrates it. Raises Unavailable with the reason."""
        async with self._changing:
            if self._parts == 0:
                await self._open()
            self._parts += 1

    async def release(self) -> None:
        """Finishes what was submitted; the last part closes the file."""
        async with self._changing:
            await self._drain()
            self._parts -= 1
            if self._parts == 0:
                await self._close()

    async def _open(self) -> None:
        loop = asyncio.get_running_loop()
        opened: asyncio.Future[None] = loop.create_future()
        self._closed = loop.create_future()
        self._batches = batches = _Batches()
        # A daemon: a program that fails elsewhere can end. The file bears that like any other crash.
        arguments = (loop, batches, opened, self._closed)
        threading.Thread(target=self._write_batches, args=arguments, name="syncline-sqlite", daemon=True).start()
        try:
            await opened
        except BaseException:
            batches.put(None)
            raise
        self._loop = loop
        self._idle_readers.extend([None] * self._readers)
        self._executor = ThreadPoolExecutor(self._readers, thread_name_prefix="syncline-sqlite-read")

    async def _drain(self) -> None:
        """Returns when the ``done`` of everything submitted before was called."""
        assert self._loop is not None
        drained = self._loop.create_future()
        self._enqueue((_each, lambda connection: None, lambda result, error: drained.set_result(None)))
        await drained

    async def _close(self) -> None:
        assert self._executor is not None and self._closed is not None
        self._flush()
        self._loop = None
        # The readers first: the last connection that closes folds the write-ahead log into the file.
        await asyncio.to_thread(self._executor.shutdown)
        while self._idle_readers:
            connection = self._idle_readers.pop()
            if connection is not None:
                connection.close()
        self._batches.put(None)
        await self._closed
        self._give_up()

    def _give_up(self) -> None:
        if self._place is not None:
            self._place.close()
            self._place = None
        if self._claim is not None:
            self._claim.close()
            self._claim = None

    def claim(self) -> None:
        """Takes the file for this process's node: publications of another one would not reach our members.

        Raises Unavailable when another process has it.
        """
        if self._claim is None and self._place is None:
            self._claim = Claim(self.path)

    # Event loop's side ---------------------------------------------------------------------------------------

    def submit(self, writer: Writer[Item, Result], item: Item, done: Done[Result]) -> None:
        """Writes ``item`` with the turn's transaction; ``done`` comes on the loop after COMMIT, in order of submission.

        When the database is closed or the queue full, ``done`` gets Unavailable at once.
        """
        if self._loop is None:
            self.failures += 1
            done(None, NotWritten(f"{self.path}: closed"))
        elif self.queue_depth >= self._queue_size:
            self.failures += 1
            done(None, NotWritten(f"{self.path}: {self.queue_depth} writes are waiting for the disk"))
        else:
            self._enqueue((writer, item, done))

    async def write(
        self, work: Callable[[sqlite3.Connection], Result], then: Callable[[Result], object] | None = None
    ) -> Result:
        """The result of ``work``, committed. ``then`` runs before later units' ``done``; what it raises is raised as Unavailable, too."""
        result: asyncio.Future[Result] = asyncio.get_running_loop().create_future()

        def done(value: Any, error: Exception | None) -> None:
            try:
                if error is None and then is not None:
                    then(value)
            except Exception as fault:  # who waits must hear of it
                error = failure(self.path, fault)
            if error is None and not result.done():  # who waited may have been cancelled
                result.set_result(value)
            elif error is not None and not result.done():
                result.set_exception(error)

        self.submit(_each, work, done)
        return await result

    async def read(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        """The result of ``work`` on the state of one moment. Raises Unavailable."""
        if self._loop is None or self._executor is None:
            raise Unavailable(f"{self.path}: closed")
        if self.reading >= self._queue_size:
            raise Unavailable(f"{self.path}: {self.reading} reads are waiting")
        self.reading += 1
        try:
            return await self._loop.run_in_executor(self._executor, self._read, work)
        except Unavailable:
            self.read_failures += 1
            raise
        finally:
            self.reading -= 1
            self.reads += 1

    def _enqueue(self, unit: _Unit) -> None:
        assert self._loop is not None
        if not self._turn:
            self._loop.call_soon(self._flush)
        self._turn.append(unit)
        self.queue_depth += 1

    def _flush(self) -> None:
        if self._turn:
            turn, self._turn = self._turn, []
            self._batches.put(turn)

    def _deliver(self, units: list[_Unit], outcomes: Sequence[Any], seconds: float) -> None:
        self.last_batch = len(units)
        self.commit_seconds += seconds
        failed = sum(isinstance(outcome, Unavailable) for outcome in outcomes)
        self.failures += failed
        if failed < len(units):
            self.commits += 1
            self.units += len(units) - failed
        for (_, _, done), outcome in zip(units, outcomes, strict=True):
            self.queue_depth -= 1
            try:
                if isinstance(outcome, Exception):
                    done(None, outcome)
                else:
                    done(outcome, None)
            except Exception as error:
                # A bug of the caller's; the others must still hear.
                message = "a callback of a committed write failed"
                asyncio.get_running_loop().call_exception_handler({"message": message, "exception": error})

    # Writing thread's side -----------------------------------------------------------------------------------

    def _write_batches(
        self,
        loop: asyncio.AbstractEventLoop,
        batches: _Batches,
        opened: asyncio.Future[None],
        closed: asyncio.Future[None],
    ) -> None:
        try:
            if self._serves:
                self._place = Place(self.path, lossy=self._lossy)
            self._connection = self._connect("rwc" if self._serves or self._guard() else "rw")
            migrate(self._connection)
            if self._place is not None:
                self._place.take(self._connection)
            warn_of(self.path)
        except Exception as error:
            self._disconnect()
            self._give_up()
            tell(loop, opened, failure(self.path, error))
            return
        tell(loop, opened, None)
        units = batches.get()
        while units is not None:
            following: list[_Unit] | None = []
            while following is not None and not batches.empty():  # nobody else takes from this queue
                following = batches.get()
                units += following or []
            started = time.perf_counter()
            outcomes = self._transaction(units)
            seconds = time.perf_counter() - started
            call(loop, self._deliver, units, outcomes, seconds)
            units = None if following is None else batches.get()
        self._disconnect()
        self._give_up()
        tell(loop, closed, None)

    def _guard(self) -> bool:
        """As a node does before it opens the file; whether none has it: then it may be made, too."""
        if self._claim is None:
            try:
                with Claim(self.path) as held:
                    guard_log(self.path, last_served(self.path), held, lossy=self._lossy)
            except Taken:
                return False
        return True

    def _transaction(self, units: list[_Unit]) -> Sequence[Any]:
        outcomes: list[Any] = []
        fate: type[Unavailable] = NotWritten
        try:
            if self._connection is None:
                if self._place is not None:
                    self._place.require()  # never another one, over which SQLite would write the log of this one
                self._connection = self._connect("rw")  # never makes an empty file in the place of a lost one
            if self._place is not None:
                self._place.require()
            self._connection.execute("BEGIN IMMEDIATE")
            for writer, group in itertools.groupby(units, itemgetter(0)):
                outcomes += self._group(self._connection, writer, [item for _, item, _ in group])
            commits = 0 if self._place is None else self._place.count(self._connection)
            fate = Unavailable  # it may be on disk although an error is told
            self._connection.execute("COMMIT")
            if self._place is not None:
                self._place.committed(commits)
        except Exception as error:
            self._disconnect()
            return [failure(self.path, error, fate)] * len(units)
        return outcomes

    def _group(
        self, connection: sqlite3.Connection, writer: Writer[Item, Result], items: list[Item]
    ) -> Sequence[Result | Exception]:
        connection.execute("SAVEPOINT unit")
        try:
            results = writer(connection, items)
            if len(results) != len(items):
                raise AssertionError(f"{writer} gave {len(results)} results for {len(items)} items")
        except Exception as error:
            if not connection.in_transaction:
                raise  # SQLite gave up the transaction as a whole
            connection.execute("ROLLBACK TO unit")
            connection.execute("RELEASE unit")
            if len(items) > 1:
                return [result for item in items for result in self._group(connection, writer, [item])]
            return [failure(self.path, error, NotWritten)]
        connection.execute("RELEASE unit")
        return results

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            if self._place is not None:
                self._place.disconnected()
            try:
                connection.close()  # rolls back what was not committed
            except sqlite3.Error:
                pass  # nothing is kept that matters

    # Any thread ----------------------------------------------------------------------------------------------

    def _connect(self, mode: str) -> sqlite3.Connection:
        return connect(self.path, mode, synchronous=self._synchronous, busy_timeout=self._busy_timeout)

    def _read(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        connection = self._idle_readers.pop()  # never empty: there are as many as threads
        try:
            if connection is None:
                if self._place is not None:
                    self._place.require()
                connection = self._connect("rw")
                connection.execute("PRAGMA query_only = ON")
            connection.execute("BEGIN")
            try:
                return work(connection)
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
        except Exception as error:
            if connection is not None:
                connection.close()
                connection = None
            raise failure(self.path, error) from error
        finally:
            self._idle_readers.append(connection)
