"""The Store contract: rules about roles, in rooms and in documents."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

import pytest

from ..server.seams.outcome import Conflict, LastOwner
from ..server.seams.store import RoomRecord, Store
from .store_history import NOTES


class Place(NamedTuple):
    """How roles in something are set and listed."""

    set: Callable[..., Coroutine[Any, Any, None]]
    roles: Callable[[str], Coroutine[Any, Any, dict[str, str]]]


class RolesSuite:
    """Part of ``StoreSuite``."""

    @pytest.fixture(params=["room", "document"])
    async def place(self, store: Store, request: pytest.FixtureRequest) -> Place:
        """What has roles, with ada as its owner."""
        if request.param == "room":
            await store.create_room(RoomRecord("notes", "ada"))
            return Place(store.set_room_role, store.room_members)
        await store.create_document(NOTES)
        return Place(store.set_document_role, store.document_roles)

    @pytest.mark.parametrize("role", [None, "reader", "editor"])
    async def test_the_last_owner_stays(self, place: Place, role: str | None) -> None:
        await place.set("notes", "bob", "editor")
        with pytest.raises(LastOwner):
            await place.set("notes", "ada", role)
        assert await place.roles("notes") == {"ada": "owner", "bob": "editor"}
        await place.set("notes", "ada", "owner")
        await place.set("notes", "bob", "owner")
        await place.set("notes", "ada", role)
        with pytest.raises(LastOwner):
            await place.set("notes", "bob", role)
        assert (await place.roles("notes"))["bob"] == "owner"

    async def test_of_owners_who_demote_each_other_one_stays(self, place: Place) -> None:
        users = ["ada", *(f"u{number}" for number in range(7))]
        for user in users:
            await place.set("notes", user, "owner")
        outcomes = await asyncio.gather(*(place.set("notes", user, "reader") for user in users), return_exceptions=True)
        assert [outcome for outcome in outcomes if outcome is not None] == [
            one for one in outcomes if isinstance(one, LastOwner)
        ]
        assert sum(outcome is None for outcome in outcomes) == len(users) - 1
        assert sorted((await place.roles("notes")).values()) == ["owner", *["reader"] * (len(users) - 1)]

    async def test_a_change_of_roles_that_are_others_by_now_is_none(self, place: Place) -> None:
        await place.set("notes", "bob", "editor", {"bob": None, "ada": "owner", "eve": None})
        for expect in (
            {"bob": None},
            {"bob": "reader"},
            {"bob": "editor", "ada": "reader"},
            {"bob": "editor", "eve": "reader"},
        ):
            for role in (None, "reader", "owner"):
                with pytest.raises(Conflict):
                    await place.set("notes", "bob", role, expect)
        assert await place.roles("notes") == {"ada": "owner", "bob": "editor"}
        await place.set("notes", "bob", None, {"bob": "editor"})
        assert await place.roles("notes") == {"ada": "owner"}

    async def test_of_many_changes_from_one_role_one_is_made(self, place: Place) -> None:
        changes = (place.set("notes", "bob", f"r{number}", {"bob": None}) for number in range(20))
        outcomes = await asyncio.gather(*changes, return_exceptions=True)
        made = [number for number, outcome in enumerate(outcomes) if outcome is None]
        assert len(made) == 1
        assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == 19
        assert (await place.roles("notes"))["bob"] == f"r{made[0]}"
