# cython: language_level=3
"""One client's bounded queue of outgoing frames, flushed once per turn of the event loop; what becomes of a slow reader.

Fan-out is bound by the system call (ARCHITECTURE.md, decision 2): ``deliver`` only appends a shared frame to a list; the
flusher joins each dirty connection's frames once per turn and writes them in one go.

The transport is given no more than the kernel takes, and then a part of at most ``PART_BYTES``: it calls ``paused`` when the
kernel did not take all, and ``drained`` when it has handed on the rest. Meanwhile the connection *holds* its queue, where frames can
still be replaced or left out. No timer looks after it. What a slow reader gets, rung by rung (each one is counted):

1. ``deliver_latest``: of frames with the same key only the newest stays queued, at the newest's place;
2. ``deliver_volatile``: nothing above ``limits.queue_low_bytes``;
3. publications of a room, above ``limits.queue_high_bytes`` or ``limits.queue_messages``: none; the member is *behind* in that room, is
   told so once when it has drained to ``limits.queue_low_bytes``, and recovers from the history;
4. above ``limits.queue_bytes``, or twice ``limits.queue_messages``: the queue is dropped, ``on_overflow`` closes the connection.

``deliver`` and ``reply`` know only the last rung: what they queue is written or the connection ends. What a client asked for does
not count against the bound while it is on its way (``reply``): else a text larger than the bound could never be opened, and its
client would come back for it for ever.

Complexity: everything O(1), amortised; writing O(bytes). Memory: a connection that is never slow has neither keys nor rooms here.
"""

from cpython.bytes cimport PyBytes_GET_SIZE
from cpython.list cimport PyList_GET_SIZE

from ...core.rooms.room cimport Member, Room
from .flusher cimport Flushed, Flusher, Keyed, alone

from ...core.wire.frames import PONG as _PONG
from ...core.wire.frames import encode_frame
from ...core.wire.envelopes import push_frame

cdef enum:
    # One write to a slow socket: what is in the transport can no longer be replaced or left out, and large parts save nothing.
    _PART_BYTES = 65536
    # Holes are swept out when they are the majority, and so many that it pays.
    _FEW_HOLES = 64

cdef object _PONG_KEY = object()


