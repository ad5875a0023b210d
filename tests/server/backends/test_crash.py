"""kill -9 at random moments: what was acknowledged is there, in order, once."""

from __future__ import annotations

import asyncio
import random
import sys
from pathlib import Path

from syncline.server.backends.sqlite import SqliteBroker, SqliteEventLog, SqliteStore, open_database
from syncline.testing import ManualClock, Recorder
from tests.scale import by_level

ROOT = Path(__file__).resolve().parents[3]
ROUNDS = by_level(4, 12, 60)


async def acknowledged(path: Path, lines: int) -> list[list[str]]:
    """Runs the writer until it has acknowledged about ``lines`` writes, then kills it; what it said."""
    writer = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.server.backends.crash_writer", str(path)),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert writer.stdout is not None and writer.stderr is not None
    said = []
    for _ in range(lines):
        line = await writer.stdout.readline()
        if not line:
            break
        said.append(line)
    if writer.returncode is None:
        writer.kill()
    rest, errors = await asyncio.gather(writer.stdout.read(), writer.stderr.read())
    assert await writer.wait() == -9, errors.decode()
    # The last line may have been cut off.
    text = b"".join(said) + rest
    return [line.split() for line in text[: text.rfind(b"\n") + 1].decode().splitlines()]


async def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    seed = random.randrange(1 << 32)
    generator = random.Random(seed)
    path = tmp_path / "syncline.db"
    turns: dict[str, set[int]] = {}
    publications: dict[tuple[str, int], int] = {}
    epochs: dict[str, str] = {}
    events: dict[int, int] = {}
    for round in range(ROUNDS):
        for words in await acknowledged(path, generator.randrange(1, 3000)):
            match words:
                case ["turn", document, base]:
                    assert int(base) not in turns.setdefault(document, set())
                    turns[document].add(int(base))
                case ["publication", room, offset, epoch, number]:
                    assert epochs.setdefault(room, epoch) == epoch
                    assert (room, int(offset)) not in publications
                    publications[room, int(offset)] = int(number)
                case ["event", sequence, number]:
                    assert int(sequence) not in events
                    events[int(sequence)] = int(number)
                case _:
                    raise AssertionError(words)

        note = f"seed {seed}, round {round}"
        database, clock = open_database(path), ManualClock()
        store, log = SqliteStore(database, clock), SqliteEventLog(database, clock)
        broker = SqliteBroker(database)
        await store.start()
        await broker.start(Recorder())
        await log.start()
        for document, bases in turns.items():
            stored = await store.load_document(document)
            assert stored is not None, note
            assert [turn.base for turn in stored.turns] == list(range(len(stored.turns))), note
            assert [turn.body for turn in stored.turns] == [b"%d" % turn.base for turn in stored.turns], note
            assert len(stored.turns) > max(bases), note
        for room, epoch in epochs.items():
            history = await broker.history(room, None, 1000)
            newest = history.position.offset
            assert history.position.epoch == epoch, note
            found = {publication.offset: int(publication.data) for publication in history.publications}
            assert list(found) == list(range(max(newest - 1000, 0) + 1, newest + 1)), note
            assert len(set(found.values())) == len(found), note
            said = {offset: number for (name, offset), number in publications.items() if name == room}
            assert max(said) <= newest, note
            assert {offset: said[offset] for offset in found if offset in said} == {
                offset: found[offset] for offset in found if offset in said
            }, note
        logged = {event.sequence: int(event.body) for event in await log.read(0, 10_000_000)}
        assert list(logged) == sorted(logged), note
        assert len(set(logged.values())) == len(logged), note
        assert {sequence: logged.get(sequence) for sequence in events} == events, note
        for part in (broker, log, store):
            await part.close()
    assert turns and publications and events
