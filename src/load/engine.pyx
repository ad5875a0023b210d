"""Many client connections on one thread: epoll, non-blocking sockets, nothing for each message that Python would see.

What is said on a connection comes from outside as bytes (dialects.py): the request, a greeting of steps (wait for these
bytes, then send those), what stands before and after a payload. Received messages are searched for payloads, which
are checked by the ledger; so the engine knows no protocol above RFC 6455.

Only Linux has what it stands on (epoll, timerfd, IP_BIND_ADDRESS_NO_PORT).
"""

import heapq
import os
import random

cimport cython
from cpython.exc cimport PyErr_CheckSignals
from libc.errno cimport EAGAIN, EINPROGRESS, EINTR, errno as c_errno
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcmp, memcpy, memset
from posix.time cimport CLOCK_MONOTONIC

from .frames cimport (
    BROKEN, CONTROL, MESSAGE, NOTHING, Message, Reader, apply_mask, frame_header, reader_close, reader_feed,
    reader_keep, reader_next,
)
from .histogram cimport Histogram, now_ns
from .ledger cimport MARK, MARK_LENGTH, Ledger
from .system cimport *

cdef enum:
    GONE = 0
    CONNECTING
    UPGRADING
    GREETING
    READY

cdef enum:
    READ_BYTES = 262_144
    EVENTS = 1024
    TIMER = 0xFFFFFFFF            # instead of a connection's number in an event

# RFC 6455, section 1.3: the key of its example and what must be answered to it.
KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
cdef bytes ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

cdef int64_t SECOND = 1_000_000_000


