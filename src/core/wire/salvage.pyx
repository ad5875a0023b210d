# cython: language_level=3
"""What can be saved of a frame that does not decode: one request that is not valid must not cost its neighbours.

Only such frames come here. ``cut`` finds the elements of the frame's array by brackets and quotes alone (JSON), or by lengths alone
(MessagePack); each is decoded strictly by itself afterwards, so that nothing is served that is not a whole request. ``request_id``
says whom to answer about one that is not.

Half a surrogate pair, which text in JavaScript, and escapes in JSON, may hold and UTF-8 may not, becomes U+FFFD where that is wanted
(``mend``), as in the Web IDL's USVString.

Each is one pass without recursion, and without memory by depth: linear in the bytes, whatever they are.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcmp

from ..errors import SynclineError

from .payload cimport Scan, check_payload, unit_at

cdef enum:
    _DIGITS = 16  # of _MAX_ID

cdef long long _MAX_ID = 9007199254740991  # 2^53 - 1


cdef struct Head:
    uint64_t children   # values that follow as parts of this one
    uint64_t length     # bytes that follow before them
    bint text


cdef Scan _scan(bytes data) noexcept:
    """Lives as long as ``data``."""
    cdef Scan scan
    scan.data = <const uint8_t *>PyBytes_AS_STRING(data)
    scan.size = PyBytes_GET_SIZE(data)
    scan.at = 0
    return scan


def cut(str codec not None, bytes frame not None, Py_ssize_t limit):
    """The elements of the array that ``frame`` is, at most ``limit`` of them, and whether there was nothing else that is wrong with it.

    An element may be anything, and empty in JSON.
    """
    cdef Scan scan = _scan(frame)
    if codec == "json":
        return _cut_json(&scan, frame, limit)
    return _cut_msgpack(&scan, frame, limit)


def request_id(str codec not None, bytes element not None):
    """The id of the request that ``element`` was to be: the last one said, as decoders have it. None where none can be read."""
    cdef Scan scan = _scan(element)
    cdef long long found = _json_id(&scan) if codec == "json" else _msgpack_id(&scan)
    return None if found < 0 else found


def mend(str codec not None, bytes value not None, bint otherwise=False):
    """``value``, whole or not, with U+FFFD for each half of a surrogate pair in its strings; the same object where there is none.

    The length stays. ``otherwise``: with U+FFFC. What differs between the two was mended.
    """
    cdef Scan scan = _scan(value)
    if codec == "json":
        return _mend_json(&scan, value, otherwise)
    return _mend_msgpack(&scan, value, otherwise)


def admissible(str codec not None, bytes payload not None):
    """The payload as it may be passed on: mended. Raises SynclineError(invalid_data), as ``check_payload``. O(payload)."""
    try:
        check_payload(codec, payload)
        return payload
    except SynclineError:
        mended = mend(codec, payload)
        if mended is payload:
            raise
    check_payload(codec, mended)
    return mended


# JSON --------------------------------------------------------------------------------------------------------------

cdef uint8_t _space(Scan *scan) noexcept:
    """Passes white space over; the byte there, or 0 at the end. Reads below ``size`` only."""
    cdef uint8_t byte
    while scan.at < scan.size:
        byte = scan.data[scan.at]
        if byte != c' ' and byte != c'\n' and byte != c'\r' and byte != c'\t':
            return byte
        scan.at += 1
    return 0


cdef void _pass_string(Scan *scan) noexcept:
    """From a quote to after the one that ends the string, or to the end."""
    cdef uint8_t byte
    scan.at += 1
    while scan.at < scan.size:
        byte = scan.data[scan.at]
        scan.at += 1
        if byte == c'"':
            return
        if byte == c'\\' and scan.at < scan.size:
            scan.at += 1


cdef void _pass_value(Scan *scan) noexcept:
    """To the comma or the bracket that ends what is at ``at``, or to the end."""
    cdef Py_ssize_t depth = 0
    cdef uint8_t byte
    while scan.at < scan.size:
        byte = scan.data[scan.at]
        if byte == c'"':
            _pass_string(scan)
            continue
        if byte == c'{' or byte == c'[':
            depth += 1
        elif byte == c'}' or byte == c']':
            if depth == 0:
                return
            depth -= 1
        elif byte == c',' and depth == 0:
            return
        scan.at += 1


cdef tuple _cut_json(Scan *scan, bytes frame, Py_ssize_t limit):
    cdef list elements = []
    cdef Py_ssize_t begin
    cdef uint8_t byte
    if _space(scan) != c'[':
        return [frame], True
    scan.at += 1
    while len(elements) < limit:
        begin = scan.at
        _pass_value(scan)
        byte = scan.data[scan.at] if scan.at < scan.size else 0
        elements.append(frame[begin:scan.at])
        if byte == c',':
            scan.at += 1
            continue
        if len(elements) == 1 and not elements[0].strip(b" \n\r\t"):
            elements.clear()
        scan.at += byte != 0
        return elements, byte == c']' and _space(scan) == 0 and scan.at == scan.size
    return elements, True


cdef long long _json_id(Scan *scan) noexcept:
    cdef long long found = -1
    cdef Py_ssize_t begin
    cdef bint named
    if _space(scan) != c'{':
        return -1
    scan.at += 1
    while _space(scan) == c'"':
        begin = scan.at
        _pass_string(scan)
        named = scan.at - begin == 4 and memcmp(scan.data + begin, b'"id"', 4) == 0
        if _space(scan) != c':':
            break
        scan.at += 1
        _space(scan)
        begin = scan.at
        _pass_value(scan)
        if named:
            found = _digits(scan, begin)
        if scan.at == scan.size or scan.data[scan.at] != c',':
            break
        scan.at += 1
    return found


cdef long long _digits(Scan *scan, Py_ssize_t begin) noexcept:
    """The id from ``begin`` to ``at``, white space behind it; -1 where there is none."""
    cdef long long value = 0
    cdef Py_ssize_t at = begin
    while at < scan.at and at - begin <= _DIGITS and c'0' <= scan.data[at] <= c'9':
        value = value * 10 + scan.data[at] - c'0'
        at += 1
    if at == begin or value > _MAX_ID or (at - begin > 1 and scan.data[begin] == c'0'):
        return -1
    while at < scan.at and (scan.data[at] == c' ' or c'\t' <= scan.data[at] <= c'\r'):
        at += 1
    return value if at == scan.at else -1


cdef bytes _mend_json(Scan *scan, bytes value, bint otherwise):
    cdef bytes mended = value
    cdef char *out = NULL
    cdef int unit
    cdef bint within = False
    cdef Py_ssize_t at = 0
    cdef uint8_t byte
    while at < scan.size:
        byte = scan.data[at]
        at += 1
        if byte == c'"':
            within = not within
        elif byte == c'\\' and within and at < scan.size:
            at += 1
            if scan.data[at - 1] != c'u':
                continue
            unit = unit_at(scan, at)
            if not 0xD800 <= unit < 0xE000:
                continue  # its digits are passed over as characters
            at += 4
            if unit < 0xDC00 and scan.size - at >= 2 and scan.data[at] == c'\\' and scan.data[at + 1] == c'u' \
                    and 0xDC00 <= unit_at(scan, at + 2) < 0xE000:
                at += 6
                continue
            if out == NULL:
                mended = PyBytes_FromStringAndSize(<const char *>scan.data, scan.size)
                out = PyBytes_AS_STRING(mended)
            out[at - 4] = out[at - 3] = out[at - 2] = c'f'
            out[at - 1] = c'c' if otherwise else c'd'
    return mended


# MessagePack -------------------------------------------------------------------------------------------------------

cdef bint _read(Scan *scan, int size, uint64_t *value) noexcept:
    """An unsigned integer of ``size`` bytes, the high one first. False where the end comes before."""
    cdef int index
    if scan.size - scan.at < size:
        scan.at = scan.size
        return False
    value[0] = 0
    for index in range(size):
        value[0] = value[0] << 8 | scan.data[scan.at + index]
    scan.at += size
    return True


cdef bint _head(Scan *scan, Head *head) noexcept:
    """What is said before a value's bytes or parts; ``at`` is then at those. False where the end comes before they do."""
    cdef uint64_t byte
    head.children = head.length = 0
    head.text = False
    if not _read(scan, 1, &byte):
        return False
    if byte <= 0x7F or byte >= 0xE0 or 0xC0 <= byte <= 0xC3:  # numbers, nil, booleans, and what is never used
        return True
    if byte <= 0x8F:
        head.children = 2 * (byte & 0x0F)
    elif byte <= 0x9F:
        head.children = byte & 0x0F
    elif byte <= 0xBF:
        head.length = byte & 0x1F
        head.text = True
    elif byte <= 0xC6:  # bin
        if not _read(scan, 1 << (byte - 0xC4), &head.length):
            return False
    elif byte <= 0xC9:  # ext: its type is one byte more
        if not _read(scan, 1 << (byte - 0xC7), &head.length):
            return False
        head.length += 1
    elif byte <= 0xCB:  # float
        head.length = 4 if byte == 0xCA else 8
    elif byte <= 0xD3:  # uint, int
        head.length = 1 << (byte & 3)
    elif byte <= 0xD8:  # fixext
        head.length = 1 + (1 << (byte - 0xD4))
    elif byte <= 0xDB:
        head.text = True
        if not _read(scan, 1 << (byte - 0xD9), &head.length):
            return False
    else:  # array, map
        if not _read(scan, 4 if byte & 1 else 2, &head.children):
            return False
        if byte >= 0xDE:
            head.children *= 2
    if head.length > <uint64_t>(scan.size - scan.at):
        scan.at = scan.size
        return False
    return True