cdef class Connection(Flushed):
    """The server-side object of one client socket. ``kind`` is its codec."""

    def __init__(
        self,
        str id not None,
        str kind not None,
        transport not None,
        Flusher flusher not None,
        Py_ssize_t max_bytes,
        on_overflow not None,
        deflater=None,
    ):
        """``deflater``: of core.wire.deflate, when the client reads compressed messages."""
        Member.__init__(self, kind)
        self.id = id
        self.transport = transport
        self.flusher = flusher
        self.max_bytes = max_bytes
        self._on_overflow = on_overflow
        self._deflater = deflater
        self._queue = []
        self._mark = min(flusher.low_bytes, max_bytes)

    @property
    def queued(self):
        """Bytes that wait in the queue."""
        return self._queued

    @property
    def queued_alone(self):
        """Bytes that wait in the queue, each frame divided among all who hold it: the members of a room have the same ones. O(frames)."""
        return <Py_ssize_t>alone(self._queue)

    @property
    def promised(self):
        """Bytes of the largest answer on its way, for which the bound makes room."""
        return self._room

    @property
    def queued_messages(self):
        """Frames that wait in the queue."""
        return PyList_GET_SIZE(self._queue) - self._holes

    @property
    def backlog(self):
        """Bytes on their way to the kernel: queued here or in the transport."""
        return 0 if self.closed else self._queued + <Py_ssize_t>self.transport.buffered()

    # Frames in -----------------------------------------------------------------------------------------------

    cpdef int deliver(self, bytes frame) except -1:
        """Queues a frame that must arrive. Returns 1, or 0 when the connection takes no more."""
        if frame is None:
            raise TypeError("frame must be bytes")
        if self.closed:
            return 0
        if self._deflater is not None:
            frame = self.flusher.deflated(self._deflater, frame)
        self._queue.append(frame)
        self._queued += PyBytes_GET_SIZE(frame)
        if self._queued > self._mark or PyList_GET_SIZE(self._queue) > self.flusher.max_messages:
            return self._crowded()
        if not self._dirty:
            self._dirty = True
            self.flusher.mark(self)
        return 1

    cpdef int reply(self, bytes frame) except -1:
        """``deliver`` for the answer to a request: the bound makes room for its size until the queue has drained."""
        if frame is None:
            raise TypeError("frame must be bytes")
        self._room = max(self._room, PyBytes_GET_SIZE(frame))
        return self.deliver(frame)

    cpdef int deliver_latest(self, bytes frame, object key) except -1:
        """Queues a frame that makes the earlier ones of ``key`` (hashable) worthless: those are taken out unless they were
        written. While the reader keeps up it is ``deliver``."""
        cdef Keyed item
        cdef Py_ssize_t place
        if not self.held or self.closed:
            return self.deliver(frame)
        if frame is None:
            raise TypeError("frame must be bytes")
        if self._deflater is not None:
            frame = self.flusher.deflated(self._deflater, frame)
        if self._latest is None:
            self._latest = {}
        item = <Keyed>self._latest.get(key)
        if item is not None:
            self._queued -= PyBytes_GET_SIZE(item.frame)
            self.flusher.conflated += 1
            place = item.number - self._base
            if place == PyList_GET_SIZE(self._queue) - 1:
                item.frame = frame
            else:
                self._queue[place] = None
                self._holes += 1
                item = None
        if item is None:
            item = Keyed.__new__(Keyed)
            item.frame = frame
            item.key = key
            item.number = self._base + PyList_GET_SIZE(self._queue)
            self._queue.append(item)
            self._latest[key] = item
            if self._holes > _FEW_HOLES and 2 * self._holes > PyList_GET_SIZE(self._queue):
                self._compact()
        self._queued += PyBytes_GET_SIZE(frame)
        if self._queued > self._mark or PyList_GET_SIZE(self._queue) - self._holes > self.flusher.max_messages:
            return self._crowded()
        return 1

    cpdef int deliver_volatile(self, bytes frame) except -1:
        """Queues a frame that only matters now, or drops it (and returns 0) when much is waiting already."""
        if self.held and self._queued + self._handed > self.flusher.low_bytes and not self.closed:
            self.flusher.dropped += 1
            return 0
        return self.deliver(frame)

    cpdef int pong(self, bytes payload) except -1:
        """Answers a ping; of a reader that does not take the answers only the last one (RFC 6455 section 5.5.3)."""
        return self.deliver_latest(<bytes>encode_frame(_PONG, payload), _PONG_KEY)

    cdef int offer(self, bytes frame, Room room) except -1:
        if self._behind is None and not self.held:
            return self.deliver(frame)
        if self.closed:
            return 0
        if self._behind is not None and room.name in self._behind:
            return 0
        if self._full(PyBytes_GET_SIZE(frame)):
            if self._behind is None:
                self._behind = {}
            self._behind[room.name] = (room.before_offset, room.before_epoch)
            self.flusher.behind += 1
            return 0
        return self.deliver(frame)

    cdef bint _full(self, Py_ssize_t more) noexcept:
        # noexcept: compares numbers.
        cdef Py_ssize_t waiting = self._queued + self._handed
        return self.held and (
            waiting > self.flusher.high_bytes
            or waiting + more > self.max_bytes
            or PyList_GET_SIZE(self._queue) - self._holes >= self.flusher.max_messages
        )

    def leave_out(self):
        """Whether so much waits that what can be had from a history should not be queued; then that is counted."""
        if not self._full(0):
            return False
        self.flusher.behind += 1
        return True

    def behind_in(self, str room not None):
        """Whether publications of that room were left out that it has not recovered yet."""
        return (self._behind is not None and room in self._behind) or (self._told is not None and room in self._told)

    def caught_up(self, str room not None):
        """It joins the room anew, or leaves it. Returns whether it was behind in it."""
        cdef bint was = self.behind_in(room)
        if self._behind is not None:
            self._behind.pop(room, None)
            if not self._behind:
                self._behind = None
        if self._told is not None:
            self._told.discard(room)
            if not self._told:
                self._told = None
        return was

    # The socket ----------------------------------------------------------------------------------------------

    cpdef int paused(self) except -1:
        """From the transport, also inside ``write``: the kernel did not take all."""
        self.held = True
        self._dirty = True
        # Together with what the transport has, the queue is looked at where it could break the bound.
        self._mark = max(0, min(self.flusher.low_bytes, self.max_bytes - self._handed))
        return 0

    cpdef int drained(self) except -1:
        """From the transport: the kernel has taken all that was written. The next part follows."""
        if not self.held:
            return 0
        self.held = False
        self._dirty = False
        self._handed = 0
        self._mark = min(self.flusher.low_bytes, self.max_bytes)
        if not self.closed:
            self.write_out()
            if self._queued + self._handed <= self.max_bytes:
                self._room = 0
            if self._behind is not None and self._queued + self._handed <= self.flusher.low_bytes:
                self._tell_behind()
        self._wake()
        return 0

    def when_drained(self, callback not None):
        """Calls back once, when the transport has handed on what it has, or the connection ends."""
        if self._waiting is None:
            self._waiting = []
        self._waiting.append(callback)

    cdef int _wake(self) except -1:
        cdef list waiting = self._waiting
        if waiting is not None:
            self._waiting = None
            for callback in waiting:
                callback()
        return 0

    def _tell_behind(self):
        cdef dict behind = self._behind
        self._behind = None
        if self._told is None:
            self._told = set()
        for room, (offset, epoch) in behind.items():
            self._told.add(room)
            data = {"room": room, "position": {"offset": offset, "epoch": epoch}}
            self.deliver(push_frame(self.kind, "room:behind", data))

    cdef int write_out(self) except -1:
        cdef list queue = self._queue
        cdef Py_ssize_t size = self._queued
        cdef Py_ssize_t count = PyList_GET_SIZE(queue)
        cdef Flusher flusher = self.flusher
        self._dirty = self.held
        if self.held or count == 0:
            return 0
        if size > flusher.queue_bytes_max:
            flusher.queue_bytes_max = size
        if count > flusher.queue_messages_max:
            flusher.queue_messages_max = count
        if size <= _PART_BYTES and not self._latest and self._holes == 0:
            self._queue = []
            self._base += count
            self._queued = 0
            flusher.frames += count
            flusher.bytes_out += size
            self._handed = size
            self.transport.write(<bytes>queue[0] if count == 1 else flusher.joined(queue))
            if not self.held:
                self._handed = 0
            return 0
        while self._queue and not self.held and not self.closed:
            self._write_part(_PART_BYTES)
        return 0

    cdef int _write_part(self, Py_ssize_t size) except -1:
        """The first frames, up to ``size`` bytes together or one alone."""
        cdef list part = []
        cdef list queue = self._queue
        cdef Py_ssize_t taken = 0
        cdef Py_ssize_t places = 0
        cdef Keyed keyed
        cdef bytes frame
        for item in queue:
            if item is None:
                places += 1
                self._holes -= 1
                continue
            if isinstance(item, Keyed):
                keyed = <Keyed>item
                frame = keyed.frame
                if part and taken + PyBytes_GET_SIZE(frame) > size:
                    break
                del self._latest[keyed.key]
            else:
                frame = <bytes>item
                if part and taken + PyBytes_GET_SIZE(frame) > size:
                    break
            part.append(frame)
            taken += PyBytes_GET_SIZE(frame)
            places += 1
        del queue[:places]
        self._base += places
        self._queued -= taken
        self.flusher.frames += PyList_GET_SIZE(part)
        self.flusher.bytes_out += taken
        if part:
            self._handed += taken
            self.transport.write(<bytes>part[0] if PyList_GET_SIZE(part) == 1 else b"".join(part))
        if not self.held:
            self._handed = 0
        return 0

    cdef int _compact(self) except -1:
        cdef list kept = []
        for item in self._queue:
            if item is not None:
                if isinstance(item, Keyed):
                    (<Keyed>item).number = PyList_GET_SIZE(kept)
                kept.append(item)
        self._queue = kept
        self._base = 0
        self._holes = 0
        return 0

    cdef int _crowded(self) except -1:
        """Above the mark: writes at once, if that was not tried yet; what is still too much is an overflow."""
        cdef Py_ssize_t limit = self.max_bytes + self._room
        cdef Py_ssize_t count
        if not self.held:
            self.write_out()
            if self.closed or not self.held:
                return 0 if self.closed else 1
        count = PyList_GET_SIZE(self._queue) - self._holes
        self.flusher.queue_bytes_max = max(self.flusher.queue_bytes_max, self._queued)
        self.flusher.queue_messages_max = max(self.flusher.queue_messages_max, count)
        if self._queued + self._handed > limit:
            self._handed = <Py_ssize_t>self.transport.buffered()  # the rest of it
        if self._queued + self._handed > limit or count > 2 * self.flusher.max_messages:
            self._overflow()
            return 0
        return 1

    def give_up(self):
        """Drops what waits, and ends the connection as that of a reader that is too slow."""
        if not self.closed:
            self._overflow()

    def _overflow(self):
        self.flusher.slow_consumers += 1
        self._drop()
        self._on_overflow()

    def _drop(self):
        self._queue = []
        self._queued = self._holes = self._base = 0
        self._latest = None
        self._behind = None
        self._told = None

    def close(self, int code, str reason not None):
        """Writes what is queued, then closes. Idempotent; later frames are dropped."""
        if self.closed:
            return
        if self._queued:
            self._write_part(self._queued)  # also to a socket that holds some: nothing is replaced any more
        self.closed = True
        self._behind = None
        self.transport.close(code, reason)
        self._wake()

    def broken(self):
        """Writing failed: nothing more can be said."""
        self.lost()
        self.transport.abort()

    def lost(self):
        """The socket is gone: drops the queue."""
        self.closed = True
        self._on_overflow = None  # the session, which holds this
        self._drop()
        self._wake()
