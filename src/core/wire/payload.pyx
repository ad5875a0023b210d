# cython: language_level=3
"""What may be in a payload: one value that every client can decode, in either encoding.

The server passes payloads on as the bytes that came, so what it lets in is what every member of a room must decode, then and
when the history is replayed: one that cannot would lose its connection at the same message again and again. So one pass over the
bytes refuses, before anything else sees them, what a decoder somewhere refuses:

JSON (RFC 8259): anything off the grammar, bytes that are not UTF-8, unpaired surrogates in escapes (section 8.2: behaviour
"unpredictable"), integers outside -2^63 ... 2^64-1 and numbers beyond the doubles (section 6).
MessagePack (its specification, "Formats"): what is cut off or goes on after the value, strings that are not UTF-8, NaN and the
infinities, extension types, map keys other than strings and integers: none of these has a form in JSON.
Both: the key ``__proto__``, for which @msgpack/msgpack refuses the whole frame.
Both: more than ``MAX_DEPTH`` levels, where decoders that recurse begin to give up (128 is the default of Rust's serde_json).

Integers of 64 bits pass, as ids are; JavaScript rounds them above 2^53. Binary passes: it is base64 in JSON.
"""

from json import loads as json_loads

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.math cimport isfinite
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memchr, memcmp, memcpy

from ..errors import ErrorCode, SynclineError

from .frames cimport utf8_valid

cdef extern from "Python.h":
    double PyOS_string_to_double(const char *s, char **endptr, void *overflow_exception) except? -1.0

cdef enum:
    _DEPTH = 128
    # The longest exact decimal form of a double is 1,077 characters; longer ones are costly to convert and nobody's.
    _NUMBER = 1100

MAX_DEPTH = _DEPTH
MAX_NUMBER = _NUMBER

cpdef int check_payload(str codec, bytes payload) except -1:
    cdef Scan scan
    if payload is None:
        raise TypeError("payload must not be None")
    scan.data = <const uint8_t *>PyBytes_AS_STRING(payload)
    scan.size = PyBytes_GET_SIZE(payload)
    scan.at = 0
    if codec == "json":
        if not utf8_valid(scan.data, scan.size):
            raise SynclineError(ErrorCode.INVALID_DATA, "the payload is not UTF-8")
        return _json(&scan)
    if codec == "msgpack":
        return _msgpack(&scan)
    raise ValueError("unknown codec")


def deliverable(str codec not None, bytes payload not None):
    try:
        check_payload(codec, payload)
    except SynclineError:
        return b"null" if codec == "json" else b"\xc0"
    return payload


def require_expressible(str codec not None, object value, int around=0):
    if codec == "json":
        _expressible(value, False, -around)
    elif codec == "msgpack":
        _expressible(value, True, -around)
    else:
        raise ValueError("unknown codec")


cdef int _expressible(object value, bint binary, int depth) except -1:
    if value is None or isinstance(value, (str, int)):
        return 0
    if isinstance(value, float):
        if not isfinite(<double>value):
            raise SynclineError(ErrorCode.INVALID_DATA, "a number that is not finite")
        return 0
    if isinstance(value, (dict, list, tuple)):
        if depth == _DEPTH:  # also what holds itself
            raise SynclineError(ErrorCode.INVALID_DATA, f"nested more than {_DEPTH} levels deep")
        if isinstance(value, dict):
            for key, item in (<dict>value).items():
                if not isinstance(key, str) and not (binary and type(key) is int):
                    raise SynclineError(ErrorCode.INVALID_DATA, f"a key that is no str but {type(key).__name__}")
                _expressible(item, binary, depth + 1)
        else:
            for item in value:
                _expressible(item, binary, depth + 1)
        return 0
    if binary and isinstance(value, (bytes, bytearray, memoryview)):
        return 0
    name = "MessagePack" if binary else "JSON"
    raise SynclineError(ErrorCode.INVALID_DATA, f"a value that {name} does not have: {type(value).__name__}")


