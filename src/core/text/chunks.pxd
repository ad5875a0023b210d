"""The native face of chunks.pyx, and what it shares with text.pyx about cells."""

from libc.stdint cimport int32_t, uint16_t, uint32_t
from libc.string cimport memcpy

from syncline.core.text.nodes cimport Tree

cdef enum:
    CELLS = 0  # a source of raw UTF-16; the other kinds are those of Python's str: 1, 2, 4 bytes a character

cdef void tree_write(
    Tree *self, Py_ssize_t position, int kind, const void *data, Py_ssize_t start, Py_ssize_t length, Py_ssize_t cells
) noexcept
cdef void tree_erase(Tree *self, Py_ssize_t position, Py_ssize_t length) noexcept
cdef Py_ssize_t tree_piece(Tree *self, Py_ssize_t position, Py_ssize_t end, const uint16_t **cells) noexcept
cdef Py_ssize_t tree_wide_before(Tree *self, Py_ssize_t position) noexcept
cdef Py_ssize_t tree_seek_points(Tree *self, Py_ssize_t *points) noexcept
cdef uint32_t tree_hash(Tree *self) noexcept


cdef inline bint is_high(uint16_t cell) noexcept:  # arithmetic
    return (cell & 0xFC00) == 0xD800


cdef inline bint is_low(uint16_t cell) noexcept:  # arithmetic
    return (cell & 0xFC00) == 0xDC00


cdef inline Py_ssize_t count_high(const uint16_t *cells, Py_ssize_t count) noexcept:  # reads `count` cells
    # In blocks with a counter as narrow as the cells: twice the speed, once vectorised.
    cdef Py_ssize_t found = 0, index = 0, end
    cdef uint16_t block
    while index < count:
        end = min(count, index + 16384)
        block = 0
        while index < end:
            block += is_high(cells[index])
            index += 1
        found += block
    return found


cdef inline Py_ssize_t encode(
    int kind, const void *data, Py_ssize_t start, Py_ssize_t length, uint16_t *out
) noexcept:
    """Writes ``length`` units of a source (CELLS or a kind of str) as UTF-16; how many characters lie above U+FFFF.
    """
    cdef Py_ssize_t index, wide = 0
    cdef uint32_t point
    if kind == 1:
        for index in range(length):
            out[index] = (<const unsigned char *>data)[start + index]
    elif kind == 2 or kind == CELLS:
        memcpy(out, <const uint16_t *>data + start, length * sizeof(uint16_t))
        if kind == CELLS:
            wide = count_high(out, length)
    else:
        for index in range(start, start + length):
            point = (<const uint32_t *>data)[index]
            if point > 0xFFFF:
                out[0] = <uint16_t>(0xD800 + ((point - 0x10000) >> 10))
                out[1] = <uint16_t>(0xDC00 + ((point - 0x10000) & 0x3FF))
                out += 2
                wide += 1
            else:
                out[0] = <uint16_t>point
                out += 1
    return wide


cdef inline uint32_t *decode(const uint16_t *cells, Py_ssize_t count, uint32_t *out) noexcept:
    """Writes the characters of the cells; returns where the next one goes."""
    # The text is well-formed and the ends are character boundaries, so a high half is followed by its low half.
    cdef Py_ssize_t index = 0
    while index < count:
        if is_high(cells[index]):
            out[0] = 0x10000 + ((<uint32_t>(cells[index] & 0x3FF)) << 10) + (cells[index + 1] & 0x3FF)
            index += 2
        else:
            out[0] = cells[index]
            index += 1
        out += 1
    return out
