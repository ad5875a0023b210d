"""A process that writes as fast as it can and says what was acknowledged, until it is killed. See test_crash.py.

``python -m tests.server.backends.crash_writer FILE`` prints one line per acknowledged write: ``turn DOCUMENT BASE``,
``publication ROOM OFFSET EPOCH NUMBER``, ``event SEQUENCE NUMBER``.
"""

from __future__ import annotations

import asyncio
import os
import sys
from functools import partial

from syncline.core.rooms.room import Position, Publication
from syncline.server.backends.sqlite import SqliteBroker, SqliteEventLog, SqliteStore, open_database
from syncline.server.seams.clock import LoopClock
from syncline.server.seams.store import DocumentRecord, Turn
from syncline.testing import Recorder

NAMES = ("a", "b", "c")
#: Per turn of the loop; a few turns may be on their way to the disk.
WRITES = 5
ON_THE_WAY = 60


async def main(path: str) -> None:
    database = open_database(path, serves=True)  # it notices a kill that looks like another file
    clock = LoopClock(asyncio.get_running_loop())
    store, broker, log = SqliteStore(database, clock), SqliteBroker(database), SqliteEventLog(database, clock)
    await store.start()
    await broker.start(Recorder())
    await log.start()
    revisions = {}
    for name in NAMES:
        await store.create_document(DocumentRecord(name, "generation", "ada"))
        stored = await store.load_document(name)
        assert stored is not None
        revisions[name] = sum(turn.count for turn in stored.turns)
        await broker.subscribe(name)
    number = int.from_bytes(os.urandom(6)) * 1_000_000

    def say(text: str, error: Exception | None) -> None:
        if error is not None:
            raise error
        os.write(1, text.encode() + b"\n")

    def appended(name: str, base: int, revision: int | None, error: Exception | None) -> None:
        say(f"turn {name} {base}", error)

    def logged(number: int, sequence: int | None, error: Exception | None) -> None:
        say(f"event {sequence} {number}", error)

    def published(name: str, number: int, position: Position | None, error: Exception | None) -> None:
        say(f"publication {name} {position.offset} {position.epoch} {number}" if position else "", error)

    while True:
        for name in NAMES:
            for _ in range(WRITES):
                number += 1
                base = revisions[name]
                body = b"%d" % base
                store.append(name, "generation", Turn(base, 1, body), partial(appended, name, base))
                revisions[name] += 1
                publication = Publication(name, "ada", "Ada", 0.0, "json", b"%d" % number)
                broker.publish(publication, partial(published, name, number))
                body = b"%d" % number
                log.append(name, "m", body, partial(logged, number))
        await asyncio.sleep(0)
        while database.queue_depth > ON_THE_WAY:
            await asyncio.sleep(0)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