cdef object _refusal(str why, Py_ssize_t at):
    return SynclineError(ErrorCode.INVALID_DATA, f"payload: {why} (at byte {at})")


# JSON --------------------------------------------------------------------------------------------------------------

cdef int _json(Scan *scan) except -1:
    """One value and white space. Each turn of the loop reads one value, or the beginning of one, and then what ends others."""
    cdef uint8_t[_DEPTH] open_with
    cdef int depth = 0
    cdef uint8_t byte
    while True:
        byte = _space(scan)
        if byte == c'"':
            _json_string(scan)
        elif byte == c'{' or byte == c'[':
            if depth == _DEPTH:
                raise _refusal(f"nested more than {_DEPTH} levels deep", scan.at)
            scan.at += 1
            open_with[depth] = byte
            depth += 1
            byte = _space(scan)
            if byte != open_with[depth - 1] + 2:  # } is two after {, ] two after [
                if open_with[depth - 1] == c'{':
                    _key(scan)
                continue
        elif byte == c'-' or c'0' <= byte <= c'9':
            _json_number(scan)
        elif byte == c't':
            _word(scan, b"true", 4)
        elif byte == c'f':
            _word(scan, b"false", 5)
        elif byte == c'n':
            _word(scan, b"null", 4)
        else:
            raise _refusal("not JSON", scan.at)
        # A value ended, or the container just opened is empty.
        while depth:
            byte = _space(scan)
            if byte == open_with[depth - 1] + 2:
                scan.at += 1
                depth -= 1
            elif byte == c',':
                scan.at += 1
                if open_with[depth - 1] == c'{':
                    _space(scan)
                    _key(scan)
                break
            else:
                raise _refusal("not JSON", scan.at)
        else:
            _space(scan)
            if scan.at != scan.size:
                raise _refusal("more than one value", scan.at)
            return 0


cdef inline uint8_t _space(Scan *scan) noexcept:
    """Passes white space over; the byte there, or 0 at the end, which is nothing in JSON. Reads below ``size`` only."""
    cdef uint8_t byte
    while scan.at < scan.size:
        byte = scan.data[scan.at]
        if byte > c' ' or (byte != c' ' and byte != c'\n' and byte != c'\r' and byte != c'\t'):
            return byte
        scan.at += 1
    return 0


cdef int _key(Scan *scan) except -1:
    if scan.at == scan.size or scan.data[scan.at] != c'"':
        raise _refusal("not JSON: a key is missing", scan.at)
    cdef Py_ssize_t begin = scan.at + 1, size
    _json_string(scan)
    size = scan.at - 1 - begin
    # With escapes, up to six characters for each.
    if (size == 9 and memcmp(scan.data + begin, b"__proto__", 9) == 0) or (9 < size <= 54 and _escaped_proto(scan, begin - 1)):
        raise _refusal("the key __proto__ changes objects in JavaScript", begin)
    if _space(scan) != c':':
        raise _refusal("not JSON", scan.at)
    scan.at += 1
    return 0


cdef bint _escaped_proto(Scan *scan, Py_ssize_t quote) except -1:
    """Whether the key that begins there is that name, written with escapes."""
    cdef Py_ssize_t size = scan.at - quote
    if memchr(scan.data + quote, c'\\', size) == NULL:
        return False
    return json_loads((<const char *>scan.data + quote)[:size]) == "__proto__"


cdef int _word(Scan *scan, const char *word, Py_ssize_t size) except -1:
    if scan.size - scan.at < size or memcmp(scan.data + scan.at, word, size) != 0:
        raise _refusal("not JSON", scan.at)
    scan.at += size
    return 0


