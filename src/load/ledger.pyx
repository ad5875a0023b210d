"""What was published and who has had it: every delivery is checked.

A payload is printable and needs no escaping in JSON: a mark, the publisher (8 hexadecimal digits), its sequence number
(8), the time for which it was due (16, nanoseconds), then letters that follow from the sequence number. So it can be
found in any frame of any protocol, and every byte of it is known. A delivery costs O(1).
"""

cimport cython
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy

from .histogram cimport Histogram

cdef enum:
    PUBLISHER_AT = 3              # behind the mark
    SEQUENCE_AT = 11
    TIME_AT = 19
    FILLER_AT = 35
    ROTATIONS = 64                # the letters begin at sequence % ROTATIONS
    MOST_SLOTS = 16_777_216

cdef const char *MARK = b"~S:"
LEAST_PAYLOAD = FILLER_AT

cdef char DIGITS[16]
cdef uint8_t VALUES[256]


cdef void _tables() noexcept:
    # Two tables of constants.
    cdef int i
    for i in range(256):
        VALUES[i] = 255
    for i in range(16):
        DIGITS[i] = <char>(48 + i if i < 10 else 87 + i)
        VALUES[<uint8_t>DIGITS[i]] = <uint8_t>i


_tables()


cdef inline void _write_hex(char *out, uint64_t value, int digits) noexcept:
    # Plain stores of `digits` bytes.
    cdef int i
    for i in range(digits - 1, -1, -1):
        out[i] = DIGITS[value & 15]
        value >>= 4


cdef inline bint _read_hex(const char *data, int digits, uint64_t *value) noexcept:
    # Plain loads; False when one is no digit.
    cdef uint64_t read = 0
    cdef uint8_t bad = 0, digit
    cdef int i
    for i in range(digits):
        digit = VALUES[<uint8_t>data[i]]
        bad |= digit
        read = read << 4 | (digit & 15)
    value[0] = read
    return bad < 16