cdef bint _pass_packed(Scan *scan) noexcept:
    """Past one value. False where the end comes before its own: ``at`` is there then."""
    cdef uint64_t due = 1  # no overflow: five bytes add less than 2^33
    cdef Head head
    while due:
        if not _head(scan, &head):
            return False
        scan.at += <Py_ssize_t>head.length
        due -= 1
        due += head.children
    return True


cdef tuple _cut_msgpack(Scan *scan, bytes frame, Py_ssize_t limit):
    cdef list elements = []
    cdef Py_ssize_t begin
    cdef Head head
    if scan.size == 0 or not (0x90 <= scan.data[0] <= 0x9F or 0xDC <= scan.data[0] <= 0xDD):
        return [frame], True
    if not _head(scan, &head):
        return elements, False
    while head.children and len(elements) < limit:
        begin = scan.at
        if begin == scan.size:
            return elements, False
        _pass_packed(scan)
        elements.append(frame[begin:scan.at])
        head.children -= 1
    return elements, head.children > 0 or scan.at == scan.size


cdef long long _msgpack_id(Scan *scan) noexcept:
    cdef long long found = -1
    cdef Py_ssize_t begin
    cdef uint64_t fields
    cdef bint named
    cdef Head head
    if scan.size == 0 or not (0x80 <= scan.data[0] <= 0x8F or 0xDE <= scan.data[0] <= 0xDF) or not _head(scan, &head):
        return -1
    fields = head.children // 2
    while fields:
        begin = scan.at
        if not _head(scan, &head):
            break
        named = head.text and head.length == 2 and memcmp(scan.data + scan.at, b"id", 2) == 0
        scan.at = begin
        if not _pass_packed(scan):
            break
        begin = scan.at
        if not _pass_packed(scan):
            break
        if named:
            found = _packed_number(scan, begin)
        fields -= 1
    return found


