"""A document of some type with something in it, whose client goes away and comes back."""

from __future__ import annotations

from typing import Any

import pytest

from syncline.client import Client, Document
from syncline.server.app import App
from tests.waiting import until

from .links import GateClock, Open, cut

EMPTY: dict[str, Any] = {"text": {}, "rich-text": {}, "json": {"content": {"s": "0" * 4000, "list": []}}}
#: A small edit, and what it gives at the beginning.
SMALL: dict[str, Any] = {"text": ["!"], "rich-text": [{"insert": "!"}], "json": [{"p": ["list", 0], "li": "!"}]}
every_way = pytest.mark.parametrize("away", [False, True], ids=["online", "offline"])


class Desk:
    def __init__(self, client: Client, clock: GateClock, document: Document) -> None:
        self.client, self.clock, self.document = client, clock, document
        self.refused: list[tuple[Any, str]] = []
        document.on_refused(lambda operation, code: self.refused.append((operation, code)))

    async def go(self, away: bool) -> None:
        if away:
            self.clock.gate.clear()
            cut(self.client)
            await until(lambda: self.client.state == "waiting")

    async def come(self) -> None:
        self.clock.gate.set()
        await self.document.settled()
        assert self.document.joined and not self.document.lost_work


async def desk(open_client: Open, kind: str, **options: Any) -> Desk:
    clock = GateClock()
    client = await open_client(clock=clock, **options)
    await client.create_document("d", type=kind, **EMPTY[kind])  # type: ignore[arg-type]
    return Desk(client, clock, await client.document("d", type=kind))


def on_server(app: App) -> Any:
    return app.node.documents.live["d"].core.content()
