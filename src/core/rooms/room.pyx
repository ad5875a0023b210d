# cython: language_level=3
"""Rooms: positions, publications, a history ring, and the fan-out to members.

Invariants: offsets of one epoch are 1, 2, 3, ... without gaps; a ring holds the newest ones, consecutive, and knows the position
of the newest even when it holds none; a publication is encoded at most once per codec, whoever and how many receive it. A ring
keeps a digest (delivery_proof.pyx) per codec from when the first one asks for it; before that it pays nothing.

Complexity: append O(1) amortised; ``since`` and ``last`` O(result); ``publish`` and ``broadcast`` O(members), no copy per member.
"""

from collections import deque
from typing import NamedTuple

from cpython.bytes cimport PyBytes_GET_SIZE

import msgspec

from .delivery_proof cimport RollingDigest
from ..wire.envelopes cimport Push
from ..wire.payload import deliverable
from ..wire.envelopes import push_frame, transcode


cdef enum:
    _HISTORY = 0
    _LATEST = 1
    _VOLATILE = 2
    _RELIABLE = 3

# What a publication occupies beside its payload and its frame.
cdef Py_ssize_t _OBJECT = 400

# What comes before `data` in the payload of a `message:received` frame.
cdef Py_ssize_t _JSON_HEAD = len(b'{"event":"message:received","data":')
cdef Py_ssize_t _MSGPACK_HEAD = len(msgspec.msgpack.encode({"event": "message:received", "data": None})) - 1

cdef dict _CLASSES = {"history": _HISTORY, "latest": _LATEST, "volatile": _VOLATILE}


class Position(NamedTuple):
    """Where a publication stands in its room."""

    offset: int
    epoch: str


cdef class Publication:
    """One message with a position. ``data`` is the raw payload in ``codec``, never re-encoded for members of that codec."""

    def __init__(
        self,
        str room not None,
        str user not None,
        str name not None,
        double time,
        str codec not None,
        bytes data not None,
        long long offset=0,
        str epoch not None="",
        str key not None="",
        bint stored=False,
    ):
        self.room = room
        self.user = user
        self.name = name
        self.time = time
        self.codec = codec
        self.data = data
        self.offset = offset
        self.epoch = epoch
        self.key = key
        self.skip = ""
        self._json = None
        self._msgpack = None
        self._other_size = -1
        self._unchecked = stored
        self._length = PyBytes_GET_SIZE(data)

    @property
    def position(self):
        return Position(self.offset, self.epoch)

    @property
    def size(self):
        """Bytes of the payload, as it was made, and the names: what it counts for does not change."""
        return self._length + len(self.room) + len(self.user) + len(self.name)

    def as_data(self, str codec not None):
        """What `message:received` carries, for an encoder of ``codec``: a dict with the payload raw."""
        return self._data_with(self.payload(codec))

    cdef dict _data_with(self, bytes payload):
        # The payload comes last: clients, and ``payload``, take its bytes from the end of the frame.
        return {
            "room": self.room,
            "offset": self.offset,
            "epoch": self.epoch,
            "user": self.user,
            "name": self.name,
            "time": self.time,
            "data": msgspec.Raw(payload),
        }

    cpdef bytes payload(self, str codec):
        """The payload as it is sent in ``codec``."""
        cdef bytes frame
        cdef Py_ssize_t end
        if self._unchecked:
            self.data = <bytes>deliverable(self.codec, self.data)
            self._unchecked = False
        if codec == self.codec:
            return self.data
        frame = self._json if codec == "json" else self._msgpack
        if frame is not None and self._other_size >= 0:
            end = PyBytes_GET_SIZE(frame) - (2 if codec == "json" else 0)  # }} ends it
            return frame[end - self._other_size:end]
        try:
            return <bytes>transcode(self.data, self.codec, codec)
        except ValueError:
            return b"null" if codec == "json" else b"\xc0"  # docs/protocol.md, Envelopes

    cpdef bytes frame(self, str codec):
        """The `message:received` push as one WebSocket frame. Built once per codec."""
        if codec == "json":
            if self._json is None:
                self._json = self._build("json")
            return self._json
        if self._msgpack is None:
            self._msgpack = self._build("msgpack")
        return self._msgpack

    cdef bytes _build(self, str codec):
        cdef bytes payload = self.payload(codec)
        if codec != self.codec:
            self._other_size = PyBytes_GET_SIZE(payload)
        return <bytes>push_frame(codec, "message:received", self._data_with(payload))


