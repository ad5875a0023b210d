# cython: language_level=3
"""One WebSocket after its handshake: the event loop's protocol, ``seams.transport.Transport`` and reader of frames in one native object.

All sockets of a node lend the event loop one read buffer; a frame is looked at where it lies, and what is incomplete is kept by the
socket's reader (core/wire/frames.pyx). So an idle connection has no buffer, and frames are answered strictly in order.

Bounds: ``limits.message_bytes`` of an incomplete message, as it came; while reading is paused, what one read had brought (READ_BYTES);
messages that one read makes of compressed ones (_TURN_BYTES).
"""

import asyncio
import fcntl
import logging
import sys
import termios

cdef extern from *:
    """
    #include <sys/socket.h>
    #ifndef MSG_NOSIGNAL  /* macOS; Python ignores SIGPIPE anyway */
    #define MSG_NOSIGNAL 0
    #endif
    """
    ssize_t c_send "send"(int fd, const void* data, size_t size, int flags) nogil
    const int MSG_DONTWAIT
    const int MSG_NOSIGNAL

from cpython.bytearray cimport PyByteArray_AS_STRING
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE

from ...core.errors import INTERNAL
from ...core.wire.frames import FrameError
from ...core.wire.frames cimport FrameReader, close_code, encode_close, encode_frame
from ..sessions.connection cimport Connection
from ..sessions.ids import new_id

log = logging.getLogger("syncline.ws")

#: How long a peer may take to answer our close frame before the socket is cut.
CLOSE_SECONDS = 5.0

#: One read takes no more, so that a flood of one connection leaves the others their turn.
READ_BYTES = 65_536

cdef enum:
    _TEXT = 0x1
    _BINARY = 0x2
    _CLOSE = 0x8
    _PING = 0x9
    _PONG = 0xA

    # Messages of so many bytes together are looked at in one turn, that others have theirs: compressed ones are many in one read.
    _TURN_BYTES = 262_144

cdef bytes _PING_FRAME = encode_frame(_PING, b"")


cdef class Sockets:
    """What the WebSockets of a node share. Made inside its event loop."""

    def __init__(self, host not None, pings not None):
        self.host = host
        self._pings = pings
        self.buffer = bytearray(READ_BYTES)
        self._loop = host.loop
        self._counters = host.counters
        pings.tell(self)
        self._clock = host.clock
        self._read_at = 0.0


