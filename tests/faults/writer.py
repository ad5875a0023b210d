"""A writer in a process of its own: edits a text, a rich text and a JSON document at random, as its standard input says.

writer.mjs is the same with the browser client. Both take lines of JSON, each with one command, and answer it with a line when it is
done; commands may overlap:

    {"write": {"count": n, "kinds": [...], "patience": p}}   {"wrote": edits in all}   after a part ``patience`` of the edits it waits
                                                                                       until the document is settled or the link gone
    {"settle": true}           {"settled": edits in all}     all is acknowledged
    {"level": {kind: n}}       {"report": {...}}             the documents are at these revisions; what it has seen and done
    {"state": true}            {"state": {...}}              at once; for people

In between there are lines {"edits": in all} after each edit, and {"online": times} after each connection that came about.

Most edits insert a character of their own, a marker, which nobody deletes. What is deleted are letters of NOISE, elements "-" of
the list, and the keys k0 ... k3.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import sys
from typing import Any

from syncline.client import Backoff, Client, connect

#: Each writer's markers are in a plane of its own, from this one on: surrogate pairs for all that counts in UTF-16.
FIRST_PLANE = 2
MARKERS = 60_000
COLOURS = ("red", "green", "blue", None)
NOISE = "abcdefghij"
KINDS = ("text", "rich-text", "json")


def say(**line: Any) -> None:
    print(json.dumps(line), flush=True)


def places_in(parts: Any) -> tuple[list[int], list[int]]:
    """Of a string, or of characters and embeds: where one may insert, and where noise is, in UTF-16 code units."""
    places, noise = [0], []
    for one in parts:
        if isinstance(one, str) and one in NOISE:
            noise.append(places[-1])
        places.append(places[-1] + (2 if isinstance(one, str) and ord(one) > 0xFFFF else 1))
    return places, noise


class Writer:
    """``typed``: its markers by document, of which the first ``acknowledged`` were when it last knew; ``added``: what it added to the
    number."""

    def __init__(self, client: Client, documents: dict[str, Any], number: int, rng: random.Random) -> None:
        self._client = client
        self._documents = documents
        self._rng = rng
        self._down = asyncio.Event()
        self._edits = {"text": self._text, "rich-text": self._rich, "json": self._json}
        self._marker = (FIRST_PLANE + number) << 16
        self._end = self._marker + MARKERS
        self.edits = 0
        self.online = 0
        self.added = 0
        self.typed = dict.fromkeys(KINDS, "")
        self.acknowledged = dict.fromkeys(KINDS, 0)
        self.refused: list[Any] = []
        client.on_state(self._state_changed)
        self._state_changed(client.state)
        for kind, document in documents.items():
            document.on_refused(lambda operation, code, kind=kind: self.refused.append([kind, code]))

    def _state_changed(self, state: str) -> None:
        if state == "open":
            self._down.clear()
            self.online += 1
            say(online=self.online)
        else:
            self._down.set()

    async def do(self, command: str, value: Any) -> None:
        if command == "write":
            await self._write(**value)
            say(wrote=self.edits)
        elif command == "settle":
            for document in self._documents.values():
                await document.settled()
            say(settled=self.edits)
        elif command == "level":
            for kind, revision in value.items():
                document = self._documents[kind]
                await document.wait_for(lambda one=document, least=revision: one.revision >= least)
            say(report=self._report())
        else:
            documents = self._documents.items()
            about = {kind: [one.revision, "joined" if one.joined else "not joined"] for kind, one in documents}
            say(state={"client": self._client.state, "edits": self.edits, **about})

    def _report(self) -> dict[str, Any]:
        documents = self._documents
        return {
            "content": {kind: one.text if kind == "text" else one.content for kind, one in documents.items()},
            "typed": self.typed,
            "acknowledged": self.acknowledged,
            "added": self.added,
            "refused": self.refused,
            "lost": [kind for kind, one in documents.items() if one.lost_work],
            "healed": [kind for kind, one in documents.items() if one.healed],
        }

    # Edits -----------------------------------------------------------------------------------------------------------
    async def _write(self, count: int, kinds: list[str], patience: float) -> None:
        for _ in range(count):
            kind = self._rng.choice(kinds)
            self._edits[kind]()
            self.edits += 1
            say(edits=self.edits)
            await asyncio.sleep(0)
            if self._rng.random() < patience:
                await self._settled_or_down(kind)

    async def _settled_or_down(self, kind: str) -> None:
        count = len(self.typed[kind])
        settled = asyncio.ensure_future(self._documents[kind].settled())
        down = asyncio.ensure_future(self._down.wait())
        await asyncio.wait([settled, down], return_when=asyncio.FIRST_COMPLETED)
        if settled.done():
            settled.result()
            self.acknowledged[kind] = count
        for task in (settled, down):
            task.cancel()

    def _mark(self, kind: str) -> str:
        if self._marker == self._end:
            raise RuntimeError("no markers are left")
        marker = chr(self._marker)
        self._marker += 1
        self.typed[kind] += marker
        return marker

    def _tail(self) -> str:
        return self._rng.choice(["", self._rng.choice(NOISE)])

    def _text(self) -> None:
        document, rng = self._documents["text"], self._rng
        text = document.text
        noise = [at for at, character in enumerate(text) if character in NOISE]
        if noise and rng.random() < 0.25:
            document.delete(rng.choice(noise), 1)
        else:
            document.insert(rng.randint(0, len(text)), self._mark("text") + self._tail())

    def _rich(self) -> None:
        document, rng = self._documents["rich-text"], self._rng
        inserts = [part["insert"] for part in document.content]
        parts = [one for insert in inserts for one in (insert if isinstance(insert, str) else [insert])]
        places, noise = places_in(parts)
        chance = rng.random()
        if noise and chance < 0.2:
            operation: list[dict[str, Any]] = [{"retain": rng.choice(noise)}, {"delete": 1}]
        elif parts and chance < 0.4:
            start = rng.randrange(len(parts))
            width = places[min(len(parts), start + rng.randint(1, 5))] - places[start]
            format = {rng.choice(["color", "bold"]): rng.choice(COLOURS)}
            operation = [{"retain": places[start]}, {"retain": width, "attributes": format}]
        else:
            marker, colour = self._mark("rich-text"), rng.choice(COLOURS)
            insert = {"insert": {"image": marker} if chance < 0.5 else marker + self._tail()}
            operation = [{"retain": rng.choice(places)}, insert | ({"attributes": {"color": colour}} if colour else {})]
        document.apply([part for part in operation if part.get("retain") != 0])

    def _json(self) -> None:
        document, rng = self._documents["json"], self._rng
        content = document.content
        items, keys = content["list"], content["keys"]
        noise = [at for at, item in enumerate(items) if item == "-"]
        objects = [at for at, item in enumerate(items) if item != "-"]
        chance = rng.random()
        component: dict[str, Any]
        if chance < 0.1 and noise:
            component = {"p": ["list", rng.choice(noise)], "ld": "-"}
        elif chance < 0.25 and items:
            component = {"p": ["list", rng.randrange(len(items))], "lm": rng.randrange(len(items))}
        elif chance < 0.35:
            component = {"p": ["list", rng.randint(0, len(items))], "li": "-"}
        elif chance < 0.5:
            component = self._string(["text"], content["text"])
        elif chance < 0.6 and objects:
            at = rng.choice(objects)
            component = self._string(["list", at, "text"], items[at]["text"])
        elif chance < 0.7:
            component = {"p": ["keys", self._mark("json")], "oi": 1}
        elif chance < 0.8:
            key = f"k{rng.randrange(4)}"
            component = {"p": ["keys", key]}
            if key in keys:
                component["od"] = keys[key]
            if key not in keys or rng.random() < 0.5:
                component["oi"] = rng.randrange(1000)
        elif chance < 0.85:
            component = {"p": ["number"], "na": rng.randint(-3, 9)}
            self.added += component["na"]
        else:
            item = {"marker": self._mark("json"), "text": ""}
            component = {"p": ["list", rng.randint(0, len(items))], "li": item}
        document.apply([component])

    def _string(self, path: list[Any], text: str) -> dict[str, Any]:
        places, noise = places_in(text)
        if noise and self._rng.random() < 0.3:
            at = self._rng.choice(noise)
            return {"p": [*path, at], "sd": text[places.index(at)]}
        return {"p": [*path, self._rng.choice(places)], "si": self._mark("json") + self._tail()}


async def main(url: str, number: str, seed: str) -> None:
    rng = random.Random(seed)
    codec: Any = ("json", "msgpack")[int(number) % 2]
    backoff = Backoff(initial=0.02, maximum=0.25, random=rng.random)
    async with await connect(url, name=f"writer {number}", codec=codec, backoff=backoff) as client:
        documents: Any = {kind: await client.document(kind, type=kind) for kind in KINDS}  # type: ignore[call-overload]
        writer = Writer(client, documents, int(number), rng)
        say(joined=True)
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as tasks:
            while line := await loop.run_in_executor(None, sys.stdin.readline):
                for command, value in json.loads(line).items():
                    tasks.create_task(writer.do(command, value))


if __name__ == "__main__":
    logging.basicConfig(format="%(asctime)s %(name)s: %(message)s")
    asyncio.run(main(*sys.argv[1:]))
