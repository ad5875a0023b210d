"""The Store contract, sentence by sentence."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from functools import partial

import pytest

from ..server.seams.outcome import Conflict, Unavailable
from ..server.seams.store import (
    DocumentRecord,
    DocumentSnapshot,
    DocumentState,
    RoomRecord,
    Store,
    StoredDocument,
    Turn,
    UserRecord,
)
from .clock import ManualClock
from .outcome import Outcomes
from .store_history import NOTES, HistorySuite, append, turn, with_turns
from .store_roles import RolesSuite

CreateStore = Callable[[ManualClock], Store]
Open = Callable[[], Awaitable[Store]]

#: Names that a careless query or file name would get wrong.
ODD_NAMES = [
    "",
    " ",
    "'",
    '"; --',
    "%",
    "_",
    "a/../b",
    "\x00",
    "a\x00b",
    "\u00e9",
    "e\u0301",
    "😀",
    "NULL",
    "A",
    "a",
    "x" * 1000,
]


class StoreSuite(HistorySuite, RolesSuite):
    """Give it the fixture ``create``: ``create(clock) -> Store``."""

    @pytest.fixture
    def clock(self) -> ManualClock:
        return ManualClock()

    @pytest.fixture
    async def open(self, create: CreateStore, clock: ManualClock) -> AsyncIterator[Open]:
        stores: list[Store] = []

        async def open() -> Store:
            store = create(clock)
            await store.start()
            stores.append(store)
            return store

        yield open
        for store in stores:
            await store.close()

    @pytest.fixture
    async def store(self, open: Open) -> Store:
        return await open()

    # Life ----------------------------------------------------------------------------------------------------

    async def test_start_and_close_are_idempotent(self, create: CreateStore, clock: ManualClock) -> None:
        store = create(clock)
        await store.start()
        await store.start()
        await store.ping()
        await store.close()
        await store.close()

    async def test_a_closed_store_is_unavailable_never_empty(self, store: Store) -> None:
        await with_turns(store, 1)
        await store.close()
        reads: list[Callable[[], Awaitable[object]]] = [
            store.ping,
            partial(store.setting, "key", lambda: "value"),
            partial(store.user, "ada"),
            store.users,
            partial(store.room, "team"),
            partial(store.room_role, "team", "ada"),
            partial(store.room_members, "team"),
            partial(store.document, "notes"),
            partial(store.load_document, "notes"),
            partial(store.turns, "notes", 0, 1),
            store.documents,
            partial(store.document_state, "notes"),
            partial(store.load_document, "notes", 1),
            partial(store.checkpoints, "notes"),
            partial(store.document_role, "notes", "ada"),
            partial(store.document_roles, "notes"),
        ]
        writes: list[Callable[[], Awaitable[object]]] = [
            partial(store.put_user, UserRecord("ada")),
            partial(store.create_room, RoomRecord("team", "ada")),
            partial(store.set_room_role, "team", "ada", "owner"),
            partial(store.create_document, NOTES),
            partial(store.save_snapshot, "notes", NOTES.generation, DocumentSnapshot(1, b"")),
            partial(store.replace_turns, "notes", NOTES.generation, turn(0)),
            partial(store.save_checkpoint, "notes", NOTES.generation, DocumentSnapshot(1, b"")),
            partial(store.drop_checkpoints, "notes", NOTES.generation, [1]),
            partial(store.prune, "notes", NOTES.generation, 1),
            partial(store.set_document_role, "notes", "ada", "owner"),
            partial(store.delete_document, "notes"),
            partial(append, store, "notes", turn(1)),
        ]
        for call in reads + writes:
            with pytest.raises(Unavailable):
                await call()

    async def test_close_finishes_what_was_submitted(self, store: Store) -> None:
        await with_turns(store)
        outcomes = Outcomes()
        for base in range(50):
            store.append("notes", NOTES.generation, turn(base), outcomes.done(base))
        await store.close()
        assert outcomes.order == list(range(50))
        assert not outcomes.errors

    # Settings ------------------------------------------------------------------------------------------------

    async def test_the_first_default_is_stored(self, store: Store) -> None:
        assert await store.setting("secret", lambda: "one") == "one"
        assert await store.setting("secret", lambda: "two") == "one"
        assert await store.setting("other", lambda: "two") == "two"

    async def test_the_default_is_not_asked_for_when_there_is_a_value(self, store: Store) -> None:
        await store.setting("secret", lambda: "")
        asked: list[str] = []

        def default() -> str:
            asked.append("default")
            return "two"

        assert await store.setting("secret", default) == ""
        assert asked == []

    async def test_all_who_ask_at_once_get_the_same_value(self, store: Store) -> None:
        values = await asyncio.gather(*(store.setting("secret", partial(str, number)) for number in range(20)))
        assert len(set(values)) == 1
        assert await store.setting("secret", lambda: "late") == values[0]

    # Users ---------------------------------------------------------------------------------------------------

    async def test_an_unknown_user_is_none(self, store: Store) -> None:
        assert await store.user("ada") is None
        assert await store.users() == []

    async def test_a_user_comes_back_as_it_was_put(self, store: Store) -> None:
        attributes = {"a": [1, 2.5, None, True, "é😀\x00"], "b": {"c": {}}}
        record = UserRecord("ada", "Ada\n😀", True, 5.5, attributes)
        await store.put_user(record)
        assert await store.user("ada") == record
        assert await store.users() == [record]

    async def test_putting_again_replaces_all_but_created_at(self, store: Store) -> None:
        await store.put_user(UserRecord("ada", "Ada", True, 5.0, {"old": 1}))
        await store.put_user(UserRecord("ada", "Countess", False, 9.0, {"new": 2}))
        assert await store.user("ada") == UserRecord("ada", "Countess", False, 5.0, {"new": 2})

    async def test_attributes_are_not_shared_with_the_caller(self, store: Store) -> None:
        attributes = {"tags": ["a"]}
        await store.put_user(UserRecord("ada", attributes=attributes))
        attributes["tags"].append("b")
        record = await store.user("ada")
        assert record is not None
        assert record.attributes == {"tags": ["a"]}
        record.attributes["tags"].append("c")
        again = await store.user("ada")
        assert again is not None
        assert again.attributes == {"tags": ["a"]}

    async def test_users_come_in_pages_by_id(self, store: Store) -> None:
        for name in reversed(ODD_NAMES):
            await store.put_user(UserRecord(name, created_at=1.0))
        ordered = sorted(set(ODD_NAMES))
        for size in (1, 3, 100):
            found: list[str] = []
            page = await store.users("", size)
            while page:
                assert len(page) <= size
                found += [record.id for record in page]
                page = await store.users(found[-1], size)
            assert found == ordered[1:], "those greater than the empty id"
        assert await store.users("", 0) == []
        assert await store.users("", -1) == []
        assert [record.id for record in await store.users("A", 1)] == ["NULL"]

    # Rooms ---------------------------------------------------------------------------------------------------

    async def test_an_unknown_room_is_none(self, store: Store) -> None:
        assert await store.room("team") is None
        assert await store.room_role("team", "ada") is None
        assert await store.room_members("team") == {}

    async def test_a_room_comes_back_as_it_was_created(self, store: Store) -> None:
        plain = RoomRecord("team", "ada", created_at=5.5)
        closed = RoomRecord("vault", "bob", None, "$argon2id$...", 6.5)
        assert await store.create_room(plain)
        assert await store.create_room(closed)
        assert await store.room("team") == plain
        assert await store.room("vault") == closed

    async def test_the_owner_of_a_new_room_is_a_member(self, store: Store) -> None:
        await store.create_room(RoomRecord("team", "ada"))
        assert await store.room_role("team", "ada") == "owner"
        assert await store.room_members("team") == {"ada": "owner"}

    async def test_a_taken_room_name_changes_nothing(self, store: Store) -> None:
        first = RoomRecord("team", "ada", created_at=5.0)
        assert await store.create_room(first)
        assert not await store.create_room(RoomRecord("team", "bob", "reader", "hash", 6.0))
        assert await store.room("team") == first
        assert await store.room_members("team") == {"ada": "owner"}

    async def test_one_of_many_creates_the_room(self, store: Store) -> None:
        created = await asyncio.gather(*(store.create_room(RoomRecord("team", f"u{n}")) for n in range(20)))
        assert created.count(True) == 1
        winner = f"u{created.index(True)}"
        record = await store.room("team")
        assert record is not None
        assert record.owner == winner
        assert await store.room_members("team") == {winner: "owner"}

    async def test_room_roles_are_set_replaced_and_removed(self, store: Store) -> None:
        await store.create_room(RoomRecord("team", "ada"))
        await store.create_room(RoomRecord("other", "ada"))
        await store.set_room_role("team", "bob", "member")
        assert await store.room_members("team") == {"ada": "owner", "bob": "member"}
        await store.set_room_role("team", "bob", "reader")
        assert await store.room_role("team", "bob") == "reader"
        await store.set_room_role("team", "bob", None)
        await store.set_room_role("team", "bob", None)
        assert await store.room_role("team", "bob") is None
        assert await store.room_members("team") == {"ada": "owner"}
        assert await store.room_members("other") == {"ada": "owner"}

    async def test_a_role_in_a_room_that_is_not_there_is_nothing(self, store: Store) -> None:
        await store.set_room_role("nowhere", "ada", "owner")
        await store.set_room_role("nowhere", "ada", None)
        assert await store.room_members("nowhere") == {}
        assert await store.room("nowhere") is None

    async def test_odd_names_are_names(self, store: Store) -> None:
        for name in ODD_NAMES:
            assert await store.create_room(RoomRecord(name, name))
            assert await store.create_document(DocumentRecord(name, "g", name))
        for name in ODD_NAMES:
            assert await store.room_members(name) == {name: "owner"}
            assert await store.document_roles(name) == {name: "owner"}

    async def test_zero_created_at_is_now(self, store: Store, clock: ManualClock) -> None:
        clock.advance(10)
        now = clock.time()
        await store.put_user(UserRecord("ada"))
        await store.create_room(RoomRecord("team", "ada"))
        await store.create_document(DocumentRecord("notes", "g", "ada"))
        await append(store, "notes", Turn(0, 1, b""), "g")
        records = (await store.user("ada"), await store.room("team"), await store.document("notes"))
        assert [record.created_at if record else None for record in records] == [now] * 3
        assert [stored.created_at for stored in await store.turns("notes", 0, 1)] == [now]

    # Documents -----------------------------------------------------------------------------------------------

    async def test_an_unknown_document_is_none(self, store: Store) -> None:
        assert await store.document("notes") is None
        assert await store.load_document("notes") is None
        assert await store.turns("notes", 0, 10) == []
        assert await store.document_role("notes", "ada") is None
        assert await store.document_roles("notes") == {}
        assert not await store.delete_document("notes")

    async def test_a_new_document_is_empty_at_revision_0(self, store: Store) -> None:
        assert await store.create_document(NOTES)
        assert await store.document("notes") == NOTES
        stored = await store.load_document("notes")
        assert stored is not None
        assert (stored.record, stored.snapshot, stored.turns) == (NOTES, None, [])
        assert await store.document_roles("notes") == {"ada": "owner"}

    async def test_a_document_keeps_its_type(self, store: Store) -> None:
        typed = replace(NOTES, type="rich-text")
        assert await store.create_document(typed)
        assert await store.document("notes") == typed
        stored = await store.load_document("notes")
        assert stored is not None and stored.record == typed

    async def test_a_new_document_may_bring_a_snapshot(self, store: Store) -> None:
        snapshot = DocumentSnapshot(7, b"\x00text\xff")
        assert await store.create_document(NOTES, snapshot)
        stored = await store.load_document("notes")
        assert stored is not None
        assert (stored.snapshot, stored.turns) == (snapshot, [])
        with pytest.raises(Conflict):
            await append(store, "notes", turn(0))
        assert await append(store, "notes", turn(7)) == 8

    async def test_a_taken_document_id_changes_nothing(self, store: Store) -> None:
        turns = await with_turns(store, 1, 2)
        other = DocumentRecord("notes", "generation-2", "bob", None, 6.0)
        assert not await store.create_document(other, DocumentSnapshot(9, b"theirs"))
        stored = await store.load_document("notes")
        assert stored is not None
        assert (stored.record, stored.snapshot, stored.turns) == (NOTES, None, turns)
        assert await store.document_roles("notes") == {"ada": "owner"}

    async def test_one_of_many_creates_the_document(self, store: Store) -> None:
        records = [DocumentRecord("notes", f"g{number}", f"u{number}") for number in range(20)]
        created = await asyncio.gather(*map(store.create_document, records))
        assert created.count(True) == 1
        record = await store.document("notes")
        assert record is not None
        assert record.generation == f"g{created.index(True)}"
        assert await store.document_roles("notes") == {f"u{created.index(True)}": "owner"}

    async def test_append_gives_the_new_revision(self, store: Store) -> None:
        await with_turns(store)
        assert await append(store, "notes", turn(0, 3)) == 3
        assert await append(store, "notes", turn(3, 1)) == 4

    async def test_a_turn_comes_back_as_it_was_appended(self, store: Store) -> None:
        await with_turns(store)
        bodies = [b"", b"\x00\xff", b"x" * 200_000]
        turns = [Turn(base, 1, body, 5.5 + base) for base, body in enumerate(bodies)]
        for one in turns:
            await append(store, "notes", one)
        stored = await store.load_document("notes")
        assert stored is not None
        assert stored.turns == turns

    @pytest.mark.parametrize("base", [0, 1, 2, 4, 100, -1])
    async def test_only_the_next_revision_can_be_appended(self, store: Store, base: int) -> None:
        turns = await with_turns(store, 2, 1)
        with pytest.raises(Conflict):
            await append(store, "notes", turn(base))
        stored = await store.load_document("notes")
        assert stored is not None
        assert stored.turns == turns
        assert await append(store, "notes", turn(3)) == 4

    async def test_nothing_is_appended_to_a_document_that_is_not_there(self, store: Store) -> None:
        with pytest.raises(Conflict):
            await append(store, "nowhere", turn(0))
        assert await store.load_document("nowhere") is None

    async def test_a_turn_without_operations_is_refused(self, store: Store) -> None:
        await with_turns(store)
        for count in (0, -1):
            with pytest.raises(ValueError, match="at least one"):
                store.append("notes", NOTES.generation, Turn(0, count, b""), lambda revision, error: None)
        assert await append(store, "notes", turn(0)) == 1

    async def test_many_appends_in_a_turn_are_in_order(self, store: Store) -> None:
        names = ["a", "b", "c"]
        for name in names:
            await store.create_document(replace(NOTES, id=name))
        outcomes = Outcomes()
        for base in range(0, 60, 2):
            for name in names:
                store.append(name, NOTES.generation, turn(base, 2), outcomes.done((name, base)))
            if base % 10 == 0:
                await asyncio.sleep(0)
        await outcomes.wait()
        assert not outcomes.errors
        for name in names:
            assert [base for where, base in outcomes.order if where == name] == list(range(0, 60, 2))
            assert [outcomes.results[name, base] for base in range(0, 60, 2)] == list(range(2, 62, 2))
            stored = await store.load_document(name)
            assert stored is not None
            assert stored.turns == [turn(base, 2) for base in range(0, 60, 2)]

    async def test_a_failing_append_does_not_fail_its_neighbours(self, store: Store) -> None:
        for name in ("good", "bad"):
            await store.create_document(replace(NOTES, id=name))
        outcomes = Outcomes()
        for base in range(10):
            store.append("good", NOTES.generation, turn(base), outcomes.done(("good", base)))
            store.append("bad", NOTES.generation, turn(base + 1), outcomes.done(("bad", base)))
            store.append("nowhere", NOTES.generation, turn(base), outcomes.done(("nowhere", base)))
        await outcomes.wait()
        assert {name for name, _ in outcomes.results} == {"good"}
        assert len(outcomes.results) == 10
        assert len(outcomes.errors) == 20
        assert all(isinstance(error, Conflict) for error in outcomes.errors.values())
        stored = await store.load_document("bad")
        assert stored is not None
        assert stored.turns == []

    async def test_one_of_two_writers_wins_a_revision(self, store: Store) -> None:
        await with_turns(store)
        outcomes = Outcomes()
        store.append("notes", NOTES.generation, turn(0, 2, b"first"), outcomes.done("first"))
        store.append("notes", NOTES.generation, turn(0, 1, b"second"), outcomes.done("second"))
        await outcomes.wait()
        assert outcomes.results == {"first": 2}
        assert isinstance(outcomes.errors["second"], Conflict)
        assert [stored.body for stored in await store.turns("notes", 0, 10)] == [b"first"]

    async def test_what_was_acknowledged_is_read(self, store: Store) -> None:
        await with_turns(store)
        for base in range(20):
            await append(store, "notes", turn(base))
            loaded, turns = await asyncio.gather(store.load_document("notes"), store.turns("notes", base, base + 1))
            assert loaded is not None
            assert len(loaded.turns) == base + 1
            assert turns == [turn(base)]

    async def test_loads_see_one_moment(self, store: Store) -> None:
        await with_turns(store)
        outcomes = Outcomes()
        loads: list[asyncio.Future[StoredDocument | None]] = []
        saves: list[asyncio.Future[None]] = []
        for base in range(60):
            store.append("notes", NOTES.generation, turn(base), outcomes.done(base))
            if base % 6 == 5:
                snapshot = DocumentSnapshot(len(outcomes.order), b"")
                saves.append(asyncio.ensure_future(store.save_snapshot("notes", NOTES.generation, snapshot)))
            loads.append(asyncio.ensure_future(store.load_document("notes")))
            await asyncio.sleep(0)
        await outcomes.wait()
        await asyncio.gather(*saves)
        assert not outcomes.errors
        loads.append(asyncio.ensure_future(store.load_document("notes")))
        seen = 0
        for stored in await asyncio.gather(*loads):
            assert stored is not None
            since = stored.snapshot.revision if stored.snapshot else 0
            assert [one.base for one in stored.turns] == list(range(since, since + len(stored.turns)))
            seen = since + len(stored.turns)
        assert seen == 60

    # Roles and deletion --------------------------------------------------------------------------------------

    async def test_document_roles_are_set_replaced_and_removed(self, store: Store) -> None:
        await store.create_document(NOTES)
        await store.create_document(replace(NOTES, id="other"))
        await store.set_document_role("notes", "bob", "editor")
        assert await store.document_role("notes", "bob") == "editor"
        await store.set_document_role("notes", "bob", "reader")
        assert await store.document_roles("notes") == {"ada": "owner", "bob": "reader"}
        await store.set_document_role("notes", "bob", None)
        await store.set_document_role("notes", "bob", None)
        assert await store.document_role("notes", "bob") is None
        assert await store.document_roles("notes") == {"ada": "owner"}
        assert await store.document_roles("other") == {"ada": "owner"}

    async def test_a_role_in_a_document_that_is_not_there_is_nothing(self, store: Store) -> None:
        await store.set_document_role("nowhere", "ada", "owner")
        assert await store.document_roles("nowhere") == {}

    async def test_deleting_takes_everything_of_the_document(self, store: Store) -> None:
        await with_turns(store, 2, 1)
        other = await with_turns(store, 1, record=replace(NOTES, id="other"))
        await store.save_snapshot("notes", NOTES.generation, DocumentSnapshot(2, b"text"))
        await store.set_document_role("notes", "bob", "editor")
        assert await store.delete_document("notes")
        assert not await store.delete_document("notes")
        assert await store.document("notes") is None
        assert await store.load_document("notes") is None
        assert await store.turns("notes", 0, 10) == []
        assert await store.document_roles("notes") == {}
        with pytest.raises(Conflict):
            await append(store, "notes", turn(3))
        stored = await store.load_document("other")
        assert stored is not None
        assert stored.turns == other

    async def test_a_document_created_anew_has_nothing_of_the_old_one(self, store: Store) -> None:
        await with_turns(store, 2, 1)
        await store.save_snapshot("notes", NOTES.generation, DocumentSnapshot(2, b"text"))
        await store.set_document_role("notes", "bob", "editor")
        await store.delete_document("notes")
        anew = replace(NOTES, generation="generation-2", owner="eve")
        assert await store.create_document(anew)
        stored = await store.load_document("notes")
        assert stored is not None
        assert (stored.record, stored.snapshot, stored.turns) == (anew, None, [])
        assert await store.document_roles("notes") == {"eve": "owner"}
        with pytest.raises(Conflict):  # of the old one's owner, at the revision that fits
            await append(store, "notes", turn(0))
        assert await append(store, "notes", turn(0), anew.generation) == 1
        with pytest.raises(Conflict):
            await append(store, "notes", turn(1))
        stored = await store.load_document("notes")
        assert stored is not None
        assert stored.revision == 1


class DurableStoreSuite(StoreSuite):
    """For stores that outlive the process: each ``create`` of a test opens the same data."""

    async def test_everything_is_there_after_a_restart(self, open: Open) -> None:
        store = await open()
        secret = await store.setting("secret", lambda: "one")
        user = UserRecord("ada", "Ada", False, 5.0, {"a": 1})
        room = RoomRecord("team", "ada", None, "hash", 5.0)
        await store.put_user(user)
        await store.create_room(room)
        await store.set_room_role("team", "bob", "reader")
        turns = await with_turns(store, 2, 1, 1)
        snapshot = DocumentSnapshot(3, b"text")
        await store.save_snapshot("notes", NOTES.generation, snapshot)
        await store.set_document_role("notes", "bob", "editor")
        await store.close()
        store = await open()
        assert await store.setting("secret", lambda: "two") == secret
        assert await store.user("ada") == user
        assert await store.room("team") == room
        assert await store.room_members("team") == {"ada": "owner", "bob": "reader"}
        stored = await store.load_document("notes")
        assert stored is not None
        assert (stored.record, stored.snapshot, stored.turns) == (NOTES, snapshot, turns[2:])
        assert await store.turns("notes", 0, 4) == turns
        assert await store.document_roles("notes") == {"ada": "owner", "bob": "editor"}
        assert await append(store, "notes", turn(4)) == 5

    async def test_blocks_checkpoints_and_the_horizon_are_there_after_a_restart(self, open: Open) -> None:
        store = await open()
        turns = await with_turns(store, 2, 1, 1, 3)
        await store.save_snapshot("notes", NOTES.generation, DocumentSnapshot(7, b"text"))
        block, checkpoint = Turn(2, 2, b"merged", 9.0), DocumentSnapshot(2, b"early text")
        assert await store.replace_turns("notes", NOTES.generation, block)
        assert await store.save_checkpoint("notes", NOTES.generation, checkpoint)
        assert await store.prune("notes", NOTES.generation, 2) == 2
        await store.close()
        store = await open()
        stored = await store.load_document("notes", 6)
        assert stored is not None
        assert (stored.snapshot, stored.turns) == (checkpoint, [block, turns[3]])
        state = await store.document_state("notes")
        assert state == DocumentState(NOTES, 7, 7, 2, 4)

    async def test_a_closed_store_can_be_started_again(self, store: Store) -> None:
        turns = await with_turns(store, 2)
        await store.close()
        await store.start()
        assert await store.turns("notes", 0, 2) == turns

    async def test_two_stores_are_fenced_by_the_revision(self, open: Open) -> None:
        """Two processes that both believe to own a document: each revision has one writer."""
        stores = [await open(), await open()]
        await with_turns(stores[0])
        outcomes = Outcomes()
        for revision in range(20):
            for number, store in enumerate(stores):
                body = b"by %d at %d" % (number, revision)
                store.append("notes", NOTES.generation, turn(revision, 1, body), outcomes.done((revision, number)))
            await outcomes.wait()
            winners = [number for number in (0, 1) if (revision, number) in outcomes.results]
            assert len(winners) == 1
            assert isinstance(outcomes.errors[revision, 1 - winners[0]], Conflict)
            for store in stores:
                stored = await store.turns("notes", revision, revision + 1)
                assert [one.body for one in stored] == [b"by %d at %d" % (winners[0], revision)]