cdef int _json_string(Scan *scan) except -1:
    """From the quote that begins it to after the one that ends it."""
    cdef Py_ssize_t at = scan.at + 1
    cdef uint8_t byte
    cdef int unit
    while at < scan.size:
        byte = scan.data[at]
        if byte == c'"':
            scan.at = at + 1
            return 0
        if byte < 0x20:
            break
        at += 1
        if byte != c'\\':
            continue
        if at == scan.size:
            break
        byte = scan.data[at]
        at += 1
        if byte == c'u':
            unit = unit_at(scan, at)
            at += 4
            if 0xD800 <= unit < 0xDC00:
                if scan.size - at < 2 or scan.data[at] != c'\\' or scan.data[at + 1] != c'u' \
                        or not 0xDC00 <= unit_at(scan, at + 2) < 0xE000:
                    raise _refusal("a surrogate without its other half", at - 6)
                at += 6
            elif 0xDC00 <= unit < 0xE000:
                raise _refusal("a surrogate without its other half", at - 6)
            elif unit < 0:
                raise _refusal("not JSON: four hexadecimal digits are due", at - 4)
        elif byte not in b'"\\/bfnrt':
            raise _refusal("not JSON: no such escape", at - 1)
    raise _refusal("not JSON: in a string", min(at, scan.size))


cdef int unit_at(Scan *scan, Py_ssize_t at) noexcept:
    """The UTF-16 unit of which the four hexadecimal digits are at ``at``; -1 where they are not. Reads below ``size`` only."""
    cdef int unit = 0
    cdef int index
    cdef uint8_t byte
    if scan.size - at < 4:
        return -1
    for index in range(4):
        byte = scan.data[at + index]
        if c'0' <= byte <= c'9':
            unit = unit * 16 + byte - c'0'
        elif c'a' <= byte | 0x20 <= c'f':
            unit = unit * 16 + (byte | 0x20) - c'a' + 10
        else:
            return -1
    return unit


cdef Py_ssize_t _digits(Scan *scan, Py_ssize_t at) noexcept:
    """Where the digits from ``at`` on end. Reads below ``size`` only."""
    while at < scan.size and c'0' <= scan.data[at] <= c'9':
        at += 1
    return at


cdef int _json_number(Scan *scan) except -1:
    cdef Py_ssize_t begin = scan.at
    cdef bint negative = scan.data[begin] == c'-'
    cdef Py_ssize_t first = begin + negative
    cdef Py_ssize_t end = _digits(scan, first)
    cdef Py_ssize_t whole = end - first
    cdef Py_ssize_t after
    cdef bint exponent = False
    if whole == 0 or (whole > 1 and scan.data[first] == c'0'):
        raise _refusal("not JSON: in a number", begin)
    scan.at = end
    if end < scan.size and scan.data[end] == c'.':
        scan.at = _digits(scan, end + 1)
        if scan.at == end + 1:
            raise _refusal("not JSON: in a number", begin)
    if scan.at < scan.size and scan.data[scan.at] | 0x20 == c'e':
        exponent = True
        after = scan.at + 1
        if after < scan.size and (scan.data[after] == c'+' or scan.data[after] == c'-'):
            after += 1
        scan.at = _digits(scan, after)
        if scan.at == after:
            raise _refusal("not JSON: in a number", begin)
    if scan.at - begin > _NUMBER:
        raise _refusal(f"a number of more than {_NUMBER} characters", begin)
    if scan.at == end:
        if whole < 19:
            return 0
        if negative:
            if whole == 19 and memcmp(scan.data + first, b"9223372036854775808", 19) <= 0:
                return 0
        elif whole == 19 or (whole == 20 and memcmp(scan.data + first, b"18446744073709551615", 20) <= 0):
            return 0
        raise _refusal("an integer outside -2^63 to 2^64-1", begin)
    if exponent or whole > 300:
        _finite(scan, begin)
    return 0


cdef int _finite(Scan *scan, Py_ssize_t begin) except -1:
    cdef char[_NUMBER + 1] digits
    memcpy(digits, scan.data + begin, scan.at - begin)  # at most _NUMBER: just checked
    digits[scan.at - begin] = 0
    if not isfinite(PyOS_string_to_double(digits, NULL, NULL)):
        raise _refusal("a number beyond the doubles", begin)
    return 0


# MessagePack -------------------------------------------------------------------------------------------------------

