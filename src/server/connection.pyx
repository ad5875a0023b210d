# cython: language_level=3
"""One client's bounded write queue, flushed once per turn of the event loop.

Fan-out is bound by the system call (ARCHITECTURE.md, decision 2): ``deliver`` only appends a shared frame to a list; the
flusher joins each dirty connection's frames once per turn and writes them in one go.

Bound: ``max_bytes`` over the queue and what the transport has not handed to the kernel yet (``limits.queue_bytes``). When full:
the connection is a slow consumer; its queue is dropped and ``on_overflow`` closes it. One slow reader costs the others nothing.
What a client asked for does not count against it while it is on its way (``reply``): else a text larger than the bound could
never be opened, and its client would come back for it for ever.
"""

from cpython.bytes cimport PyBytes_GET_SIZE

from ..core.room cimport Member


cdef class Flusher:
    """Writes every dirty connection's queue once per turn. One per node."""

    def __init__(self, call_soon):
        self._call_soon = call_soon
        self._dirty = []
        self._scheduled = False

    cdef int mark(self, Connection connection) except -1:
        self._dirty.append(connection)
        if not self._scheduled:
            self._scheduled = True
            self._call_soon(self.flush)
        return 0

    cpdef int flush(self) except -1:
        """Returns how many connections were written to."""
        cdef list dirty = self._dirty
        cdef Connection connection
        self._dirty = []
        self._scheduled = False
        if dirty:
            self.flushes += 1
        for item in dirty:
            connection = <Connection>item
            connection.write_out()
        return <int>len(dirty)

    def take_queue_bytes_max(self):
        """The fullest queue since the last call, in bytes."""
        cdef Py_ssize_t seen = self.queue_bytes_max
        self.queue_bytes_max = 0
        return seen


cdef class Connection(Member):
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
        """``deflater``: of core.deflate, when the client reads compressed messages."""
        self.id = id
        self.kind = kind
        self.transport = transport
        self.flusher = flusher
        self.max_bytes = max_bytes
        self._on_overflow = on_overflow
        self._deflater = deflater
        self._queue = []
        self._queued = 0
        self._room = 0
        self._dirty = False
        self.closed = False

    @property
    def queued(self):
        """Bytes that wait in the queue."""
        return self._queued

    cpdef int deliver(self, bytes frame) except -1:
        """Queues a frame. Returns 1, or 0 when the connection takes no more."""
        if frame is None:
            raise TypeError("frame must be bytes")
        if self.closed:
            return 0
        if self._deflater is not None:
            frame = <bytes>self._deflater.frame(frame)
        self._queue.append(frame)
        self._queued += PyBytes_GET_SIZE(frame)
        if self._queued > self.flusher.queue_bytes_max:
            self.flusher.queue_bytes_max = self._queued
        if self._queued > self.max_bytes + self._room:
            self._overflow()
            return 0
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

    @property
    def backlog(self):
        """Bytes on their way to the kernel: queued here or in the transport."""
        return 0 if self.closed else self._queued + <Py_ssize_t>self.transport.buffered()

    cdef int write_out(self) except -1:
        cdef Py_ssize_t buffered
        cdef list queue = self._queue
        cdef Py_ssize_t size = self._queued
        cdef Py_ssize_t count = len(queue)
        self._dirty = False
        if count == 0:
            return 0
        self._queue = []
        self._queued = 0
        self.flusher.frames += count
        self.flusher.bytes_out += size
        self.transport.write(<bytes>queue[0] if count == 1 else b"".join(queue))
        # What the kernel did not take counts against the same bound as the queue.
        if not self.closed:
            buffered = self.transport.buffered()
            if buffered > self.max_bytes + self._room:
                self._overflow()
            elif buffered <= self.max_bytes:
                self._room = 0
        return 0

    def _overflow(self):
        self.flusher.slow_consumers += 1
        self._queue = []
        self._queued = 0
        self._on_overflow()

    def close(self, int code, str reason not None):
        """Writes what is queued, then closes. Idempotent; later frames are dropped."""
        if self.closed:
            return
        self.write_out()
        if self.closed:  # write_out found the reader too slow and closed it
            return
        self.closed = True
        self.transport.close(code, reason)

    def lost(self):
        """The socket is gone: drops the queue."""
        self.closed = True
        self._queue = []
        self._queued = 0