cdef class WebSocket(FrameReader, asyncio.BufferedProtocol):
    """``session``: where messages go. ``open`` comes next."""

    def __init__(self, Sockets sockets not None, session not None):
        FrameReader.__init__(self, sockets.host.config.limits.message_bytes)
        self.sockets = sockets
        self.session = session
        self._opcode = _TEXT if session.codec == "json" else _BINARY

    def open(self, socket not None, credentials=None, deflater=None):
        """The 101 response was written to ``socket``. ``credentials``: of the handshake; ``deflater``: of core.wire.deflate, when
        the peer reads compressed messages."""
        host = self.sockets.host
        session = self.session
        self._socket = socket
        # Told at once when the kernel does not take everything, and when it has: the queue is the connection's.
        socket.set_write_buffer_limits(0)
        self._descriptor = -1 if socket.get_extra_info("ssl_object") else socket.get_extra_info("socket").fileno()
        self.connection = Connection(
            new_id(),
            session.codec,
            self,
            host.flusher,
            host.config.limits.queue_bytes,
            session.overflowed,
            deflater,
        )
        self.sockets._counters.connection_opened(session.codec)
        self.sockets._pings.add(self)
        session.opened(self.connection, credentials)

    # The event loop calls these ------------------------------------------------------------------------------

    def connection_made(self, transport):
        """Was told to whoever read the handshake."""

    def get_buffer(self, Py_ssize_t sizehint):
        return self.sockets.buffer

    def buffer_updated(self, Py_ssize_t nbytes):
        self._received(<const unsigned char*>PyByteArray_AS_STRING(self.sockets.buffer), nbytes)

    def data_received(self, bytes data not None):
        """What was read before the event loop knew this protocol."""
        self._received(<const unsigned char*>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))

    def eof_received(self):
        return False  # the socket is closed

    def pause_writing(self):
        if self.connection is not None:
            self.connection.paused()

    def resume_writing(self):
        self.pinged = 0  # who takes what is sent lives, however slow
        self.heard = self.sockets.wheel
        if self.connection is not None:
            self.connection.drained()

    def connection_lost(self, exc):
        session = self.session
        if self.lost or session is None:
            return
        self.lost = self._done = True
        if self._closing is not None:
            self._closing.cancel()
        if log.isEnabledFor(logging.DEBUG):
            user = session.user or "nobody"
            log.debug("connection %s of %s (%s) is gone", self.connection.id, user, session.codec, extra=session.about)
        self.sockets._counters.connection_closed(session.codec)
        session.lost()
        self.mute()  # the ping wheel has this for a while
        # Ends the cycles, so that nothing waits for the garbage collector.
        self.session = self.connection = self._socket = self._closing = self._rest = self.inflater = None

    # Frames in -----------------------------------------------------------------------------------------------

    cdef int _received(self, const unsigned char* data, Py_ssize_t size) except -1:
        cdef Py_ssize_t used = 0
        cdef bytes rest
        cdef object outer = self.sockets._read_at  # of another socket, whose message lets this one go on reading
        cdef object now
        self.pinged = 0
        self.heard = self.sockets.wheel
        self.sockets._counters.bytes_in += size
        if self._done:
            return 0
        if self._rest is not None:  # the event loop had read more when it was told to pause
            self._rest += PyBytes_FromStringAndSize(<const char*>data, size)
            return 0
        self._reading = True
        self._looked = 0
        self.sockets._read_at = now = self.sockets._clock.monotonic()
        try:
            used = self.read(data, size)
        except FrameError as error:
            self._failed(error.disconnect)
        except Exception:
            log.exception("connection %s failed", self.connection.id, extra=self.session.about)
            self._failed(INTERNAL)
        finally:
            self._reading = False
            self.sockets._read_at = outer
        if used < size and not self._done:
            self._rest = PyBytes_FromStringAndSize(<const char*>data + used, size - used)
        if self._capacity == 0 and self._rest is None:
            self._since = 0.0
        elif self._since == 0.0:
            self._since = now
        if self._looked >= _TURN_BYTES and not self._paused and not self._done and self._socket is not None:
            self._pause()
            self.sockets._loop.call_soon(self._turn)
        return 0

    def _turn(self):
        """The next one of a connection that had too much for one."""
        if not self._paused:
            self._go_on()

    cpdef int message(self, int opcode, bytes payload) except -1:
        self.sockets._counters.frames_in += 1
        self._looked += PyBytes_GET_SIZE(payload)
        if self._looked >= _TURN_BYTES:
            self.halted = True  # after this one
        if opcode == self._opcode:
            self.session.receive(payload, self.sockets._read_at)
        else:
            self.session.wrong_kind(self.sockets._read_at)
        return 0

    cpdef int control(self, int opcode, bytes payload) except -1:
        if opcode == _PING:
            self.connection.pong(payload)
        elif opcode == _CLOSE:
            self._peer_closed(payload)
        return 0

    cdef int _peer_closed(self, bytes payload) except -1:
        """Answers the peer's close frame, unless ours went first (RFC 6455 section 5.5.1), then closes."""
        cdef int code = close_code(payload)
        self._done = self.halted = True
        self.connection.close(code, "")  # what it is owed, then the answer; nothing follows
        if self._socket is not None:
            self._socket.close()
        return 0

    def _failed(self, disconnect):
        """Section 7.1.7: says why, and looks at nothing more. The peer reads our last frame before it sees the end."""
        self._done = self.halted = True
        self.session.close(disconnect)
        if self._socket is not None and not self._socket.is_closing():
            self._socket.write_eof()

    # seams.transport.Transport -----------------------------------------------------------------------------------------

    def write(self, bytes data not None):
        """Straight to the kernel while the event loop holds nothing for this socket: half of what its own ``write`` costs.
        What the kernel does not take, and every error, is the event loop's."""
        cdef Py_ssize_t sent
        socket = self._socket
        if socket is None:
            return
        self._written += PyBytes_GET_SIZE(data)
        self.sent = self.sockets.wheel
        if not self._direct and self._descriptor >= 0:
            self._direct = socket.get_write_buffer_size() == 0
        # A closing socket's descriptor may be another's already.
        if self._direct and not socket.is_closing():
            sent = c_send(
                self._descriptor, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), MSG_DONTWAIT | MSG_NOSIGNAL
            )
            if sent == PyBytes_GET_SIZE(data):
                return
            self._direct = False
            if sent > 0:
                data = data[sent:]
        socket.write(data)

    def buffered(self):
        return 0 if self._socket is None else self._socket.get_write_buffer_size()

    def unread(self):
        return self.incomplete + (0 if self._rest is None else PyBytes_GET_SIZE(self._rest)), self._since

    def close(self, int code, str reason not None):
        """Sends the close frame; the socket is closed when the peer answers, or cut after CLOSE_SECONDS. ``code`` 0: none."""
        self.mute()
        if self._closing is None and self._socket is not None:
            # The answer to a close frame without a code has none either.
            self.write(<bytes>encode_close(code, reason) if code else b"\x88\x00")
            self._closing = self.sockets._loop.call_later(CLOSE_SECONDS, self._socket.abort)
            if self._rest is not None or self.halted:
                self.resume_reading()  # the peer's close frame is among it, or comes

    def abort(self):
        if self._socket is not None:
            self._socket.abort()

    def pause_reading(self):
        self._paused = True
        self._pause()

    def resume_reading(self):
        """What was read already comes first, and may pause again."""
        self._paused = False
        self._go_on()

    cdef int _pause(self) except -1:
        self.halted = True
        if self._socket is not None and not self._socket.is_closing():
            self._socket.pause_reading()
        return 0

    cdef int _go_on(self) except -1:
        cdef bytes rest = self._rest
        if self._done or self._socket is None:
            return 0
        self.halted = False
        if self._reading:  # not paused yet: it goes on by itself
            rest = None
        if rest is not None:
            self._rest = None
            self._received(<const unsigned char*>PyBytes_AS_STRING(rest), PyBytes_GET_SIZE(rest))
            self.sockets._counters.bytes_in -= PyBytes_GET_SIZE(rest)  # were counted when they came
        if not self.halted and self._socket is not None and not self._socket.is_closing():
            self._socket.resume_reading()
        return 0

    # The ping wheel ------------------------------------------------------------------------------------------

    def ping(self):
        """Sends one and returns True, unless the last one still waits in the queue; the answer clears ``pinged`` (section 5.5.2)."""
        if self.pinged:
            if self._written <= self._ahead:
                return False
        else:  # what it may take time for is what was there before the first
            self._ahead = self._written
            self._taken = self._acknowledged()
        self.connection.deliver(_PING_FRAME)
        return True

    def takes(self):
        """Whether its silence says nothing: it is not listened to, or it has taken some of what the ping waits behind."""
        cdef Py_ssize_t before = self._taken
        if self.halted and not self._done:
            # Who is not listened to because he does not take what he asked for is not spared.
            if not self.connection.held:
                return True
            self._taken = self._acknowledged()
            return self._taken > before
        if before < self._ahead:
            self._taken = self._acknowledged()
        return self._taken > before

    def _acknowledged(self):
        # The event loop's buffer counts too: the kernel's is filled again from it, and then holds as much as before.
        # The kernel says when a socket can be written to only after a third of its buffer is free, which may take long.
        try:
            descriptor = self._socket.get_extra_info("socket").fileno()
            waiting = int.from_bytes(fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(4)), sys.byteorder)
        except OSError:  # not on this system
            waiting = 0
        return self._written - waiting - self.buffered()