cdef class Ledger:
    def __cinit__(
        self, Py_ssize_t rooms, Py_ssize_t members, Py_ssize_t publishers, Py_ssize_t payload, Py_ssize_t depth=1
    ):
        cdef Py_ssize_t i, slots = 1
        if rooms < 1 or members < 1 or not 1 <= publishers <= members or depth < 1:
            raise ValueError("a ledger needs rooms, members, and publishers among them")
        if payload < FILLER_AT:
            raise ValueError(f"a payload has at least {FILLER_AT} bytes")
        while slots < depth:
            slots *= 2
        if rooms * members > 1 << 24 or rooms * members * publishers > 1 << 28 or rooms * publishers * slots > MOST_SLOTS:
            raise ValueError("so many members, publishers and messages on their way cannot be followed")
        self.rooms = rooms
        self.members = members
        self.publishers = publishers
        self.payload = payload
        self.each = Histogram()
        self.last = Histogram()
        self._slot_mask = <uint32_t>(slots - 1)
        self._sent = <uint32_t *>calloc(rooms * publishers, sizeof(uint32_t))
        self._seen = <Seen *>calloc(rooms * members * publishers, sizeof(Seen))
        self._slots = <Slot *>calloc(rooms * publishers * slots, sizeof(Slot))
        self._order = <uint64_t *>calloc(rooms * members, sizeof(uint64_t))
        self._filler = <char *>malloc(payload + ROTATIONS)
        if not (self._sent and self._seen and self._slots and self._order and self._filler):
            raise MemoryError()
        for i in range(payload + ROTATIONS):
            # Not periodic within any length that a shifted copy could have by mistake.
            self._filler[i] = <char>(97 + (i * i + i // 26) % 26)

    def __dealloc__(self):
        free(self._sent)
        free(self._seen)
        free(self._slots)
        free(self._order)
        free(self._filler)

    cdef int compose(self, char *out, Py_ssize_t publisher, int64_t time) except -1:
        """Writes the next payload of ``publisher`` to ``out``, which has room for it, and counts it as published."""
        if not 0 <= publisher < self.rooms * self.publishers:
            raise IndexError(publisher)
        cdef uint32_t sequence = self._sent[publisher]
        cdef Slot *slot = self._slots + publisher * (self._slot_mask + 1) + (sequence & self._slot_mask)
        if slot.waiting:
            self.overrun += 1
        slot.sequence = sequence
        slot.waiting = <uint32_t>self.members
        self._sent[publisher] = sequence + 1
        self.published += 1
        memcpy(out, MARK, MARK_LENGTH)
        _write_hex(out + PUBLISHER_AT, <uint64_t>publisher, 8)
        _write_hex(out + SEQUENCE_AT, sequence, 8)
        _write_hex(out + TIME_AT, <uint64_t>time, 16)
        memcpy(out + FILLER_AT, self._filler + sequence % ROTATIONS, self.payload - FILLER_AT)
        return 0

    @cython.overflowcheck(False)  # a hash wraps around, and bits are shifted out
    cdef Py_ssize_t receive(self, Py_ssize_t member, const char *data, int64_t now) noexcept:
        """``data`` has ``payload`` bytes, ``member`` is one. Indices read from it are checked; nothing here can raise."""
        cdef uint64_t publisher, sequence, time, back
        cdef Seen *seen
        cdef Slot *slot
        cdef int64_t took
        if (
            memcmp(data, MARK, MARK_LENGTH) != 0
            or not _read_hex(data + PUBLISHER_AT, 8, &publisher)
            or not _read_hex(data + SEQUENCE_AT, 8, &sequence)
            or not _read_hex(data + TIME_AT, 16, &time)
            or publisher >= <uint64_t>(self.rooms * self.publishers)
            or sequence >= self._sent[publisher]
            or memcmp(data + FILLER_AT, self._filler + sequence % ROTATIONS, self.payload - FILLER_AT) != 0
        ):
            self.corrupt += 1
            return -1
        if <Py_ssize_t>publisher // self.publishers != member // self.members:
            self.stray += 1
            return -1
        seen = self._seen + member * self.publishers + <Py_ssize_t>publisher % self.publishers
        if sequence >= seen.next:
            back = sequence - seen.next
            self.gaps += <int64_t>back
            seen.recent = seen.recent << (back + 1) | 1 if back < 63 else 1
            seen.next = <uint32_t>sequence + 1
        else:
            back = seen.next - 1 - sequence
            # Beyond 64 back it is not known any more: most likely it was there.
            if back > 63 or seen.recent >> back & 1:
                self.duplicates += 1
                return -1
            seen.recent |= <uint64_t>1 << back
            self.gaps -= 1
            self.late += 1
        # FNV-1a, a word at a time.
        self._order[member] = (self._order[member] ^ (publisher << 32 | sequence)) * <uint64_t>0x100000001B3
        self.delivered += 1
        took = now - <int64_t>time
        self.each.add(took)
        slot = self._slots + <Py_ssize_t>publisher * (self._slot_mask + 1) + (<uint32_t>sequence & self._slot_mask)
        if slot.sequence != sequence or slot.waiting == 0:
            return -1
        slot.waiting -= 1
        if slot.waiting:
            return -1
        self.completed += 1
        self.last.add(took)
        return <Py_ssize_t>publisher

    cdef bint is_behind(self, Py_ssize_t member) noexcept:
        """Whether something that was sent has not come to ``member``, which is one, nor anything after it."""
        cdef Py_ssize_t first = member // self.members * self.publishers
        cdef Py_ssize_t i
        for i in range(self.publishers):
            if self._seen[member * self.publishers + i].next < self._sent[first + i]:
                return True
        return False

    def message(self, Py_ssize_t publisher, int64_t time):
        cdef bytearray out = bytearray(self.payload)
        self.compose(out, publisher, time)
        return bytes(out)

    def deliver(self, Py_ssize_t member, bytes payload not None, int64_t now):
        if not 0 <= member < self.rooms * self.members:
            raise IndexError(member)
        if len(payload) != self.payload:
            self.corrupt += 1
            return -1
        return self.receive(member, payload, now)

    def missing(self):
        return self.published * self.members - self.delivered

    def disordered(self):
        cdef Py_ssize_t room, member
        cdef int64_t found = 0
        for room in range(self.rooms):
            for member in range(room * self.members + 1, (room + 1) * self.members):
                if self._order[member] != self._order[room * self.members]:
                    found += 1
                    break
        return found