def publications_raw(str codec not None, list publications not None):
    """The array of what `message:received` carries for each, encoded, as ``msgspec.Raw``: cut out of their frames, which most have
    been sent as already. O(bytes)."""
    cdef Py_ssize_t count = len(publications)
    cdef list parts = []
    cdef Publication publication
    cdef bytes frame
    cdef unsigned char size
    cdef Py_ssize_t start
    cdef bint json = codec == "json"
    for item in publications:
        publication = <Publication?>item
        frame = publication.frame(codec)
        size = frame[1]
        start = (2 if size < 126 else 4 if size == 126 else 10) + (_JSON_HEAD if json else _MSGPACK_HEAD)
        parts.append(frame[start:PyBytes_GET_SIZE(frame) - 1] if json else frame[start:])
    if json:
        return msgspec.Raw(b"[" + b",".join(parts) + b"]")
    if count < 16:
        head = bytes((0x90 | count,))
    elif count < 65536:
        head = b"\xdc" + count.to_bytes(2, "big")
    else:
        head = b"\xdd" + count.to_bytes(4, "big")
    return msgspec.Raw(head + b"".join(parts))


cdef class HistoryRing:
    """The newest publications of one room, bounded by count, bytes and age in seconds (0: any age); the oldest go first.

    The age is told by the publications' own times: an ``append`` drops what is too old beside the newest, ``expire`` what is
    too old now. Where clocks went back an old one may stay until those before it go.
    """

    def __init__(
        self,
        str epoch not None,
        long long offset=0,
        Py_ssize_t max_count=1000,
        Py_ssize_t max_bytes=1048576,
        double max_age=0.0,
    ):
        if offset < 0 or max_count < 0 or max_bytes < 0 or not max_age >= 0.0:
            raise ValueError("offset and bounds must not be negative")
        self.epoch = epoch
        self.offset = offset
        self.max_count = max_count
        self.max_bytes = max_bytes
        self.max_age = max_age
        self.size_bytes = 0
        self._items = deque()
        self._json = None
        self._msgpack = None

    def __len__(self):
        return len(self._items)

    @property
    def position(self):
        """Of the newest publication, held or not."""
        return Position(self.offset, self.epoch)

    cpdef int append(self, Publication publication) except -1:
        """Adds the next publication. One of another epoch, or after a gap, starts the ring anew.

        Raises ValueError for an offset that is not above the newest one.
        """
        if publication is None:
            raise TypeError("publication must not be None")
        if publication.epoch != self.epoch:
            self._restart(publication)
        elif publication.offset <= self.offset:
            raise ValueError(f"offset {publication.offset} after {self.offset}")
        elif publication.offset != self.offset + 1:
            self._restart(publication)
        self.offset = publication.offset
        self._items.append(publication)
        self.size_bytes += publication.size
        while self._items and (len(self._items) > self.max_count or self.size_bytes > self.max_bytes):
            self.size_bytes -= self._items.popleft().size
        if self.max_age > 0.0:
            self.expire(publication.time)
        if self._json is not None:
            self._json.fold(publication.payload("json"))
        if self._msgpack is not None:
            self._msgpack.fold(publication.payload("msgpack"))
        return 0

    cdef int _restart(self, Publication publication) except -1:
        """Nothing that was before is known to lead to ``publication``: no history, and the digests begin anew."""
        self._items.clear()
        self.size_bytes = 0
        self.epoch = publication.epoch
        if self._json is not None:
            self._json = RollingDigest(self.epoch, publication.offset - 1, self.max_count + 1)
        if self._msgpack is not None:
            self._msgpack = RollingDigest(self.epoch, publication.offset - 1, self.max_count + 1)
        return 0

    cpdef Py_ssize_t expire(self, double now) except -1:
        """Drops what is older than ``max_age`` at ``now``, a Unix time; returns how many went. O(dropped)."""
        cdef Py_ssize_t dropped = 0
        cdef Publication oldest
        if self.max_age <= 0.0:
            return 0
        while self._items:
            oldest = <Publication>self._items[0]
            if oldest.time >= now - self.max_age:
                break
            self.size_bytes -= self._items.popleft().size
            dropped += 1
        return dropped

    cpdef Py_ssize_t drop_to(self, Py_ssize_t size) except -1:
        """Drops the oldest until ``held_bytes`` is at most ``size``; returns how many went. O(dropped)."""
        cdef Py_ssize_t dropped = 0
        while self._items and self.held_bytes > size:
            self.size_bytes -= self._items.popleft().size
            dropped += 1
        return dropped

    @property
    def held_bytes(self):
        """About what the publications occupy: their payloads, which most have a frame of beside them, and their objects. O(1)."""
        return 2 * self.size_bytes + _OBJECT * <Py_ssize_t>len(self._items)

    cpdef RollingDigest digest(self, str codec):
        """The digest of what follows in ``codec``. Kept from the first call on. Raises ValueError for another codec."""
        if codec == "json":
            if self._json is None:
                self._json = RollingDigest(self.epoch, self.offset, self.max_count + 1)
            return self._json
        if codec != "msgpack":
            raise ValueError("unknown codec")
        if self._msgpack is None:
            self._msgpack = RollingDigest(self.epoch, self.offset, self.max_count + 1)
        return self._msgpack

    def digest_at(self, str codec not None, long long offset, str epoch not None):
        """The digest at a position, or None: nobody asked for one yet, another epoch, or not kept (any more)."""
        cdef RollingDigest digest = self._json if codec == "json" else self._msgpack
        if digest is None or epoch != self.epoch:
            return None
        return digest.at(offset)

    def since(self, long long offset, str epoch not None):
        """Exactly what follows (offset, epoch), oldest first; None when that cannot be told from here."""
        cdef Py_ssize_t missing, held
        if epoch != self.epoch or offset > self.offset or offset < 0:
            return None
        missing = <Py_ssize_t>(self.offset - offset)
        held = len(self._items)
        if missing > held:
            return None
        return self._tail(missing)

    def last(self, Py_ssize_t count):
        """The newest ``count``, or all that are held, oldest first."""
        if count < 0:
            raise ValueError("count must not be negative")
        return self._tail(min(count, <Py_ssize_t>len(self._items)))

    def _tail(self, Py_ssize_t count):
        # A deque is indexed from both ends: walking back costs the result, not the ring.
        cdef list newest = []
        if count == 0:
            return newest
        for publication in reversed(self._items):
            newest.append(publication)
            if len(newest) == count:
                break
        newest.reverse()
        return newest


