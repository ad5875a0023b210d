"""One editor of one document: the client side of operational transformation, over syncline.client's own state. No socket.

``DocumentState`` keeps one operation in flight, composes what is typed meanwhile and transforms what arrives; here is the
thin shell that the asyncio client has in documents.py, for callbacks instead of tasks.

An edit inserts a *stamp*: a mark, the time in base 36 and a check digit. Whoever receives it knows how long it took, from
the moment at which the key was to be pressed: through the queue of its author, the server and the network.
"""

from __future__ import annotations

import random
import re
import secrets
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from syncline.client.code_points import TEXT, UNIT
from syncline.client.document_state import DocumentState
from syncline.client.document_values import Request
from syncline.client.errors import Diverged
from syncline.core.errors import SynclineError
from syncline.core.ot.ot import Operation

from . import measure

Post = Callable[[str, Mapping[str, Any]], None]
DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
STAMP = re.compile("·([0-9a-z]{10})([0-9a-z])")
STAMP_LENGTH = 12
# The answer to the operation in flight is not known: joining again tells.
REFUSALS = frozenset(
    {
        "operation_invalid",
        "operation_out_of_range",
        "document_too_large",
        "message_too_large",
        "invalid_data",
        "forbidden",
    }
)


def stamp(seconds: float) -> str:
    """12 characters that say a Unix time to the microsecond."""
    micros = int(seconds * 1_000_000)
    digits = ""
    for _ in range(10):
        micros, digit = divmod(micros, 36)
        digits = DIGITS[digit] + digits
    return f"·{digits}{_check(digits)}"


def stamps(text: str) -> list[float]:
    """The times of all whole stamps in a text."""
    return [int(digits, 36) / 1_000_000 for digits, check in STAMP.findall(text) if _check(digits) == check]


def _check(digits: str) -> str:
    # Pieces of two stamps that meet after a deletion are not to be taken for a time.
    return DIGITS[sum(place * ord(digit) for place, digit in enumerate(digits, 1)) % 36]


