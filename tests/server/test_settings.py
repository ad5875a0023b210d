"""Settings whose effect no other test shows."""

from __future__ import annotations

import pytest

from tests.serving import Serve

from .wsclient import dial


@pytest.mark.parametrize("rooms", [1, 3])
async def test_so_many_histories_are_kept_as_max_histories_says(serve: Serve, rooms: int, backend: str) -> None:
    """What the node needs for itself is not one of them."""
    async with serve(rooms={"max_histories": rooms}) as app, dial(app.url, name="Ada") as ada:
        kept: list[str] = []
        epochs = {}
        for number in range(rooms + 1):
            name = f"r{number}"
            epochs[name] = (await ada.call("room:join", room=name))["position"]["epoch"]
            await ada.call("message:send", room=name, data=number)
            await ada.call("room:leave", room=name)
        for name in reversed(epochs):
            if (await ada.call("room:join", room=name, recover={"epoch": epochs[name], "offset": 0}))["recovered"]:
                kept.append(name)
            await ada.call("room:leave", room=name)
        assert kept == [f"r{number}" for number in range(rooms, 0 if backend == "memory" else -1, -1)]


async def test_presence_in_sqlite_knows_after_a_restart_when_one_was_last_seen(serve: Serve, backend: str) -> None:
    seen = []
    for turn in range(2):
        async with serve() as app, dial(app.url, name="Bob") as bob:
            await bob.call("room:join", room="team")
            if turn == 0:
                async with dial(app.url, name="Ada") as ada:
                    await ada.call("room:join", room="team")
                    user = ada.user
                await bob.push("room:user_left", user=user)
            told = (await bob.call("room:members", room="team"))["members"]
            seen += [one["last_seen"] for one in told if one["user"] == user]
    if backend == "sqlite":
        assert len(seen) == 2 and seen[0] == seen[1] is not None
