# cython: language_level=3
"""The push `document:operation` as one WebSocket frame, written from the entries of a text as they are in memory.

What ``envelopes.Push`` makes of dicts, byte for byte, without the dicts: this frame is built for every turn of every document.
Strings that need escapes go through msgspec.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_GET_LENGTH
from libc.stdint cimport int64_t, uint8_t, uint64_t

import msgspec

from ..storage.record_format cimport Writer
from ..storage.commits cimport Entry
from .frames cimport encode_frame
from ..ot.ot cimport Operation, unit_is_utf16
from ..ot.components cimport DELETE, INSERT, count_points
from ..storage.window cimport EDIT

cdef extern from "Python.h":
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *size) except NULL

cdef object _json_encode = msgspec.json.Encoder().encode

cdef enum:
    _TEXT = 0x1
    _BINARY = 0x2


cdef int _raw(Writer out, bytes data) except -1:
    return out.raw(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))


# -------------------------------------------------------------------------------------------------------------- JSON


cdef int _json_text(Writer out, str text) except -1:
    cdef Py_ssize_t size = 0, index
    cdef const uint8_t *data = <const uint8_t *>PyUnicode_AsUTF8AndSize(text, &size)
    for index in range(size):
        if data[index] < 0x20 or data[index] == 0x22 or data[index] == 0x5C:
            return _raw(out, <bytes>_json_encode(text))
    out.raw(b'"', 1)
    out.raw(data, size)
    return out.raw(b'"', 1)


cdef int _json_number(Writer out, int64_t value) except -1:
    cdef char digits[24]
    cdef int at = 24
    cdef uint64_t left = <uint64_t>value if value >= 0 else <uint64_t>(-(value + 1)) + 1
    while True:
        at -= 1
        digits[at] = <char>(0x30 + left % 10)
        left //= 10
        if left == 0:
            break
    if value < 0:
        at -= 1
        digits[at] = 0x2D
    return out.raw(&digits[at], 24 - at)


# ------------------------------------------------------------------------------------------------------- MessagePack


cdef int _head(Writer out, uint8_t tag, uint64_t value, int width) except -1:
    """A tag and a big-endian number after it."""
    cdef uint8_t bytes_[9]
    cdef int index
    bytes_[0] = tag
    for index in range(width):
        bytes_[1 + index] = <uint8_t>((value >> (8 * (width - 1 - index))) & 0xFF)
    return out.raw(bytes_, 1 + width)


cdef int _msgpack_number(Writer out, int64_t value) except -1:
    if value >= 0:
        if value < 0x80:
            return _head(out, <uint8_t>value, 0, 0)
        if value <= 0xFF:
            return _head(out, 0xCC, <uint64_t>value, 1)
        if value <= 0xFFFF:
            return _head(out, 0xCD, <uint64_t>value, 2)
        if value <= <int64_t>0xFFFFFFFF:
            return _head(out, 0xCE, <uint64_t>value, 4)
        return _head(out, 0xCF, <uint64_t>value, 8)
    if value >= -32:
        return _head(out, <uint8_t>(value & 0xFF), 0, 0)
    if value >= -128:
        return _head(out, 0xD0, <uint64_t>value, 1)
    if value >= -32768:
        return _head(out, 0xD1, <uint64_t>value, 2)
    if value >= -<int64_t>0x80000000:
        return _head(out, 0xD2, <uint64_t>value, 4)
    return _head(out, 0xD3, <uint64_t>value, 8)


cdef int _msgpack_text(Writer out, str text) except -1:
    cdef Py_ssize_t size = 0
    cdef const char *data = PyUnicode_AsUTF8AndSize(text, &size)
    if size < 32:
        _head(out, <uint8_t>(0xA0 | size), 0, 0)
    elif size <= 0xFF:
        _head(out, 0xD9, <uint64_t>size, 1)
    elif size <= 0xFFFF:
        _head(out, 0xDA, <uint64_t>size, 2)
    else:
        _head(out, 0xDB, <uint64_t>size, 4)
    return out.raw(data, size)


cdef int _msgpack_list(Writer out, Py_ssize_t count) except -1:
    if count < 16:
        return _head(out, <uint8_t>(0x90 | count), 0, 0)
    if count <= 0xFFFF:
        return _head(out, 0xDC, <uint64_t>count, 2)
    return _head(out, 0xDD, <uint64_t>count, 4)


# ----------------------------------------------------------------------------------------------------------- entries


cdef int _operation(Writer out, Operation operation, bint json) except -1:
    """Its components, as ``Operation.components`` lists them."""
    cdef Py_ssize_t index, points, used = 0
    cdef int64_t length
    if json:
        out.raw(b"[", 1)
    else:
        _msgpack_list(out, operation.count)
    for index in range(operation.count):
        length = operation.parts[index].length
        if json and index:
            out.raw(b",", 1)
        if operation.parts[index].kind == INSERT:
            text = operation.text
            if length != operation.inserted:  # one of several: its part of the text
                points = count_points(operation.text, used, length) if operation.utf16 else length
                text = operation.text[used:used + points]
                used += points
            if json:
                _json_text(out, text)
            else:
                _msgpack_text(out, text)
            continue
        if operation.parts[index].kind == DELETE:
            length = -length
        if json:
            _json_number(out, length)
        else:
            _msgpack_number(out, length)
    return out.raw(b"]", 1) if json else 0


cdef int _entry(Writer out, Entry entry, bint utf16, bint json) except -1:
    cdef Operation operation = entry.numbers(utf16)
    if json:
        _raw(out, b'{"client":')
        _json_text(out, entry.client)
        _raw(out, b',"seq":')
        _json_number(out, entry.seq)
        _raw(out, b',"operation":')
        _operation(out, operation, True)
        if entry.mark != EDIT:
            _raw(out, b',"kind":')
            _json_text(out, entry.kind)
        return out.raw(b"}", 1)
    _head(out, 0x83 if entry.mark == EDIT else 0x84, 0, 0)
    _raw(out, b"\xa6client")
    _msgpack_text(out, entry.client)
    _raw(out, b"\xa3seq")
    _msgpack_number(out, entry.seq)
    _raw(out, b"\xa9operation")
    _operation(out, operation, False)
    if entry.mark != EDIT:
        _raw(out, b"\xa4kind")
        _msgpack_text(out, entry.kind)
    return 0


def operations_frame(
    str codec not None, str document not None, int64_t revision, list entries not None, unit="utf-16", text_hash=None
):
    """Consecutive entries that end at ``revision``, where the text has ``text_hash`` if one is told. O(result).

    Raises ValueError for an unknown codec or unit, TypeError when an entry is not that of a text.
    """
    cdef bint utf16 = unit_is_utf16(unit), json = codec == "json", first = True
    cdef Writer out = Writer()
    cdef Entry entry
    if not json and codec != "msgpack":
        raise ValueError("unknown codec")
    if json:
        _raw(out, b'{"event":"document:operation","data":{"document":')
        _json_text(out, document)
        _raw(out, b',"revision":')
        _json_number(out, revision)
        _raw(out, b',"operations":[')
    else:
        _raw(out, b"\x82\xa5event\xb2document:operation\xa4data")
        _head(out, 0x83 if text_hash is None else 0x84, 0, 0)
        _raw(out, b"\xa8document")
        _msgpack_text(out, document)
        _raw(out, b"\xa8revision")
        _msgpack_number(out, revision)
        _raw(out, b"\xaaoperations")
        _msgpack_list(out, len(entries))
    for item in entries:
        if type(item) is not Entry:
            raise TypeError("not an entry of a text")
        entry = <Entry>item
        if json and not first:
            out.raw(b",", 1)
        first = False
        _entry(out, entry, utf16, json)
    if json:
        out.raw(b"]", 1)
        if text_hash is not None:
            _raw(out, b',"hash":')
            _json_number(out, <int64_t>text_hash)
        out.raw(b"}}", 2)
        return encode_frame(_TEXT, out.content())
    if text_hash is not None:
        _raw(out, b"\xa4hash")
        _msgpack_number(out, <int64_t>text_hash)
    return encode_frame(_BINARY, out.content())
