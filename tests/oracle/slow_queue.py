"""What a connection's queue does with frames for a slow reader, written to be obvious: one list, searched from end to end.

The same rules as server/sessions/connection.pyx, without its places, numbers and holes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

PART = 65536


@dataclass
class Waiting:
    frame: bytes
    key: str | None = None


@dataclass
class SlowQueue:
    low: int
    high: int
    maximum: int
    messages: int
    #: What the kernel takes before it says no more.
    takes: int
    queue: list[Waiting] = field(default_factory=list)
    transport: bytes = b""
    handed: int = 0
    held: bool = False
    closed: bool = False
    room: int = 0
    behind: dict[str, tuple[int, str]] = field(default_factory=dict)
    told: set[str] = field(default_factory=set)
    sent: bytes = b""
    conflated: int = 0
    dropped: int = 0
    fell_behind: int = 0

    @property
    def size(self) -> int:
        return sum(len(one.frame) for one in self.queue)

    # Frames in

    def deliver(self, frame: bytes, key: str | None = None) -> int:
        if self.closed:
            return 0
        if key is not None and self.held:
            older = [one for one in self.queue if one.key == key]
            self.conflated += len(older)
            self.queue = [one for one in self.queue if one.key != key]
        # What came while the reader kept up is on its way: it is not replaced.
        self.queue.append(Waiting(frame, key if self.held else None))
        if self.size > self.low or self.size > self.maximum or len(self.queue) > self.messages:
            self.write()
        if self.held and self.size + self.handed > self.maximum + self.room:
            self.handed = len(self.transport)  # only then it is asked what is left of it
        if self.held and (self.size + self.handed > self.maximum + self.room or len(self.queue) > 2 * self.messages):
            self.closed = True
            self.queue = []
            self.behind = {}
            return 0
        return 1

    def reply(self, frame: bytes) -> int:
        self.room = max(self.room, len(frame))
        return self.deliver(frame)

    def volatile(self, frame: bytes) -> int:
        if not self.closed and self.held and self.size + self.handed > self.low:
            self.dropped += 1
            return 0
        return self.deliver(frame)

    def publication(self, frame: bytes, room: str, before: tuple[int, str]) -> int:
        if self.closed or room in self.behind:
            return 0
        waiting = self.size + self.handed
        full = waiting > self.high or waiting + len(frame) > self.maximum or len(self.queue) >= self.messages
        if self.held and full:
            self.behind[room] = before
            self.fell_behind += 1
            return 0
        return self.deliver(frame)

    # The socket

    def write(self) -> None:
        """The queue in parts, until the kernel takes no more."""
        if not self.held and self.size <= PART and self.queue:
            self._hand([self.queue.pop(0) for _ in range(len(self.queue))])
        while self.queue and not self.held:
            part = [self.queue.pop(0)]
            while self.queue and sum(len(one.frame) for one in part) + len(self.queue[0].frame) <= PART:
                part.append(self.queue.pop(0))
            self._hand(part)

    def _hand(self, part: list[Waiting]) -> None:
        data = b"".join(one.frame for one in part)
        now, later = data[: self.takes], data[self.takes :]
        self.takes -= len(now)
        self.sent += now
        if later:
            self.transport = later
            self.handed = len(data)
            self.held = True

    def read(self, count: int) -> list[str]:
        """The reader takes so many bytes; returns the rooms that are told to recover."""
        self.takes += count
        now, self.transport = self.transport[: self.takes], self.transport[self.takes :]
        self.takes -= len(now)
        self.sent += now
        if not self.held or self.transport:
            return []
        self.held = False
        self.handed = 0
        if self.closed:
            return []
        self.write()
        if self.size + self.handed <= self.maximum:
            self.room = 0
        if self.size + self.handed <= self.low:
            told, self.behind = list(self.behind), {}
            self.told |= set(told)
            return told
        return []