class Editor:
    """``post`` sends a request without waiting; ``rejoin`` is called when the document is to be joined again.

    ``on_edit(seconds)`` is told how old a stamp of another editor is, ``on_ack(seconds)`` how old the oldest edit of an
    acknowledged operation.
    """

    def __init__(self, document: str, post: Post, counts: Counter[str], rejoin: Callable[[], None]) -> None:
        self.document = document
        self.state = DocumentState(TEXT, secrets.token_hex(8))
        self.rejoin = rejoin
        self.on_edit: Callable[[float, float], None] = lambda stamped, now: None
        self.on_ack: Callable[[float, float], None] = lambda due, now: None
        self.whole = False  # the next join asks for the text
        self._post = post
        self._counts = counts
        self._queued_since: float | None = None
        self._in_flight_since: float | None = None

    @property
    def ready(self) -> bool:
        return self.state.attached

    # Typing ----------------------------------------------------------------------------------------------------------
    def type(self, due: float, size: int) -> None:
        """One edit somewhere: a stamp is inserted, or about as much deleted when the text is longer than ``size``."""
        length = len(self.state.view)
        if length > size and random.random() < 0.6:
            count = min(length, STAMP_LENGTH)
            position = random.randint(0, length - count)
            self.state.edit(Operation([position, -count] if position else [-count], UNIT))
        else:
            position = random.randint(0, length)
            text = stamp(due)
            self.state.edit(Operation([position, text] if position else [text], UNIT))
        if self._queued_since is None:
            self._queued_since = due
        self.flush()

    def flush(self) -> None:
        """Sends what may be sent: nothing while an operation is in flight."""
        submission = self.state.take()
        if submission is None:
            return
        assert not isinstance(submission.work, Request)
        if self._in_flight_since is None:
            self._in_flight_since, self._queued_since = self._queued_since, None
        data = {"document": self.document, "seq": submission.seq, "revision": submission.revision}
        self._post("document:operation", data | {"operation": submission.work.components})

    # Joining ---------------------------------------------------------------------------------------------------------
    def join_data(self) -> dict[str, Any]:
        state = self.state
        state.detach()
        data: dict[str, Any] = {"document": self.document, "unit": UNIT, "client": state.client}
        if state.generation and self.whole:
            data["diverged"] = state.diverged()
        elif state.generation:
            data |= {"revision": state.known, "generation": state.generation}
            told = state.tell_pending()
            if told is not None:
                data["pending"] = [
                    {"operation": item.operation.components} | ({} if item.seq is None else {"seq": item.seq})
                    for item in told
                ]
        return data

    def joined(self, result: dict[str, Any], now: float) -> None:
        state = self.state
        if result["text"] is None:
            operations = result["operations"] or []
            state.attach(result["seq"], len(operations))
            self._receive(result["revision"], operations, result.get("hash"), now)
            self.flush()
            return
        self.whole = False
        told = result.get("pending")
        pending = None if told is None else [Operation.parse(item, UNIT) for item in told]
        if result["generation"] == state.generation:
            try:
                state.adopt(result["revision"], result["text"], result["seq"], pending)
                self.flush()
                return
            except Diverged:
                self._counts[measure.DIVERGED] += 1
        state.start(result["generation"], result["revision"], result["text"], result["seq"])
        self._queued_since = self._in_flight_since = None
        self.flush()

    # Pushes ----------------------------------------------------------------------------------------------------------
    def on_operation(self, data: dict[str, Any], now: float) -> None:
        if data["document"] == self.document and self.state.attached:
            self._receive(data["revision"], data["operations"], data.get("hash"), now)
            self.flush()

    def on_resync(self, data: dict[str, Any], now: float) -> None:
        if data["document"] == self.document:
            self.state.detach()
            self.rejoin()

    def on_ack_push(self, data: dict[str, Any], now: float) -> None:
        """Sent again and committed already: its entry has come or comes; if it was passed over it is lost."""
        state = self.state
        if data["document"] != self.document or not state.attached or data["revision"] > state.revision:
            return
        if state.is_in_flight(state.client, data["seq"]):
            self._diverged()

    def on_error(self, data: dict[str, Any]) -> bool:
        """An ``error`` push; whether it was about this document."""
        if data.get("document") != self.document:
            return False
        seq = data.get("seq", 0)
        if self.state.is_in_flight(self.state.client, seq):
            if data["code"] in REFUSALS:
                self.state.refuse(seq)
                self._in_flight_since = None
                self.flush()
            else:
                self.state.detach()
                self.rejoin()
        return True

    def _receive(self, revision: int, entries: list[dict[str, Any]], hashed: int | None, now: float) -> None:
        state = self.state
        number = revision - sum(entry.get("count", 1) for entry in entries)
        try:
            for entry in entries:
                client, seq, span = entry.get("client", ""), entry.get("seq", 0), entry.get("count", 1)
                number += span
                if number <= state.known:
                    self._counts[measure.DUPLICATE] += 1
                    continue
                own = state.is_in_flight(client, seq)
                operation = Operation.parse(entry["operation"], UNIT)
                if number > state.known + span:
                    self._counts[measure.MISSED] += number - state.known - span
                state.receive(number, client, seq, operation, entry.get("kind", "edit"), span)
                if own:
                    if self._in_flight_since is not None:
                        self.on_ack(self._in_flight_since, now)
                        self._in_flight_since = None
                elif client != state.client and span == 1:
                    self._told(operation, now)
        except (Diverged, SynclineError):
            self._diverged()
            return
        if hashed is not None and state.same(revision, hashed) is False:
            self._diverged()

    def _told(self, operation: Operation, now: float) -> None:
        for part in operation.components:
            if isinstance(part, str):
                for stamped in stamps(part):
                    self.on_edit(stamped, now)

    def _diverged(self) -> None:
        self._counts[measure.DIVERGED] += 1
        self.whole = True
        self.state.detach()
        self.rejoin()