cdef class Engine:
    def __cinit__(
        self,
        Ledger ledger not None,
        tuple address not None,
        list sources not None,
        object request not None,
        object greeting not None,
        list frames not None,
        *,
        int opcode=1,
        bytes lead not None=b"",
        bytes trail not None=b"",
        bytes error not None=b"",
        bytes ping not None=b"",
        bytes pong not None=b"",
        bytes position_key not None=b"",
        bint position_after=False,
        object greeted=None,
        bint mask=True,
    ):
        cdef Py_ssize_t i
        self._epoll = self._timer = -1
        if len(frames) != ledger.rooms:
            raise ValueError("each room needs what stands around a payload")
        self.ledger = ledger
        self._address = (ip_number(address[0]), int(address[1]))
        self._sources = [ip_number(source) for source in sources]
        self._request, self._greeting, self._greeted, self._frames = request, greeting, greeted, frames
        self._lead, self._trail, self._error, self._ping, self._pong = lead, trail, error, ping, pong
        self._position_key, self._position_after = position_key, position_after
        self._opcode, self._mask = <uint8_t>opcode, mask
        self._random = <uint32_t>random.getrandbits(32) | 1
        self.opened, self.joined, self.recovered = Histogram(), Histogram(), Histogram()
        self.endings, self.first_error = {}, ""
        self._timers, self._steps = [], {}
        self._next_progress = now_ns() + SECOND
        self._count = ledger.rooms * ledger.members
        self._conns = <Conn *>calloc(self._count, sizeof(Conn))
        self._events = <epoll_event *>calloc(EVENTS, sizeof(epoll_event))
        self._buffer = <char *>malloc(READ_BYTES)
        self._dirty = <int *>malloc(self._count * sizeof(int))
        if not (self._conns and self._events and self._buffer and self._dirty):
            raise MemoryError()
        for i in range(self._count):
            self._conns[i].fd = -1
        self._epoll = epoll_create1(EPOLL_CLOEXEC)
        self._timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)
        if self._epoll < 0 or self._timer < 0:
            raise last_error()
        self._watch(EPOLL_CTL_ADD, -1, EPOLLIN)

    def __dealloc__(self):
        cdef Py_ssize_t i
        if self._conns:
            for i in range(self._count):
                if self._conns[i].fd >= 0:
                    close(self._conns[i].fd)
                free(self._conns[i].out)
                reader_close(&self._conns[i].reader)
        free(self._conns)
        free(self._events)
        free(self._buffer)
        free(self._dirty)
        if self._epoll >= 0:
            close(self._epoll)
        if self._timer >= 0:
            close(self._timer)

    # -- connecting ------------------------------------------------------------------------------------------------------

    cdef int _watch(self, int op, Py_ssize_t index, uint32_t events) except -1:
        """``index`` -1: the timer."""
        cdef epoll_event event
        event.events = events
        event.data.u64 = TIMER if index < 0 else <uint64_t>index
        if epoll_ctl(self._epoll, op, self._timer if index < 0 else self._conns[index].fd, &event) < 0:
            raise last_error()
        return 0

    cdef int _connect(self, Py_ssize_t index) except -1:
        cdef Conn *conn = self._conns + index
        cdef sockaddr_in address
        cdef int on = 1
        cdef int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)
        if fd < 0:
            raise last_error(f" (after {index} connections; `ulimit -n` says how many)")
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on))
        memset(&address, 0, sizeof(address))
        address.sin_family = AF_INET
        if self._sources:
            # The port is chosen at connect, so that one port serves for many addresses.
            setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on))
            address.sin_addr.s_addr = <uint32_t>self._sources[index % len(self._sources)]
            if bind(fd, <sockaddr *>&address, sizeof(address)) < 0:
                on = c_errno
                close(fd)
                raise OSError(on, f"{os.strerror(on)}: a source address cannot be used")
        address.sin_addr.s_addr = <uint32_t>self._address[0]
        address.sin_port = htons(<uint16_t>self._address[1])
        conn.fd = fd
        conn.state = CONNECTING
        conn.step = 0
        if not conn.began:
            conn.began = now_ns()
        self._connecting += 1
        if connect(fd, <sockaddr *>&address, sizeof(address)) < 0 and c_errno != EINPROGRESS:
            self._end(index, os.strerror(c_errno))
            return 0
        self._watch(EPOLL_CTL_ADD, index, EPOLLIN | EPOLLOUT)
        return 0

    cdef int _end(self, Py_ssize_t index, str why) except -1:
        """Forgets a connection. ``why`` is empty when this side wanted it so."""
        cdef Conn *conn = self._conns + index
        if conn.fd < 0:
            return 0
        close(conn.fd)  # which takes it out of epoll too
        conn.fd = -1
        if conn.state == READY:
            self.ready -= 1
            if why:
                self.lost += 1
                conn.began = now_ns()
                if self.left_at == 0:
                    self.left_at = conn.began
        else:
            self._connecting -= 1
            self._steps.pop(index, None)
            if why and self.retry_seconds is None:
                self.failed += 1
        if why:
            self.endings[why] = self.endings.get(why, 0) + 1
        conn.state = GONE
        conn.behind = False
        conn.blocked = False
        conn.out_length = conn.out_at = 0
        reader_close(&conn.reader)
        if self.retry_seconds is not None and (why or conn.began):
            least, most = self.retry_seconds
            least, most = least + self._retry_after, most + self._retry_after
            self._retry_after = 0
            heapq.heappush(self._timers, (now_ns() + <int64_t>(random.uniform(least, most) * SECOND), 0, index))
        else:
            conn.began = 0
        return 0

    cdef int _upgrade(self, Py_ssize_t index) except -1:
        """What was read is the answer to the handshake, or its beginning. 1: done, messages may follow."""
        cdef Conn *conn = self._conns + index
        cdef const char *end = <const char *>memmem(<const void *>conn.reader.at, conn.reader.left, b"\r\n\r\n", 4)
        cdef size_t size
        if end is NULL:
            reader_keep(&conn.reader)
            return 0
        size = span(conn.reader.at, end) + 4
        head = conn.reader.at[:size]
        if not head.startswith(b"HTTP/1.1 101") or ACCEPT not in head:
            for line in head.lower().split(b"\r\n"):
                if line.startswith(b"retry-after:") and line[12:].strip().isdigit():
                    self._retry_after = int(line[12:])
            self._end(index, "handshake: " + head.split(b"\r\n", 1)[0].decode("latin-1"))
            return 0
        conn.reader.at += size
        conn.reader.left -= size
        conn.state = GREETING
        self.opened.add(now_ns() - conn.began)
        self._greet(index, NULL, 0)
        return conn.fd >= 0

    cdef int _greet(self, Py_ssize_t index, const char *data, size_t length) except -1:
        """Sends what the message calls for. ``data`` NULL: the connection has just been upgraded."""
        cdef Conn *conn = self._conns + index
        cdef tuple steps
        cdef bytes expected, answer
        if data is NULL:
            steps = self._steps[index] = self._greeting(index)
        else:
            steps = self._steps[index]
        if data is not NULL and self._greeted is not None:
            self._greeted(index, data[:length])
        while conn.step < len(steps):
            expected, answer = steps[conn.step]
            if expected and (data is NULL or memmem(data, length, <const char *>expected, len(expected)) is NULL):
                return 0
            conn.step += 1
            if answer:
                self._write(index, self._opcode, answer, len(answer))
            if not expected:
                data = NULL  # it was not for this message
        del self._steps[index]
        conn.state = READY
        self.ready += 1
        self._connecting -= 1
        if self.cuts == 0 and self.lost == 0:
            self.joined.add(now_ns() - conn.began)
            conn.began = 0
        else:
            conn.behind = True
            self._caught_up(index)
        return 0

    def _caught_up(self, Py_ssize_t index):
        cdef Conn *conn = self._conns + index
        if conn.behind and not self.ledger.is_behind(index):
            conn.behind = False
            self.back_at = now_ns()
            if conn.began:
                self.recovered.add(self.back_at - conn.began)
            conn.began = 0

    # -- writing ---------------------------------------------------------------------------------------------------------

    cdef char *_room_for(self, Py_ssize_t index, size_t length) except NULL:
        """Where the next ``length`` bytes to send go; the caller writes them and adds to out_length."""
        cdef Conn *conn = self._conns + index
        cdef size_t size
        cdef char *grown
        if conn.out_length + length > conn.out_capacity:
            size = max(conn.out_capacity * 2, conn.out_length + length)
            grown = <char *>realloc(conn.out, size)
            if grown is NULL:
                raise MemoryError()
            conn.out = grown
            conn.out_capacity = size
        if not conn.dirty:
            conn.dirty = True
            self._dirty[self._dirty_count] = <int>index
            self._dirty_count += 1
        return conn.out + conn.out_length

    cdef int _write(self, Py_ssize_t index, uint8_t opcode, const char *data, size_t length) except -1:
        cdef Conn *conn = self._conns + index
        cdef char *out = self._room_for(index, length + 14)
        cdef uint32_t mask = self._next_mask()
        cdef size_t header = frame_header(out, opcode, length, mask)
        memcpy(out + header, data, length)
        apply_mask(out + header, length, mask)
        conn.out_length += header + length
        return 0

    @cython.overflowcheck(False)  # bits are shifted out
    cdef uint32_t _next_mask(self) noexcept:
        # xorshift32 (Marsaglia 2003): masks need not be secret here. Plain arithmetic.
        if not self._mask:
            return 0
        self._random ^= self._random << 13
        self._random ^= self._random >> 17
        self._random ^= self._random << 5
        return self._random

    cdef int _publish(self, Py_ssize_t publisher, int64_t due) except -1:
        """The next message of ``publisher`` goes into its connection's buffer. Nothing while that is not connected."""
        cdef Ledger ledger = self.ledger
        cdef Py_ssize_t room = publisher // ledger.publishers
        cdef Py_ssize_t index = room * ledger.members + publisher % ledger.publishers
        cdef Conn *conn = self._conns + index
        cdef bytes before, after
        cdef size_t length, header
        cdef uint32_t mask
        cdef char *out
        if conn.state != READY:
            return 0
        before, after = <tuple>self._frames[room]
        length = len(before) + ledger.payload + len(after)
        out = self._room_for(index, length + 14)
        mask = self._next_mask()
        header = frame_header(out, self._opcode, length, mask)
        out += header
        memcpy(out, <const char *>before, len(before))
        ledger.compose(out + len(before), publisher, due)
        memcpy(out + len(before) + ledger.payload, <const char *>after, len(after))
        apply_mask(out, length, mask)
        conn.out_length += header + length
        return 1

    cdef int _flush(self, Py_ssize_t index) except -1:
        cdef Conn *conn = self._conns + index
        cdef ssize_t sent
        if conn.fd < 0 or conn.blocked:
            return 0
        while conn.out_at < conn.out_length:
            sent = send(conn.fd, conn.out + conn.out_at, conn.out_length - conn.out_at, MSG_NOSIGNAL)
            if sent < 0:
                if c_errno == EINTR:
                    continue
                if c_errno == EAGAIN:
                    conn.blocked = True
                    self._watch(EPOLL_CTL_MOD, index, EPOLLIN | EPOLLOUT)
                    return 0
                self._end(index, os.strerror(c_errno))
                return 0
            conn.out_at += sent
            self.bytes_out += sent
        conn.out_at = conn.out_length = 0
        return 0

    cdef int _flush_dirty(self) except -1:
        cdef Py_ssize_t i = 0
        # Ending a connection while flushing adds nothing to the list.
        while i < self._dirty_count:
            self._conns[self._dirty[i]].dirty = False
            self._flush(self._dirty[i])
            i += 1
        self._dirty_count = 0
        return 0

    # -- reading ---------------------------------------------------------------------------------------------------------

    cdef int _read(self, Py_ssize_t index) except -1:
        cdef Conn *conn = self._conns + index
        cdef Message message
        cdef int what
        cdef ssize_t got = recv(conn.fd, self._buffer, READ_BYTES, 0)
        if got < 0:
            if c_errno != EAGAIN and c_errno != EINTR:
                self._end(index, os.strerror(c_errno))
            return 0
        if got == 0:
            self._end(index, "closed without a close frame")
            return 0
        self.bytes_in += got
        self._now = 0
        reader_feed(&conn.reader, self._buffer, got)
        if conn.state == UPGRADING and not self._upgrade(index):
            return 0
        while conn.fd >= 0:
            what = reader_next(&conn.reader, &message)
            if what == NOTHING:
                return 0
            if what == MESSAGE:
                self._message(index, &message)
            elif what == CONTROL:
                self._control(index, &message)
            else:
                self._end(index, "the server broke RFC 6455")
        return 0

    cdef int _control(self, Py_ssize_t index, Message *message) except -1:
        if message.opcode == 9:
            self._write(index, 10, message.data, message.length)
        elif message.opcode == 8:
            body = message.data[:message.length]
            code = int.from_bytes(body[:2], "big") if len(body) >= 2 else 1005
            self._write(index, 8, message.data, 2 if message.length >= 2 else 0)
            self._flush(index)
            self._end(index, f"closed by the server: {code} {body[2:].decode('utf-8', 'replace')}".rstrip())
        return 0

    cdef int _message(self, Py_ssize_t index, Message *message) except -1:
        """Every payload in it goes to the ledger; without any it is a greeting, a ping, an error, or nothing to us."""
        cdef Conn *conn = self._conns + index
        cdef const char *start = message.data
        cdef const char *end = start + message.length
        cdef const char *found = NULL
        cdef size_t size = self.ledger.payload
        cdef bint any = False
        if message.length >= size + self._hint and memcmp(start + self._hint, MARK, MARK_LENGTH) == 0:
            found = start + self._hint  # where it was last time, mostly
        elif message.length >= size:
            found = <const char *>memmem(start, message.length, MARK, MARK_LENGTH)
            if found is not NULL:
                self._hint = span(start, found)
        while found is not NULL:
            any = True
            if not self._now:
                self._now = now_ns()
            self._payload(index, found, start, end, self._now)
            start = found + min(size, span(found, end))
            found = NULL
            # Only answers that bring what was missed hold several.
            if (conn.behind or conn.state != READY) and span(start, end) >= size:
                found = <const char *>memmem(start, span(start, end), MARK, MARK_LENGTH)
        if any:
            if conn.behind:
                self._caught_up(index)
            if conn.state == READY:
                return 0
        if self._ping and message.length == <size_t>len(self._ping) and memcmp(message.data, <char *>self._ping, message.length) == 0:
            self._write(index, self._opcode, self._pong, len(self._pong))
            return 0
        if self._error and not any and memmem(message.data, message.length, <char *>self._error, len(self._error)):
            self.errors += 1
            if not self.first_error:
                self.first_error = message.data[:min(message.length, <size_t>500)].decode("utf-8", "replace")
            if conn.state == GREETING:
                self._end(index, "refused")
            return 0
        if conn.state == GREETING:
            self._greet(index, message.data, message.length)
        else:
            self.others += 1
        return 0

    cdef int _payload(
        self, Py_ssize_t index, const char *payload, const char *start, const char *end, int64_t now
    ) except -1:
        """``start``: what follows the payload before this one; ``end``: of the message."""
        cdef Ledger ledger = self.ledger
        cdef size_t size = ledger.payload
        cdef size_t lead = len(self._lead), trail = len(self._trail)
        cdef Py_ssize_t publisher
        if (
            span(payload, end) < size + trail
            or span(start, payload) < lead
            or memcmp(payload - lead, <char *>self._lead, lead) != 0
            or memcmp(payload + size, <char *>self._trail, trail) != 0
        ):
            ledger.corrupt += 1
            return 0
        publisher = ledger.receive(index, payload, now)
        if self._position_key:
            self._remember(index, payload, start, end)
        if publisher >= 0 and self._windowed:
            self._publish(publisher, now)
        return 0

    cdef int _remember(self, Py_ssize_t index, const char *payload, const char *start, const char *end) except -1:
        """Keeps what stands behind the position's key, before or after the payload: the dialect reads it when needed."""
        cdef Conn *conn = self._conns + index
        cdef const char *found
        cdef size_t length = len(self._position_key)
        if self._position_after:
            start = payload + self.ledger.payload
        else:
            end = payload
        if span(start, end) >= length + self._position_hint and (
            memcmp(start + self._position_hint, <char *>self._position_key, length) == 0
        ):
            found = start + self._position_hint
        else:
            found = <const char *>memmem(start, span(start, end), <char *>self._position_key, length)
            if found is not NULL:
                self._position_hint = span(start, found)
        if found is not NULL:
            found += length
            conn.position_length = <uint8_t>min(span(found, end), <size_t>POSITION_BYTES)
            memcpy(conn.position, found, conn.position_length)
        return 0

    # -- the loop --------------------------------------------------------------------------------------------------------

    cdef int _turn(self, int64_t until) except -1:
        """Waits for sockets, until ``until`` at most, and does what they ask for."""
        cdef int64_t now = now_ns()
        cdef int64_t wake
        cdef int count, i
        cdef uint64_t which
        cdef Conn *conn
        cdef itimerspec spec
        cdef uint64_t expirations
        PyErr_CheckSignals()
        if self._next_progress <= now:
            self._next_progress = now + SECOND
            if self.progress is not None:
                self.progress()
        while self._timers and <int64_t>self._timers[0][0] <= now:
            _, what, index = heapq.heappop(self._timers)
            if self._conns[<Py_ssize_t>index].fd < 0:
                self._connect(index)
        self._flush_dirty()
        wake = min(until, self._next_progress)
        if self._timers:
            wake = min(wake, <int64_t>self._timers[0][0])
        if wake != self._armed:
            # epoll's own timeout is in milliseconds, a schedule is not.
            self._armed = wake
            memset(&spec, 0, sizeof(spec))
            spec.it_value.tv_sec = wake // SECOND
            spec.it_value.tv_nsec = wake % SECOND
            timerfd_settime(self._timer, TFD_TIMER_ABSTIME, &spec, NULL)
        with nogil:  # whoever else runs in this process may
            count = epoll_wait(self._epoll, self._events, EVENTS, 1000)
        if count < 0:
            if c_errno == EINTR:
                return 0
            raise last_error()
        for i in range(count):
            which = self._events[i].data.u64
            if which == TIMER:
                read(self._timer, &expirations, sizeof(expirations))
                self._armed = 0
                continue
            conn = self._conns + which
            if conn.fd < 0:
                continue  # ended by an earlier event of this turn
            if conn.state == CONNECTING:
                self._connected(which)
                continue
            if self._events[i].events & EPOLLOUT and conn.blocked:
                conn.blocked = False
                self._watch(EPOLL_CTL_MOD, which, EPOLLIN)
                self._flush(which)
            if conn.fd >= 0 and self._events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR):
                self._read(which)
        self._flush_dirty()
        return count

    cdef int _connected(self, Py_ssize_t index) except -1:
        cdef Conn *conn = self._conns + index
        cdef int error = 0
        cdef unsigned int size = sizeof(error)
        cdef bytes request
        getsockopt(conn.fd, SOL_SOCKET, SO_ERROR, &error, &size)
        if error:
            self._end(index, os.strerror(error))
            return 0
        conn.state = UPGRADING
        self._watch(EPOLL_CTL_MOD, index, EPOLLIN)
        request = self._request(index)
        memcpy(self._room_for(index, len(request)), <const char *>request, len(request))
        conn.out_length += len(request)
        self._flush(index)
        return 0

    def open(self, int concurrency, double seconds):
        cdef Py_ssize_t following = 0
        cdef int64_t until = now_ns() + <int64_t>(seconds * SECOND)
        while (following < self._count or self._connecting) and now_ns() < until:
            while following < self._count and self._connecting < concurrency:
                if self._conns[following].state == GONE and self._conns[following].fd < 0:
                    self._connect(following)
                following += 1
            self._turn(until)
        return self.ready

    def run(self, double seconds, *, int window=0, double rate=0.0, double cut=0.0, double stall=5.0):
        cdef Ledger ledger = self.ledger
        cdef Py_ssize_t publishers = ledger.rooms * ledger.publishers
        cdef Py_ssize_t publisher, victim = publishers
        cdef int64_t begin = now_ns()
        cdef int64_t until = begin + <int64_t>(seconds * SECOND)
        cdef int64_t now = begin, due = begin, moved = begin, following = 0, before = ledger.delivered, due_cut = begin
        cdef int64_t stalls = <int64_t>(stall * SECOND), cut_count = 0
        cdef double apart = SECOND / rate if rate > 0 else 0.0
        cdef double cut_apart = cut * SECOND / (self._count - ledger.publishers * ledger.rooms) if cut > 0 else 0.0
        self.stalled = False
        self._windowed = window > 0
        for publisher in range(publishers if window > 0 else 0):
            for _ in range(window):
                self._publish(publisher, now)
        while now < until:
            while apart and due <= now:
                self._publish(following % publishers, due)
                following += 1
                due = begin + <int64_t>(<double>following * apart)
            while cut_apart and due_cut <= now:
                self._cut_next(cut_count)
                cut_count += 1
                due_cut = begin + <int64_t>(<double>cut_count * cut_apart)
            self._turn(min(min(until, due if apart else until), due_cut if cut_apart else until))
            now = now_ns()
            if ledger.delivered != before:
                before = ledger.delivered
                moved = now
            elif window and now - moved > stalls:
                self.stalled = True
                break
        self._windowed = False
        return (now - begin) / 1e9

    def _cut_next(self, int64_t number):
        """Cuts one of those that do not publish, room by room in turn, without a word."""
        cdef Ledger ledger = self.ledger
        cdef Py_ssize_t others = ledger.members - ledger.publishers
        cdef Py_ssize_t room = number // others % ledger.rooms
        cdef Py_ssize_t index = room * ledger.members + ledger.publishers + number % others
        cdef linger reset
        if self._conns[index].state != READY:
            return
        reset.l_onoff, reset.l_linger = 1, 0  # a RST, as a lost device's address answers
        setsockopt(self._conns[index].fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset))
        self.cuts += 1
        self._conns[index].began = now_ns()
        self._end(index, "")

    def drain(self, double seconds):
        cdef int64_t moved = now_ns(), before = self.ledger.delivered
        cdef int64_t patience = <int64_t>(seconds * SECOND)
        while now_ns() - moved < patience:
            if self.ledger.missing() <= 0 and self.ready == self._count:
                break
            self._turn(moved + patience)
            if self.ledger.delivered != before:
                before = self.ledger.delivered
                moved = now_ns()
        return self.ledger.missing()

    def position(self, Py_ssize_t index):
        if not 0 <= index < self._count:
            raise IndexError(index)
        return self._conns[index].position[:self._conns[index].position_length]

    def close(self):
        cdef Py_ssize_t index
        self.retry_seconds = None
        self._timers.clear()
        for index in range(self._count):
            if self._conns[index].state == READY:
                self._write(index, 8, b"\x03\xe8", 2)
                self._flush(index)
            self._end(index, "")
        self._flush_dirty()
