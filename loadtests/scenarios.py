"""The scenarios. Each task has its scenario's tag; docs/load-testing.md describes them.

Users whose number is fixed (``fixed_count``) are spawned first: the few who speak to many.
"""

from __future__ import annotations

import random
from typing import Any

import gevent
from locust import tag, task

from . import measure
from .client import Failure
from .client import SlowReader as SlowReaderClient
from .users import LoadUser

CURSOR_TEXT = 65_536


class ChatUser(LoadUser):
    """Rooms of a handful of people who talk."""

    label = "chat"

    def settle_in(self) -> None:
        self.watch(f"chat-{self.number % max(1, self.settings.rooms)}")

    @tag("chat")
    @task
    def talk(self) -> None:
        if self.acts:
            self.say()


class _InHugeRoom(LoadUser):
    abstract = True
    label = "huge room"

    def settle_in(self) -> None:
        self.watch("huge")


class HugeRoomUser(_InHugeRoom):
    """One room with everybody in it, who listen."""

    @tag("huge")
    @task
    def listen(self) -> None:
        pass


class HugeRoomSpeaker(_InHugeRoom):
    """Two of them speak."""

    fixed_count = 2

    def interval(self) -> float:
        return 1.0 / max(0.001, float(self.settings.speak_rate))

    @tag("huge")
    @task
    def listen(self) -> None:
        if self.acts:
            self.say()


class _Typist(LoadUser):
    abstract = True

    def interval(self) -> float:
        return 1.0 / max(0.001, float(self.settings.edit_rate))


class EditorUser(_Typist):
    """Everybody in one document."""

    label = "editors"

    def settle_in(self) -> None:
        self.edit("one-document")

    @tag("editors")
    @task
    def write(self) -> None:
        if self.acts:
            self.type()


class DocumentUser(_Typist):
    """Many documents with a few editors each."""

    label = "documents"

    def settle_in(self) -> None:
        each = max(1, self.settings.editors_per_document)
        self.edit(f"document-{self.load.worker}-{self.number // each}")

    @tag("documents")
    @task
    def write(self) -> None:
        if self.acts:
            self.type()


class PresenceUser(LoadUser):
    """A room in which people say how they are, and a document in which they move their cursors.

    The document is ``CURSOR_TEXT`` characters that nobody changes, so that a cursor can carry the time: its anchor is the
    Unix time in milliseconds modulo that, its head the microseconds.
    """

    label = "presence"

    def settle_in(self) -> None:
        self.watch(f"presence-{self.number % max(1, self.settings.rooms)}")
        self._document = f"{self.settings.prefix}-cursors-{self.number % max(1, self.settings.rooms)}"
        self._revision = 0
        self._self = ""

    def interval(self) -> float:
        return 0.5 / max(0.001, float(self.settings.presence_rate))

    def _enter(self) -> None:
        super()._enter()
        created = {"document": self._document, "text": "." * CURSOR_TEXT, "default_role": "editor"}
        try:
            self.client.ask("document:create", created)
        except Failure as failure:
            if failure.code != "document_exists":
                raise
        self._timed("join", "document:join", {"document": self._document, "unit": "unicode"}, self._in_document)

    def _in_document(self, result: dict[str, Any], now: float) -> None:
        self._revision, self._self = result["revision"], result["client"]

    @tag("presence")
    @task
    def tell(self) -> None:
        if self.acts:
            self.show()

    @tag("presence")
    @task
    def point(self) -> None:
        if self.acts:
            micros = int(self.due * 1_000_000)
            place = {"anchor": micros // 1000 % CURSOR_TEXT, "head": micros % 1000}
            data = {"document": self._document, "revision": self._revision, **place}
            self.client.post("document:cursor", data, self._asked("cursor", self.due))

    def _cursor(self, data: dict[str, Any], now: float) -> None:
        for cursor in data["cursors"]:
            if cursor["anchor"] is not None and cursor["client"] != self._self:
                stamped = (cursor["anchor"] * 1000 + cursor["head"]) / 1_000_000
                age = (now - stamped) % (CURSOR_TEXT / 1000)
                self.load.arrived("cursor", self.label, now - age, now)


class StormUser(LoadUser):
    """Everybody loses the network at the same moment and comes back at once, again and again; and talks meanwhile."""

    label = "storm"

    def settle_in(self) -> None:
        self.watch(f"storm-{self.number % max(1, self.settings.rooms)}")
        self._storms = gevent.spawn(self._weather)

    def on_stop(self) -> None:
        self._storms.kill(block=False)
        super().on_stop()

    def _weather(self) -> None:
        period = max(1.0, float(self.settings.storm_seconds))
        while True:
            gevent.sleep(period - measure.now() % period)  # by the clock: the same moment on all workers
            if not self.load.finishing:
                self.go_and_return(random.random() * self.settings.storm_jitter)

    @tag("storm")
    @task
    def talk(self) -> None:
        if self.acts:
            self.say()


class _InSlowRoom(LoadUser):
    abstract = True
    label = "beside slow"

    def settle_in(self) -> None:
        self.watch("slow")


class SlowRoomUser(_InSlowRoom):
    """Who reads as fast as it comes, in a room with some who do not: are they kept waiting?"""

    weight = 3

    @tag("slow")
    @task
    def listen(self) -> None:
        pass


class SlowReader(_InSlowRoom):
    """Stops reading for a while, with a small receive buffer, and reads again."""

    label = "slow reader"
    client_class = SlowReaderClient

    def settle_in(self) -> None:
        super().settle_in()
        self._pauses = gevent.spawn(self._doze)

    def on_stop(self) -> None:
        self._pauses.kill(block=False)
        super().on_stop()

    def _doze(self) -> None:
        seconds = max(0.1, float(self.settings.slow_seconds))
        asleep = False
        while True:
            gevent.sleep(seconds)
            asleep = self.ready and not asleep and not self.load.finishing
            self.client.pause(asleep)

    @property
    def quiet(self) -> bool:
        self.client.pause(False)
        return super().quiet

    @tag("slow")
    @task
    def listen(self) -> None:
        pass


class SlowRoomSpeaker(_InSlowRoom):
    fixed_count = 2

    def interval(self) -> float:
        return 1.0 / max(0.001, float(self.settings.speak_rate))

    @tag("slow")
    @task
    def listen(self) -> None:
        if self.acts:
            self.say()


class MixedUser(LoadUser):
    """A bit of everything, as people are: a team's room, sometimes a document, and now and then a lost network."""

    label = "mixed"

    def settle_in(self) -> None:
        team = self.number % max(1, self.settings.rooms)
        self.watch(f"team-{team}")
        if self.number % 10 == 0:
            self.watch("everybody")
        if self.number % 3 == 0:
            self.edit(f"team-{team}-notes")

    @tag("mixed")
    @task(10)
    def talk(self) -> None:
        if self.acts:
            self.say()

    @tag("mixed")
    @task(10)
    def write(self) -> None:
        if self.acts and self.editors:
            self.type()

    @tag("mixed")
    @task(2)
    def tell(self) -> None:
        if self.acts:
            self.show()

    @tag("mixed")
    @task(1)
    def lose_the_network(self) -> None:
        if self.acts:
            self.go_and_return(random.random())
            self.due = measure.now()
