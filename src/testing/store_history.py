"""The part of the Store contract that is about old history: blocks, checkpoints, the horizon."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial

import pytest

from ..server.seams.outcome import Conflict
from ..server.seams.store import DocumentRecord, DocumentSnapshot, DocumentState, Store, Turn
from .outcome import settled

NOTES = DocumentRecord("notes", "generation-1", "ada", "editor", 5.0)


def turn(base: int, count: int = 1, body: bytes | None = None) -> Turn:
    return Turn(base, count, b"turn after %d" % base if body is None else body, 9.0)


async def append(store: Store, document: str, what: Turn, generation: str = NOTES.generation) -> int:
    revision = await settled(partial(store.append, document, generation, what))
    assert isinstance(revision, int)
    return revision


async def with_turns(store: Store, *counts: int, record: DocumentRecord = NOTES) -> list[Turn]:
    """Creates the document and appends one turn of each count."""
    assert await store.create_document(record)
    turns, base = [], 0
    for count in counts:
        turns.append(turn(base, count))
        base = await append(store, record.id, turns[-1], record.generation)
    return turns


async def with_history(store: Store) -> list[Turn]:
    """Turns of 3, 1, 2, 5, 1 operations (bases 0 3 4 6 11, end 12) and a snapshot at the end."""
    turns = await with_turns(store, 3, 1, 2, 5, 1)
    await store.save_snapshot("notes", NOTES.generation, DocumentSnapshot(12, b"text at 12"))
    return turns


async def loaded(
    store: Store, revision: int | None = None
) -> tuple[DocumentSnapshot | None, list[Turn], int, int, int]:
    """Snapshot, turns, revision, horizon, compacted."""
    stored, state = await store.load_document("notes", revision), await store.document_state("notes")
    assert stored is not None and state is not None
    assert stored.record == state.record == NOTES
    assert (stored.revision, stored.horizon) == (state.revision, state.horizon)
    return stored.snapshot, stored.turns, stored.revision, stored.horizon, state.compacted


class HistorySuite:
    """A part of StoreSuite, which has the fixtures."""

    # Listing -------------------------------------------------------------------------------------------------

    async def test_documents_are_listed_in_order_page_by_page(self, store: Store) -> None:
        names = ["b", "a", "c\x00", "", "\u00e9", "a'"]
        for name in names:
            await store.create_document(replace(NOTES, id=name))
        assert await store.documents() == sorted(names)[1:]  # "" is not greater than ""
        assert await store.documents("a", 2) == ["a'", "b"]
        assert await store.documents("\uffff") == []
        assert await store.documents("", 0) == await store.documents("", -1) == []
        await store.delete_document("b")
        assert "b" not in await store.documents()

    async def test_the_state_of_a_document(self, store: Store) -> None:
        assert await store.document_state("nowhere") is None
        await with_turns(store, 2, 1)
        assert await store.document_state("notes") == DocumentState(NOTES, 3, 0, 0, 0)
        await store.save_snapshot("notes", NOTES.generation, DocumentSnapshot(2, b"text"))
        assert await store.document_state("notes") == DocumentState(NOTES, 3, 2, 0, 0)

    # Blocks --------------------------------------------------------------------------------------------------

    async def test_a_block_takes_the_place_of_its_turns(self, store: Store) -> None:
        turns = await with_history(store)
        block = Turn(3, 3, b"merged", 7.0)
        assert await store.replace_turns("notes", NOTES.generation, block)
        now = [turns[0], block, *turns[3:]]
        assert await store.turns("notes", 0, 12) == now
        assert await store.turns("notes", 3, 4) == await store.turns("notes", 5, 6) == [block]
        assert await store.turns("notes", 2, 7) == now[:3]
        assert (await loaded(store))[2:] == (12, 0, 6)
        # A block is a turn like others: it can be merged again, and operations go on behind it.
        whole = Turn(0, 11, b"merged again", 8.0)
        assert await store.replace_turns("notes", NOTES.generation, whole)
        assert await store.turns("notes", 0, 12) == [whole, turns[4]]
        assert (await loaded(store))[4] == 11
        assert await append(store, "notes", turn(12)) == 13

    @pytest.mark.parametrize(
        ("base", "count"), [(0, 2), (1, 2), (3, 2), (3, 4), (2, 2), (4, 9), (0, 13), (12, 1), (20, 3), (-1, 4), (5, 1)]
    )
    async def test_a_block_that_does_not_fit_changes_nothing(self, store: Store, base: int, count: int) -> None:
        turns = await with_history(store)
        assert not await store.replace_turns("notes", NOTES.generation, Turn(base, count, b"bad", 7.0))
        assert await store.turns("notes", 0, 12) == turns
        assert (await loaded(store))[4] == 0

    async def test_a_block_of_another_generation_or_ahead_of_the_snapshot_changes_nothing(self, store: Store) -> None:
        turns = await with_turns(store, 3, 1, 2)
        block = Turn(0, 4, b"merged", 7.0)
        assert not await store.replace_turns("notes", NOTES.generation, block)  # no snapshot at all
        await store.save_snapshot("notes", NOTES.generation, DocumentSnapshot(3, b""))
        assert not await store.replace_turns("notes", NOTES.generation, block)
        await store.save_snapshot("notes", NOTES.generation, DocumentSnapshot(4, b""))
        assert not await store.replace_turns("notes", "generation-0", block)
        assert not await store.replace_turns("nowhere", NOTES.generation, block)
        assert await store.turns("notes", 0, 6) == turns
        assert await store.replace_turns("notes", NOTES.generation, block)
        assert await store.turns("notes", 0, 6) == [block, turns[2]]

    async def test_merging_beside_appends_and_reads(self, store: Store) -> None:
        """Whenever one looks, every revision is there exactly once."""
        await with_turns(store, *[1] * 20)
        await store.save_snapshot("notes", NOTES.generation, DocumentSnapshot(20, b""))

        async def merge() -> None:
            for end in range(2, 21):
                assert await store.replace_turns("notes", NOTES.generation, Turn(0, end, b"%d" % end, 9.0))

        async def write() -> None:
            for base in range(20, 40):
                assert await append(store, "notes", turn(base)) == base + 1

        async def read() -> None:
            for _ in range(20):
                turns = await store.turns("notes", 0, 20)
                assert [one.base for one in turns[1:]] == [one.base + one.count for one in turns[:-1]]
                assert (turns[0].base, turns[-1].base + turns[-1].count) == (0, 20)

        await asyncio.gather(merge(), write(), read())
        _, turns, *numbers = await loaded(store)
        assert (len(turns), *numbers) == (20, 40, 0, 20)

    # Checkpoints ---------------------------------------------------------------------------------------------

    async def test_a_load_at_a_revision_begins_at_the_nearest_checkpoint(self, store: Store) -> None:
        turns = await with_history(store)
        four, six = DocumentSnapshot(4, b"text at 4"), DocumentSnapshot(6, b"text at 6")
        for checkpoint in (six, four):
            assert await store.save_checkpoint("notes", NOTES.generation, checkpoint)
        assert await store.checkpoints("notes") == [4, 6]
        head = DocumentSnapshot(12, b"text at 12")
        assert (await loaded(store))[:2] == (head, [])
        for revision, base, rest in (
            (0, None, []),
            (2, None, turns[:1]),
            (3, None, turns[:1]),
            (4, four, []),
            (5, four, turns[2:3]),
            (6, six, []),
            (7, six, turns[3:4]),
            (11, six, turns[3:4]),
            (12, head, []),
            (99, head, []),
        ):
            assert (await loaded(store, revision))[:2] == (base, rest), revision
        assert await store.load_document("nowhere", 3) is None

    async def test_a_checkpoint_stays_when_a_newer_snapshot_comes(self, store: Store) -> None:
        turns = await with_turns(store, 2, 2, 2)
        two = DocumentSnapshot(2, b"two")
        await store.save_checkpoint("notes", NOTES.generation, two)
        await store.save_snapshot("notes", NOTES.generation, DocumentSnapshot(4, b"four"))
        assert (await loaded(store, 3))[:2] == (two, turns[1:2])
        assert (await loaded(store))[:2] == (DocumentSnapshot(4, b"four"), turns[2:])

    async def test_what_a_document_is_created_with_is_its_first_checkpoint(self, store: Store) -> None:
        first = DocumentSnapshot(0, b"once upon a time")
        assert await store.create_document(NOTES, first)
        for base in range(3):
            await append(store, "notes", turn(base))
        await store.save_snapshot("notes", NOTES.generation, DocumentSnapshot(3, b"the end"))
        assert await store.checkpoints("notes") == [0]
        assert (await loaded(store, 2))[:2] == (first, [turn(0), turn(1)])

    async def test_checkpoints_that_must_not_count_are_refused(self, store: Store) -> None:
        await with_turns(store, 2, 2)
        good = DocumentSnapshot(2, b"good")
        assert await store.save_checkpoint("notes", NOTES.generation, good)
        assert await store.save_checkpoint("notes", NOTES.generation, DocumentSnapshot(2, b"again"))
        assert not await store.save_checkpoint("notes", NOTES.generation, DocumentSnapshot(5, b"ahead of the log"))
        assert not await store.save_checkpoint("notes", "generation-0", DocumentSnapshot(4, b"of another generation"))
        assert not await store.save_checkpoint("nowhere", NOTES.generation, DocumentSnapshot(0, b""))
        assert await store.checkpoints("notes") == [2]
        assert (await loaded(store, 2))[0] == good
        assert await store.checkpoints("nowhere") == []

    async def test_checkpoints_are_dropped_but_never_the_one_at_the_horizon(self, store: Store) -> None:
        await with_history(store)
        for revision in (3, 4, 6, 11):
            await store.save_checkpoint("notes", NOTES.generation, DocumentSnapshot(revision, b"%d" % revision))
        assert await store.prune("notes", NOTES.generation, 4) == 4
        await store.drop_checkpoints("notes", "generation-0", [3, 6])
        assert await store.checkpoints("notes") == [3, 4, 6, 11]
        await store.drop_checkpoints("notes", NOTES.generation, [3, 4, 5, 11])
        await store.drop_checkpoints("notes", NOTES.generation, [])
        await store.drop_checkpoints("nowhere", NOTES.generation, [6])
        assert await store.checkpoints("notes") == [4, 6]

    # The horizon ---------------------------------------------------------------------------------------------

    async def test_pruning_takes_the_turns_up_to_the_horizon(self, store: Store) -> None:
        turns = await with_history(store)
        other = await with_turns(store, 2, record=replace(NOTES, id="other"))
        four = DocumentSnapshot(4, b"text at 4")
        await store.save_checkpoint("notes", NOTES.generation, four)
        assert await store.prune("notes", NOTES.generation, 4) == 4
        assert await store.turns("notes", 0, 12) == turns[2:]
        assert await loaded(store) == (DocumentSnapshot(12, b"text at 12"), [], 12, 4, 4)
        assert (await loaded(store, 5))[:2] == (four, turns[2:3])
        assert (await loaded(store, 2))[:2] == (None, [])
        assert await store.turns("other", 0, 2) == other
        # The fence stays where it was, and so does what comes later.
        with pytest.raises(Conflict):
            await append(store, "notes", turn(4))
        assert await append(store, "notes", turn(12)) == 13
        # Further, and at last everything that the snapshot covers.
        await store.save_snapshot("notes", NOTES.generation, DocumentSnapshot(13, b"text at 13"))
        for horizon, pruned in ((6, 2), (13, 7)):
            await store.save_checkpoint("notes", NOTES.generation, DocumentSnapshot(horizon, b""))
            assert await store.prune("notes", NOTES.generation, horizon) == pruned
        assert await store.turns("notes", 0, 13) == []
        assert await append(store, "notes", turn(13)) == 14

    @pytest.mark.parametrize("horizon", [-1, 0, 2, 3, 5, 7, 11, 12, 13])
    async def test_a_horizon_that_does_not_fit_changes_nothing(self, store: Store, horizon: int) -> None:
        """In the middle of a turn, without a checkpoint, above the snapshot, above the head."""
        turns = await with_turns(store, 3, 1, 2, 5, 1)
        await store.save_snapshot("notes", NOTES.generation, DocumentSnapshot(8, b""))
        for revision in (2, 5, 7, 11, 12, 4):
            await store.save_checkpoint("notes", NOTES.generation, DocumentSnapshot(revision, b""))
        assert await store.prune("notes", NOTES.generation, horizon) == 0
        assert await store.prune("notes", "generation-0", 4) == 0
        assert await store.prune("nowhere", NOTES.generation, 4) == 0
        assert await store.turns("notes", 0, 12) == turns
        assert (await loaded(store))[3] == 0
        assert await store.prune("notes", NOTES.generation, 4) == 4
        assert await store.prune("notes", NOTES.generation, 4) == 0

    async def test_a_document_created_anew_has_no_old_checkpoints(self, store: Store) -> None:
        await with_history(store)
        await store.save_checkpoint("notes", NOTES.generation, DocumentSnapshot(4, b"old"))
        await store.prune("notes", NOTES.generation, 4)
        await store.delete_document("notes")
        assert await store.checkpoints("notes") == []
        assert await store.create_document(NOTES)
        assert await loaded(store) == (None, [], 0, 0, 0)

    # Turns ---------------------------------------------------------------------------------------------------

    async def test_turns_cover_the_revisions_asked_for(self, store: Store) -> None:
        turns = await with_turns(store, 3, 1, 2, 5, 1)  # bases 0 3 4 6 11, end 12
        for since in range(-1, 14):
            for until in range(-1, 14):
                wanted = range(since + 1, until + 1)
                expected = [one for one in turns if any(one.base < r <= one.base + one.count for r in wanted)]
                assert await store.turns("notes", since, until) == expected, (since, until)

    async def test_turns_of_another_document_do_not_show(self, store: Store) -> None:
        await with_turns(store, 1, 1)
        other = await with_turns(store, 2, 2, record=replace(NOTES, id="other"))
        assert await store.turns("other", 0, 10) == other

    # Snapshots -----------------------------------------------------------------------------------------------

    async def test_a_load_needs_only_the_turns_after_the_snapshot(self, store: Store) -> None:
        turns = await with_turns(store, 2, 1, 3, 1)
        for revision, rest in ((2, turns[1:]), (3, turns[2:]), (6, turns[3:]), (7, [])):
            snapshot = DocumentSnapshot(revision, b"text at %d" % revision)
            await store.save_snapshot("notes", NOTES.generation, snapshot)
            stored = await store.load_document("notes")
            assert stored is not None
            assert (stored.snapshot, stored.turns) == (snapshot, rest)

    async def test_a_snapshot_in_the_middle_of_a_turn_keeps_that_turn(self, store: Store) -> None:
        turns = await with_turns(store, 2, 3, 1)
        await store.save_snapshot("notes", NOTES.generation, DocumentSnapshot(4, b"text"))
        stored = await store.load_document("notes")
        assert stored is not None
        assert stored.turns == turns[1:]

    async def test_turns_stay_readable_behind_a_snapshot(self, store: Store) -> None:
        turns = await with_turns(store, 2, 1, 3)
        await store.save_snapshot("notes", NOTES.generation, DocumentSnapshot(6, b"text"))
        assert await store.turns("notes", 0, 6) == turns

    async def test_snapshots_that_must_not_count_are_ignored(self, store: Store) -> None:
        await with_turns(store, 2, 2)
        good = DocumentSnapshot(3, b"good")
        await store.save_snapshot("notes", NOTES.generation, good)
        await store.save_snapshot("notes", NOTES.generation, DocumentSnapshot(2, b"older"))
        await store.save_snapshot("notes", NOTES.generation, DocumentSnapshot(5, b"ahead of the log"))
        await store.save_snapshot("notes", "generation-0", DocumentSnapshot(4, b"of another generation"))
        await store.save_snapshot("nowhere", NOTES.generation, DocumentSnapshot(0, b"of nothing"))
        stored = await store.load_document("notes")
        assert stored is not None
        assert stored.snapshot == good
        assert await store.load_document("nowhere") is None

    async def test_a_snapshot_does_not_move_the_fence(self, store: Store) -> None:
        await with_turns(store, 2)
        await store.save_snapshot("notes", NOTES.generation, DocumentSnapshot(1, b""))
        with pytest.raises(Conflict):
            await append(store, "notes", turn(1))
        assert await append(store, "notes", turn(2)) == 3