cdef int _msgpack(Scan *scan) except -1:
    """One value. ``due``: how many values are still to come on each level; keys count."""
    cdef uint64_t[_DEPTH] due
    cdef bint[_DEPTH] keyed
    cdef int depth = 0
    cdef Py_ssize_t begin
    cdef uint64_t count
    cdef uint8_t byte
    cdef bint key
    while True:
        begin = scan.at
        byte = <uint8_t>_number(scan, 1)
        key = depth > 0 and keyed[depth - 1] and due[depth - 1] % 2 == 0
        if byte <= 0x7F or byte >= 0xE0:  # fixint
            pass
        elif 0xA0 <= byte <= 0xBF:
            _msgpack_string(scan, byte & 0x1F)
            if key and byte == 0xA9 and memcmp(scan.data + scan.at - 9, b"__proto__", 9) == 0:
                raise _refusal("the key __proto__ changes objects in JavaScript", begin)
        elif 0xD9 <= byte <= 0xDB:
            count = _number(scan, 1 << (byte - 0xD9))
            _msgpack_string(scan, count)
            if key and count == 9 and memcmp(scan.data + scan.at - 9, b"__proto__", 9) == 0:
                raise _refusal("the key __proto__ changes objects in JavaScript", begin)
        elif 0xCC <= byte <= 0xCF:  # uint 8 ... 64
            _skip(scan, 1 << (byte - 0xCC))
        elif 0xD0 <= byte <= 0xD3:  # int 8 ... 64
            _skip(scan, 1 << (byte - 0xD0))
        elif key:
            raise _refusal("a map's keys are strings or integers", begin)
        elif byte == 0xC0 or byte == 0xC2 or byte == 0xC3:  # nil, false, true
            pass
        elif byte == 0xCA:  # an exponent of ones: infinite, or not a number
            if _number(scan, 4) & 0x7F800000 == 0x7F800000:
                raise _refusal("a number that is not finite", begin)
        elif byte == 0xCB:
            if _number(scan, 8) & <uint64_t>0x7FF0000000000000 == <uint64_t>0x7FF0000000000000:
                raise _refusal("a number that is not finite", begin)
        elif 0xC4 <= byte <= 0xC6:  # bin
            _skip(scan, _number(scan, 1 << (byte - 0xC4)))
        elif 0x80 <= byte <= 0x9F or 0xDC <= byte <= 0xDF:
            if byte <= 0x9F:
                count = byte & 0x0F
            else:
                count = _number(scan, 4 if byte & 1 else 2)
            if depth == _DEPTH:
                raise _refusal(f"nested more than {_DEPTH} levels deep", begin)
            keyed[depth] = byte <= 0x8F or byte >= 0xDE
            due[depth] = 2 * count if keyed[depth] else count
            depth += 1
            if count:
                continue
            depth -= 1
        elif byte == 0xC1:
            raise _refusal("not MessagePack", begin)
        else:
            raise _refusal("extension types have no form in JSON", begin)
        # A value ended: perhaps the last one of its container, and that one the last of its own.
        while depth:
            due[depth - 1] -= 1
            if due[depth - 1]:
                break
            depth -= 1
        else:
            if scan.at != scan.size:
                raise _refusal("more than one value", scan.at)
            return 0


cdef int _skip(Scan *scan, uint64_t count) except -1:
    if count > <uint64_t>(scan.size - scan.at):
        raise _refusal("cut off", scan.size)
    scan.at += <Py_ssize_t>count
    return 0


cdef uint64_t _number(Scan *scan, int size) except? 0xFFFFFFFFFFFFFFFF:
    """An unsigned integer of ``size`` bytes, the high one first."""
    cdef uint64_t value = 0
    cdef int index
    cdef Py_ssize_t at = scan.at
    _skip(scan, size)
    for index in range(size):
        value = value << 8 | scan.data[at + index]
    return value


cdef int _msgpack_string(Scan *scan, uint64_t size) except -1:
    cdef Py_ssize_t at = scan.at
    _skip(scan, size)
    if not utf8_valid(scan.data + at, scan.at - at):
        raise _refusal("a string that is not UTF-8", at)
    return 0