cdef long long _packed_number(Scan *scan, Py_ssize_t begin) noexcept:
    """The id from ``begin`` to ``at``; -1 where there is none."""
    cdef uint64_t value = 0
    cdef uint8_t byte = scan.data[begin]
    cdef Py_ssize_t at
    if byte <= 0x7F:
        return byte
    if not 0xCC <= byte <= 0xD3 or (byte >= 0xD0 and scan.data[begin + 1] >= 0x80):  # negative
        return -1
    for at in range(begin + 1, scan.at):
        value = value << 8 | scan.data[at]
    return <long long>value if value <= <uint64_t>_MAX_ID else -1


cdef bytes _mend_msgpack(Scan *scan, bytes value, bint otherwise):
    cdef bytes mended = value
    cdef char *out = NULL
    cdef Py_ssize_t at, end
    cdef Head head
    while _head(scan, &head):
        at = scan.at
        end = scan.at = at + <Py_ssize_t>head.length
        if not head.text:
            continue
        # As CESU-8 and WTF-8 have them: ED, then A0 to BF, then 80 to BF.
        while end - at >= 3:
            if scan.data[at] != 0xED or scan.data[at + 1] & 0xE0 != 0xA0 or scan.data[at + 2] & 0xC0 != 0x80:
                at += 1
                continue
            if out == NULL:
                mended = PyBytes_FromStringAndSize(<const char *>scan.data, scan.size)
                out = PyBytes_AS_STRING(mended)
            out[at] = <char>0xEF
            out[at + 1] = <char>0xBF
            out[at + 2] = <char>0xBC if otherwise else <char>0xBD
            at += 3
    return mended