cdef class Member:
    """What a room needs from whoever is in it: ``kind`` (its codec) and the ways to give it a frame. All but ``deliver`` are
    the same as ``deliver`` unless a member knows better."""

    def __init__(self, str kind not None="json"):
        self.kind = kind
        self._packed = kind != "json"

    cpdef int deliver(self, bytes frame) except -1:
        """Takes one whole frame; must not block. Returns 1, or 0 when it takes no more."""
        raise NotImplementedError("a member says how it takes frames")

    cpdef int deliver_latest(self, bytes frame, object key) except -1:
        """Takes a frame that makes earlier ones of ``key`` worthless."""
        return self.deliver(frame)

    cpdef int deliver_volatile(self, bytes frame) except -1:
        """Takes a frame, or drops it (0) when it does not keep up."""
        return self.deliver(frame)

    cdef int offer(self, bytes frame, Room room) except -1:
        """Takes the publication that ``room`` gives out now, or leaves it (0), to recover from the history later."""
        return self.deliver(frame)


cdef class Room:
    """A named fan-out group with the history that this node has seen of it.

    ``room_class`` says what a slow member gets of the publications. history: those that it leaves it recovers later; latest: of those
    with the same key (the publication's, or else its user) the newest; volatile: what it keeps up with.
    """

    def __init__(self, str name not None, HistoryRing history not None, str room_class not None="history"):
        if room_class not in _CLASSES:
            raise ValueError(f"no room class {room_class!r}")
        self.name = name
        self.history = history
        self.room_class = room_class
        self._class = _CLASSES[room_class]
        self._places = {}
        self._members = []
        self._shared = False
        self.before_offset = history.offset
        self.before_epoch = history.epoch

    def __len__(self):
        return len(self._members)

    def __contains__(self, member):
        return member in self._places

    def __iter__(self):
        return iter(list(self._members))

    def add(self, Member member not None):
        """Whether it was not in the room before. O(1)."""
        if member in self._places:
            return False
        self._own()
        self._places[member] = len(self._members)
        self._members.append(member)
        return True

    def discard(self, Member member not None):
        """Whether it was in the room. O(1): the last one takes its place."""
        cdef Py_ssize_t place
        if member not in self._places:
            return False
        self._own()
        place = self._places.pop(member)
        last = self._members.pop()
        if last is not member:
            self._members[place] = last
            self._places[last] = place
        return True

    cdef int _own(self) except -1:
        # A fan-out walks over the list: a member may leave by its own delivery (it is closed because it is too slow, say).
        if self._shared:
            self._members = list(self._members)
            self._shared = False
        return 0

    cpdef Py_ssize_t publish(self, Publication publication, Member skip=None) except -1:
        """Appends to the history and gives it to every member but ``skip``; returns how many took it."""
        if publication is None:
            raise TypeError("publication must not be None")
        self.before_offset = self.history.offset
        self.before_epoch = self.history.epoch
        self.history.append(publication)
        key = (self.name, publication.key or publication.user) if self._class == _LATEST else None
        return self._fan_out(publication, None, skip, self._class, key)

    cpdef Py_ssize_t broadcast(self, Push push, Member skip=None) except -1:
        """Gives a push without position to every member but ``skip``; returns how many took it."""
        if push is None:
            raise TypeError("push must not be None")
        if push.event == "event:custom":  # at most once: docs/protocol.md
            return self._fan_out(None, push, skip, _VOLATILE, None)
        if push.key:
            return self._fan_out(None, push, skip, _LATEST, (self.name, "", push.key))
        return self._fan_out(None, push, skip, _RELIABLE, None)

    cdef Py_ssize_t _fan_out(self, Publication publication, Push push, Member skip, int way, object key) except -1:
        cdef Py_ssize_t taken = 0
        cdef bytes json = None
        cdef bytes msgpack = None
        cdef bytes frame
        cdef Member member
        cdef list members = self._members
        cdef bint shared = self._shared
        self._shared = True
        try:
            for item in members:
                member = <Member>item
                if member is skip:
                    continue
                if member._packed:
                    if msgpack is None:
                        msgpack = push.frame("msgpack") if publication is None else publication.frame("msgpack")
                    frame = msgpack
                else:
                    if json is None:
                        json = push.frame("json") if publication is None else publication.frame("json")
                    frame = json
                if way == _HISTORY:
                    taken += member.offer(frame, self)
                elif way == _RELIABLE:
                    taken += member.deliver(frame)
                elif way == _LATEST:
                    taken += member.deliver_latest(frame, key)
                else:
                    taken += member.deliver_volatile(frame)
        finally:
            if self._members is members:
                self._shared = shared
        return taken
