"""A user: one connection with its rooms and documents, a schedule of its own, and the way back after a lost connection.

Scenarios subclass ``LoadUser``: ``settle_in`` says which rooms and documents, tasks say what happens when something is due.
``client_class`` is the protocol; everything else here speaks in Syncline's events.

The schedule is open loop: moments are drawn beforehand (a Poisson process), a message carries the moment at which it was
due, and nobody waits for an answer before the next one. A server that stalls, or this process when it is short of time,
shows as latency instead of as fewer messages (Tene, "How not to measure latency": coordinated omission).
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import gevent
from locust import User

from . import measure
from .client import Client, Failure, NativeClient
from .documents import Editor
from .load import Load
from .rooms import RoomWatch

BACKOFF_SECONDS = 0.25
MOST_BACKOFF_SECONDS = 10.0
# Ours, and what a user who leaves has to expect: no failures of the server.
OURS = frozenset({"closed"})


class LoadUser(User):
    """``label`` names the user's numbers in the statistics."""

    abstract = True
    label = ""
    client_class: ClassVar[Callable[..., Client]] = NativeClient

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self.load = Load.of(environment)
        self.settings = self.load.settings
        self.number = self.load.number()
        self.rooms: dict[str, RoomWatch] = {}
        self.editors: dict[str, Editor] = {}
        self.due = measure.now()
        self.away = False  # on purpose
        self.ready = False
        self.sent = 0
        self.client = self._new_client()
        self._returning: gevent.Greenlet[..., Any] | None = None
        self._finished = False
        self._first = True
        self._newest: dict[str, float] = {}  # the newest presence of each user

    def _new_client(self) -> Client:
        name = f"{self.settings.prefix}-{self.load.worker}-{self.number}"
        client = type(self).client_class(self.load.target, name, _token(self.settings.jwt_key_file, name))
        client.on_lost = self._lost
        client.on_push = {
            "message:received": self._message,
            "room:behind": self._behind,
            "presence:update": self._presence,
            "document:operation": self._operation,
            "document:ack": self._ack,
            "document:resync": self._resync,
            "document:cursor": self._cursor,
            "error": self._error,
        }
        return client

    # For scenarios ---------------------------------------------------------------------------------------------------
    def settle_in(self) -> None:
        """Calls ``watch`` and ``edit``; once, before the first connection."""

    def interval(self) -> float:
        """Seconds between two things that are due, on average."""
        return 1.0 / max(0.001, float(self.settings.rate))

    def watch(self, room: str) -> None:
        self.rooms[f"{self.settings.prefix}-{room}"] = RoomWatch(
            f"{self.settings.prefix}-{room}", self.load.measures.counts
        )

    def edit(self, document: str) -> None:
        name = f"{self.settings.prefix}-{document}"
        editor = Editor(name, self._post, self.load.measures.counts, lambda: self._join_document(editor))
        editor.on_edit = lambda stamped, now: self.load.arrived("edit", self.label, stamped, now)
        editor.on_ack = lambda due, now: self.load.succeeded("edit ack", self.label, now - due)
        self.editors[name] = editor

    @property
    def acts(self) -> bool:
        """Whether there is to be done what is due now. Notes how late this process is, and what cannot be sent."""
        if self._first:  # locust runs a task before it waits for the first time
            return False
        now = measure.now()
        if now < self.due:  # gevent counts from when its loop last woke up, which is early after a long turn
            gevent.sleep(self.due - now)
            now = measure.now()
        self.load.measures.time("lag", "generator", now - self.due)
        if self.load.finishing or self.away:
            return False
        if not self.ready:
            self.load.measures.counts[measure.UNSENT] += 1
            return False
        return True

    def say(self) -> None:
        """A message, in one of the rooms. Its ack and its deliveries are measured from when it was due."""
        room = random.choice([*self.rooms])
        self.sent += 1
        due, label, load = self.due, self.label, self.load
        payload = {"t": due, "n": self.sent, "fill": "x" * self.settings.payload}

        def answer(result: Any, failure: Failure | None, now: float) -> None:
            if failure is None:
                load.succeeded("ack", label, now - due)
            elif failure.code not in OURS:
                load.failed("ack", label, now - due, failure)

        self.client.post("message:send", {"room": room, "data": payload}, answer)

    def type(self) -> None:
        editor = random.choice([*self.editors.values()])
        if editor.ready:
            editor.type(self.due, self.settings.document_size)

    def show(self) -> None:
        """A presence update; its metadata carries the time."""
        data = {"status": random.choice(("online", "away", "busy")), "metadata": {"t": self.due}}
        self.client.post("presence:update", data, self._asked("presence", self.due))

    # locust ----------------------------------------------------------------------------------------------------------
    def wait_time(self) -> float:
        if not self._first:
            self.due += random.expovariate(1.0) * self.interval()
        self._first = False
        return max(0.0, self.due - measure.now())

    def on_start(self) -> None:
        self.load.users.add(self)
        self.settle_in()
        self._come_in("arrive")
        self.due = measure.now() + random.random() * self.interval()

    def on_stop(self) -> None:
        """Also of users who leave while the others go on: then nothing is waited for that is not in flight."""
        try:
            if not self._finished:
                self.finish()
        finally:
            self.load.users.discard(self)
            self.ready = False
            if self._returning is not None:
                self._returning.kill(block=False)
            self.client.close()

    # Connections -----------------------------------------------------------------------------------------------------
    def _come_in(self, kind: str) -> None:
        """Connects and joins everything, again and again until it works. Waits."""
        attempt = 0
        started = measure.now()
        while not self._finished:
            try:
                self._connect()
                self._enter()
            except Failure as failure:
                self.client.drop()
                attempt += 1
                wait = min(MOST_BACKOFF_SECONDS, BACKOFF_SECONDS * 2**attempt)
                wait = wait / 2 + random.random() * wait / 2
                gevent.sleep(wait if failure.retry_after is None else failure.retry_after + random.random())
                continue
            self.ready = True
            if kind == "reconnect":
                self.load.succeeded(kind, self.label, measure.now() - started)
            return

    def _connect(self) -> None:
        load, started = self.load, measure.now()
        connected = 0.0

        def upgraded() -> None:
            nonlocal connected
            connected = measure.now()
            load.succeeded("connect", self.label, connected - started)

        try:
            self.client.open(upgraded)
        except Failure as failure:
            kind, since = ("auth", connected) if connected else ("connect", started)
            load.failed(kind, self.label, measure.now() - since, failure)
            raise
        load.succeeded("auth", self.label, measure.now() - connected)

    def _enter(self) -> None:
        for watch in self.rooms.values():
            self._timed("join", "room:join", watch.join_data(), partial(self._joined, watch))
        for editor in self.editors.values():
            self._timed("join", "document:join", editor.join_data(), editor.joined)

    def _timed(self, kind: str, event: str, data: dict[str, Any], then: Callable[[Any, float], None]) -> None:
        started = measure.now()
        try:
            self.client.ask(event, data, then)
        except Failure as failure:
            self.load.failed(kind, self.label, measure.now() - started, failure)
            raise
        self.load.succeeded(kind, self.label, measure.now() - started)

    def _lost(self, failure: Failure) -> None:
        """By the pump: the connection ended, and not by us."""
        self.ready = False
        self.load.measures.counts[measure.CUT if failure.code == "close_4001" else measure.LOST] += 1
        for editor in self.editors.values():
            editor.state.detach()
        if not self.away and not self.load.finishing and (self._returning is None or self._returning.dead):
            self._returning = gevent.spawn(self._come_in, "reconnect")

    def go_and_return(self, pause: float = 0.0) -> None:
        """The network is gone, and comes back after ``pause`` seconds. Waits; counts as ``reconnect``."""
        if not self.ready:
            return
        self.away, self.ready = True, False
        for editor in self.editors.values():
            editor.state.detach()
        self.client.drop()
        gevent.sleep(pause)
        self._come_in("reconnect")
        self.away = False

    # The end ---------------------------------------------------------------------------------------------------------
    @property
    def quiet(self) -> bool:
        """Nothing of this user is on its way, nor the user."""
        return self.ready and not self.client.waiting and all(editor.state.settled for editor in self.editors.values())

    def finish(self) -> None:
        """Whether everything came that was sent, and whether texts are the server's."""
        self._finished = True
        if not self.ready:
            if self.load.finishing:
                self.load.failed("audit", self.label, 0.0, Failure("not_connected", "at the end"))
            return
        self.client.pause(False)
        # Behind what waits for this user; whoever is behind in a room is told by the second answer, and catches up first.
        for _ in range(2):
            self._audit("ping", {}, lambda result, now: None)
        for watch in self.rooms.values():
            deadline = time.monotonic() + self.load.target.timeout
            while watch.joining and time.monotonic() < deadline:
                gevent.sleep(0.05)
            self._audit("room:join", {"room": watch.room}, partial(self._held, watch))
        for editor in self.editors.values():
            text, revision = editor.state.confirmed, editor.state.revision
            data = {"document": editor.document, "revision": revision, "unit": "unicode"}
            self._audit("document:at", data, partial(self._compared, text))

    def _audit(self, event: str, data: dict[str, Any], then: Callable[[Any, float], None]) -> None:
        started = measure.now()
        try:
            self.client.ask(event, data, then)
        except Failure as failure:
            if failure.code not in OURS:
                self.load.failed("audit", self.label, measure.now() - started, failure)

    def _held(self, watch: RoomWatch, result: dict[str, Any], now: float) -> None:
        if watch.audit(result):
            self.load.fault("audit", self.label, "deliveries that never came")

    def _compared(self, text: str, result: dict[str, Any], now: float) -> None:
        counts = self.load.measures.counts
        if result["text"] == text:
            counts[measure.CONVERGED] += 1
        else:
            counts[measure.DIVERGED] += 1
            self.load.fault("audit", self.label, "a text that is not the server's")

    # Pushes: by the pump ---------------------------------------------------------------------------------------------
    def _joined(self, watch: RoomWatch, result: dict[str, Any], now: float) -> None:
        for publication in watch.joined(result):
            self.load.arrived("recovered", self.label, publication["data"]["t"], now)

    def _message(self, data: dict[str, Any], now: float) -> None:
        watch = self.rooms.get(data["room"])
        if watch is None:
            return
        counts = self.load.measures.counts
        before = counts[measure.MISSED] + counts[measure.DUPLICATE]
        if watch.received(data):
            counts[measure.DELIVERED] += 1
            self.load.arrived("delivery", self.label, data["data"]["t"], now)
        if counts[measure.MISSED] + counts[measure.DUPLICATE] > before:
            self.load.fault("delivery", self.label, "a gap or a duplicate")

    def _behind(self, data: dict[str, Any], now: float) -> None:
        watch = self.rooms.get(data["room"])
        if watch is not None and not watch.joining:  # else the answer that is to come says it
            self.load.measures.counts[measure.BEHIND] += 1
            started = now

            def answer(result: Any, failure: Failure | None, now: float) -> None:
                if failure is None:
                    self._joined(watch, result, now)
                    self.load.succeeded("catch up", self.label, now - started)
                elif failure.code not in OURS:
                    self.load.failed("catch up", self.label, now - started, failure)

            self.client.post("room:join", watch.join_data(), answer)

    def _presence(self, data: dict[str, Any], now: float) -> None:
        metadata = data.get("metadata")
        stamped = metadata.get("t") if isinstance(metadata, dict) else None
        # One that is told again, because a user's last connection went for example, is none to measure.
        if stamped is not None and stamped > self._newest.get(data["user"], 0.0):
            self._newest[data["user"]] = stamped
            self.load.arrived("presence", self.label, stamped, now)

    def _operation(self, data: dict[str, Any], now: float) -> None:
        editor = self.editors.get(data["document"])
        if editor is not None:
            editor.on_operation(data, now)

    def _ack(self, data: dict[str, Any], now: float) -> None:
        editor = self.editors.get(data["document"])
        if editor is not None:
            editor.on_ack_push(data, now)

    def _resync(self, data: dict[str, Any], now: float) -> None:
        editor = self.editors.get(data["document"])
        if editor is not None:
            editor.on_resync(data, now)

    def _cursor(self, data: dict[str, Any], now: float) -> None:
        """See scenarios.CursorUser."""

    def _error(self, data: dict[str, Any], now: float) -> None:
        self.load.failed("push", self.label, 0.0, Failure(data["code"]))
        for editor in self.editors.values():
            if editor.on_error(data):
                return

    def _post(self, event: str, data: Any) -> None:
        self.client.post(event, data)

    def _join_document(self, editor: Editor) -> None:
        started = measure.now()

        def answer(result: Any, failure: Failure | None, now: float) -> None:
            if failure is None:
                editor.joined(result, now)
                self.load.succeeded("join", self.label, now - started)
            elif failure.code not in OURS:
                self.load.failed("join", self.label, now - started, failure)
                if self.ready:
                    gevent.spawn_later(1.0, self._join_document, editor)

        self.client.post("document:join", editor.join_data(), answer)

    def _asked(self, kind: str, due: float) -> Callable[[Any, Failure | None, float], None]:
        def answer(result: Any, failure: Failure | None, now: float) -> None:
            if failure is not None and failure.code not in OURS:
                self.load.failed(kind, self.label, now - due, failure)

        return answer


def _token(key_file: str, user: str) -> str | None:
    if not key_file:
        return None
    import jwt

    with open(key_file, encoding="utf-8") as file:
        key = file.read().strip()
    return jwt.encode({"sub": user, "name": user, "exp": int(time.time()) + 86_400}, key, "HS256")
