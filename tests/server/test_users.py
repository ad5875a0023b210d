"""``auth.users``: whose tokens are taken."""

from __future__ import annotations

import pytest

from syncline.client import RequestError, connect
from syncline.server.app import App
from syncline.server.seams.store import UserRecord
from tests.serving import Serve, ws_url
from tests.waiting import until

from .wsclient import dial

SECRET = "correct horse battery staple, and more"
KNOWN = {"mode": "jwt", "secret": SECRET, "users": "known"}


def token_of(app: App, user: str) -> str:
    return app.node.authentication.auth.issue(user, user.title())


async def test_whom_the_store_does_not_know_is_refused(serve: Serve) -> None:
    async with serve(auth=KNOWN) as app:
        token = token_of(app, "ada")
        async with dial(app.url) as wire:
            assert await wire.error("auth", token=token) == "token_invalid"
            assert await wire.error("room:join", room="r") == "unauthenticated"
            assert app.node.counters.auth_failures == 1
            assert await app.node.store.user("ada") is None
            await app.node.store.put_user(UserRecord("ada", "Ada"))  # as `syncline user add` does, beside the node
            assert (await wire.call("auth", token=token))["user"] == "ada"
        async with dial(app.url, token=token) as wire:
            assert wire.user == "ada"
        assert app.node.counters.auth_failures == 1


async def test_at_the_handshake_too(serve: Serve) -> None:
    async with serve(auth=KNOWN) as app:
        headers = {"Authorization": f"Bearer {token_of(app, 'ada')}"}
        async with dial(app.url, additional_headers=headers) as wire:
            assert (await wire.take(lambda envelope: envelope["event"] == "error"))["data"]["code"] == "token_invalid"
            assert await wire.error("auth") == "token_invalid"
            assert not app.node.sessions.users
        await until(lambda: not app.node.sessions.connections)


async def test_a_client_says_so_and_tries_no_more(serve: Serve) -> None:
    async with serve(auth=KNOWN) as app:
        with pytest.raises(RequestError, match="does not know the user") as caught:
            await connect(ws_url(app), token=token_of(app, "ada"))
        assert caught.value.code == "token_invalid"


async def test_guests_come_by_mode_and_anybody_by_default(serve: Serve) -> None:
    async with serve(auth={"users": "known", "secret": SECRET}) as app, dial(app.url, name="Ada") as wire:
        assert wire.user.startswith("guest-")
    async with serve(auth={"mode": "jwt", "secret": SECRET}) as app:
        async with dial(app.url, token=token_of(app, "bob")) as wire:
            assert wire.user == "bob"
        assert await app.node.store.user("bob") is not None
