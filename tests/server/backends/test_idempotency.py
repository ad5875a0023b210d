"""Idempotency keys on disk: from where older versions had them, and what becomes of those whose message was not stored."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest

from syncline.core.rooms.room import Position, Publication
from syncline.server.backends.sqlite import SqliteBroker, migrations, open_database
from syncline.server.seams.outcome import Unavailable
from syncline.testing import Recorder, settled


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "syncline.db"


async def test_keys_of_publications_are_remembered_by_themselves(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sixth step takes them out of the histories."""
    usual = migrations.MIGRATIONS
    monkeypatch.setattr(migrations, "MIGRATIONS", usual[:5])
    database = open_database(path)
    await database.acquire()

    def fill(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO histories (key, room, epoch, offset) VALUES (7, 'r', '0123456789abcdef', 3)")
        for offset, key in ((1, None), (2, "k"), (3, "l")):
            values = (7, offset, "ada", "Ada", 1000.0 + offset, "json", b"1", 1, key)
            connection.execute("INSERT INTO publications VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)

    await database.write(fill)
    await database.release()
    monkeypatch.setattr(migrations, "MIGRATIONS", usual)
    broker = SqliteBroker(open_database(path), now=lambda: 1302.5)
    await broker.start(Recorder())
    again = [
        await settled(partial(broker.publish, Publication("r", "ada", "Ada", 1302.5, "json", b"1"), once=key))
        for key in "lk"
    ]
    assert again == [(3, "0123456789abcdef"), (4, "0123456789abcdef")]  # the time of k was over
    await broker.close()


async def test_a_key_whose_message_was_not_stored_is_not_known(path: Path) -> None:
    database = open_database(path)
    broker, recorder = SqliteBroker(database), Recorder()
    await broker.start(recorder)
    await broker.subscribe("r")

    def publish(key: str, room: str = "r") -> asyncio.Future[Position]:
        outcome: asyncio.Future[Position] = asyncio.get_running_loop().create_future()

        def done(position: Position | None, error: Exception | None) -> None:
            if position is None:
                outcome.set_exception(error or AssertionError)
            else:
                outcome.set_result(position)

        broker.publish(Publication(room, "ada", "Ada", 1.0, "json", b"1"), done, key)
        return outcome

    def refuse(connection: sqlite3.Connection) -> None:
        connection.execute(
            "CREATE TRIGGER bad BEFORE UPDATE ON histories WHEN NEW.room = 'bad' BEGIN SELECT RAISE(ABORT, 'no'); END"
        )

    def fail_at_commit(connection: sqlite3.Connection, items: Sequence[None]) -> list[None]:
        connection.execute("PRAGMA defer_foreign_keys = ON")
        connection.execute("INSERT INTO publications VALUES (77, 1, 'u', 'n', 1.0, 'json', x'31', 1)")
        return [None] * len(items)

    assert (await publish("first")).offset == 1
    # One of a batch cannot be stored: the batch is taken back, and each is stored by itself.
    await database.write(refuse)
    one, bad, two = publish("one"), publish("bad", "bad"), publish("two")
    with pytest.raises(Unavailable):
        await bad
    assert [(await one).offset, (await two).offset, (await publish("one")).offset] == [2, 3, 2]
    # The transaction fails as a whole.
    lost = publish("lost")
    database.submit(fail_at_commit, None, lambda value, error: None)  # in the same turn: one transaction
    with pytest.raises(Unavailable):
        await lost
    assert [(await publish(key)).offset for key in ("lost", "first", "two", "lost")] == [4, 1, 3, 4]
    assert recorder.offsets("r") == [1, 2, 3, 4]
    await broker.close()
