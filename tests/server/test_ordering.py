"""Publications of one room reach every member in offset order, whoever publishes and however many at once."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from tests.scale import seeds
from tests.serving import Serve
from tests.waiting import until

from .wsclient import Wire, dial

ROOMS = ("north", "south")
PUBLISHERS, MEMBERS, MESSAGES = 5, 6, 60


class Log:
    """What one member was given of one room, in the order of arrival."""

    def __init__(self) -> None:
        self.received: list[tuple[int, Any]] = []

    def take(self, entry: dict[str, Any]) -> None:
        self.received.append((entry["offset"], entry["data"]))


async def publish(client: Wire, number: int, dice: random.Random) -> dict[str, list[tuple[int, Any]]]:
    """Sends to both rooms, some in one frame, without waiting for answers; returns what each answer said."""
    sent: dict[int, tuple[str, Any]] = {}
    answers: dict[str, list[tuple[int, Any]]] = {room: [] for room in ROOMS}
    count = 0
    while count < MESSAGES:
        batch = []
        for _ in range(dice.randrange(1, 8)):
            room, data = dice.choice(ROOMS), [number, count]
            sent[count + 1000] = (room, data)
            batch.append({"event": "message:send", "data": {"room": room, "data": data}, "id": count + 1000})
            count += 1
        await client.send(*batch)
        if dice.random() < 0.5:
            await asyncio.sleep(0)
    for id in sent:
        reply = await client.take(lambda envelope, id=id: envelope.get("id") == id)  # type: ignore[misc]
        room, data = sent[id]
        answers[room].append((reply["result"]["offset"], data))
    return answers


async def listen(
    client: Wire, logs: dict[str, Log], total: asyncio.Future[dict[str, int]], dice: random.Random
) -> None:
    """Joins, leaves and joins again from where it was, until it has everything."""
    epochs: dict[str, str] = {}
    for room in ROOMS:
        epochs[room] = (await client.call("room:join", room=room))["position"]["epoch"]

    def here(room: str) -> int:
        received = logs[room].received
        return received[-1][0] if received else 0

    while not total.done() or any(here(room) < count for room, count in total.result().items()):
        if dice.random() < 0.15:
            room = dice.choice(ROOMS)
            if dice.random() < 0.5:
                await client.call("room:leave", room=room)
            drain(client, logs)
            recover = {"offset": here(room), "epoch": epochs[room]}
            await client.send({"event": "room:join", "data": {"room": room, "recover": recover}, "id": 7})
            joined = await client.take(lambda envelope: envelope.get("id") == 7)
            assert joined["result"]["recovered"]
            # What had come before the answer is in it or was had; what came after it is in the inbox behind.
            before = [entry for entry in joined["result"]["publications"] if entry["offset"] > here(room)]
            stale = {entry["offset"] for entry in before}
            for entry in before:
                logs[room].take(entry)
            client.inbox = [one for one in client.inbox if not repeats(one, room, stale)]
        await client._more()
        drain(client, logs)


def repeats(envelope: dict[str, Any], room: str, offsets: set[int]) -> bool:
    data = envelope.get("data") or {}
    return envelope["event"] == "message:received" and data["room"] == room and data["offset"] in offsets


def drain(client: Wire, logs: dict[str, Log]) -> None:
    for envelope in client.inbox:
        if envelope["event"] == "message:received":
            logs[envelope["data"]["room"]].take(envelope["data"])
    client.inbox.clear()


@pytest.mark.parametrize("seed", seeds(2, 10))
async def test_every_member_gets_every_publication_in_offset_order(serve: Serve, seed: int) -> None:
    async with serve() as app, asyncio.TaskGroup() as group:
        codecs = ["json", "msgpack"]
        dials = [dial(app.url, name="P", codec=codecs[number % 2]) for number in range(PUBLISHERS)]
        listeners = [dial(app.url, name="M", codec=codecs[number % 2]) for number in range(MEMBERS)]
        publishers = [await one.__aenter__() for one in dials]
        members = [await one.__aenter__() for one in listeners]
        for client in publishers:
            for room in ROOMS:
                await client.call("room:join", room=room)
        total: asyncio.Future[dict[str, int]] = asyncio.get_running_loop().create_future()
        logs = [{room: Log() for room in ROOMS} for _ in members]
        tasks = [
            group.create_task(listen(client, logs[number], total, random.Random(seed * 100 + number)))
            for number, client in enumerate(members)
        ]
        everybody = PUBLISHERS + MEMBERS
        await until(lambda: all(len(app.node.hub.rooms[room].group) == everybody for room in ROOMS))
        answered = await asyncio.gather(
            *(publish(client, number, random.Random(seed * 1000 + number)) for number, client in enumerate(publishers))
        )
        due: dict[str, list[tuple[int, Any]]] = {}
        for room in ROOMS:
            due[room] = sorted(entry for answers in answered for entry in answers[room])
            assert [offset for offset, _ in due[room]] == list(range(1, len(due[room]) + 1))
            for number in range(PUBLISHERS):  # each one's in the order in which it sent them
                mine = [data[1] for _, data in due[room] if data[0] == number]
                assert mine == sorted(mine)
        total.set_result({room: len(due[room]) for room in ROOMS})
        # One more of each, so that who waits for nothing wakes up.
        for room in ROOMS:
            await publishers[0].call("message:send", room=room, data="end")
        await asyncio.gather(*tasks)
        for log in logs:
            for room in ROOMS:
                assert [entry for entry in log[room].received if entry[1] != "end"] == due[room]
        for one in (*dials, *listeners):
            await one.__aexit__(None, None, None)
