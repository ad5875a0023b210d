"""The client's part of the delivery digest: asks the server now and then whether each room is where this client thinks.

One question for all rooms each ``ping_seconds``; soon after a join, and for a busy room in between (``proof.MESSAGES``). A
room that is found incomplete is joined again from its last proven position.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from .errors import ClientError, ProtocolViolation

if TYPE_CHECKING:
    from .handle_owner import HandleOwner
    from .rooms import Room

ROOMS: Final = 256  # in one request; the server takes no more
SOON: Final = 1.0  # seconds at most: random, because many clients come back together


class Heartbeat:
    """Runs while there is a link."""

    def __init__(self, client: HandleOwner, rooms: Mapping[str, Room]) -> None:
        self._client = client
        self._rooms = rooms
        self._task: asyncio.Task[None] | None = None
        self._soon: asyncio.Task[None] | None = None

    def start(self, identity: dict[str, Any]) -> None:
        self.stop()
        options = self._client.connection.options
        period = float(identity.get("ping_seconds") or options.ping_seconds)
        self._task = asyncio.get_running_loop().create_task(self._run(period))

    def stop(self) -> None:
        """No answers come any more. Idempotent."""
        for task in (self._task, self._soon):
            if task is not None:
                task.cancel()
        self._task = self._soon = None
        for room in self._rooms.values():
            room.proof.asked = False

    def soon(self) -> None:
        """For rooms that were joined again: a comparison within a second."""
        if self._task is not None and (self._soon is None or self._soon.done()):
            self._soon = asyncio.get_running_loop().create_task(self._once(random.random() * SOON))

    async def _once(self, delay: float) -> None:
        await self._client.connection.options.clock.sleep(delay)
        self.ask(self._rooms.values())

    async def _run(self, period: float) -> None:
        while True:
            await self._client.connection.options.clock.sleep(period)
            rooms = self._rooms.values()
            for room in rooms:
                room.proof.asked = False  # an answer that has not come by now is lost, or good for this question too
            self.ask(rooms)

    def ask(self, rooms: Iterable[Room]) -> None:
        """Compares those of the rooms that have something to compare."""
        asked: list[tuple[Room, dict[str, Any]]] = []
        for room in rooms:
            claim = None if room._joining else room.proof.claim(room.name)
            if claim is not None:
                asked.append((room, claim))
        for start in range(0, len(asked), ROOMS):
            self._ask(asked[start : start + ROOMS])

    def _ask(self, asked: list[tuple[Room, dict[str, Any]]]) -> None:
        def answered(result: Any, error: ClientError | None) -> None:
            try:
                compare({} if error is not None else {answer["room"]: answer for answer in result["rooms"]}, error)
            except (KeyError, TypeError, AttributeError) as fault:
                raise ProtocolViolation(f"room:digest without {fault!r}") from fault

        def compare(answers: dict[str, Any], error: ClientError | None) -> None:
            for room, _ in asked:
                waiting, room.proof.asked = room.proof.asked, False
                if not waiting or error is not None or room._joining or room.error is not None:
                    continue  # joined again meanwhile, or no answer: at the next beat
                answer = answers.get(room.name)
                if answer is None:
                    room._renew(ClientError("the server does not know that this client is in the room"))
                elif answer.get("behind"):
                    continue  # it is told to join again when it has caught up
                elif room.proof.compare(answer):
                    room._proven()
                else:
                    room._repair()

        self._client.connection.post("room:digest", {"rooms": [claim for _, claim in asked]}, answered)
