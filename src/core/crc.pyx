"""CRC-32 of bytes, of UTF-16 cells, and of two texts joined, from the CRCs of both.

The polynomial of zlib, PNG and Ethernet (0xEDB88320, reflected); a cell counts as two bytes, the low one first, whatever
the machine. So the CRC of a text is ``zlib.crc32(text.encode("utf-16-le"))``, which a client in any language can
compute.

Sources: eight bytes a step, Kounavis and Berry, "A Systematic Approach to Building High Performance Software-based CRC
generators" (2005); joining, by multiplying with x^n modulo the polynomial over GF(2), zlib 1.2.12's crc32_combine (Mark
Adler).
"""

from libc.stdint cimport uint16_t, uint32_t

cdef uint32_t POLYNOMIAL = 0xEDB88320

# TABLES[k][byte]: what that byte does to the register when k more bytes follow it.
cdef uint32_t[8][256] TABLES
# x^(2^n) modulo the polynomial; bit 31 is x^0.
cdef uint32_t[32] POWERS
# x^(16 * n) and x^(16 * 64 * n): two steps cover the sizes of chunks.
cdef uint32_t[64] NEAR
cdef uint32_t[64] FAR


cdef uint32_t multiply(uint32_t first, uint32_t second) noexcept nogil:  # arithmetic; first is not 0
    """The product of two polynomials modulo the CRC's."""
    cdef uint32_t bit = <uint32_t>1 << 31, product = 0
    while True:
        if first & bit:
            product ^= second
            if first & (bit - 1) == 0:
                return product
        bit >>= 1
        second = (second >> 1) ^ (POLYNOMIAL if second & 1 else 0)


cdef uint32_t shift_by(Py_ssize_t cells) noexcept nogil:  # arithmetic
    """x^(16 * cells): what so many cells that follow multiply a CRC with. O(log cells)."""
    cdef uint32_t product
    cdef int power = 4
    if cells < 4096:
        return multiply(NEAR[cells & 63], FAR[cells >> 6])
    product = <uint32_t>1 << 31
    while cells:
        if cells & 1:
            product = multiply(POWERS[power & 31], product)
        cells >>= 1
        power += 1
    return product


cdef void fill_tables() noexcept:  # arithmetic
    cdef uint32_t crc
    cdef int index, table
    for index in range(256):
        crc = index
        for table in range(8):
            crc = (crc >> 1) ^ (POLYNOMIAL if crc & 1 else 0)
        TABLES[0][index] = crc
    for table in range(1, 8):
        for index in range(256):
            crc = TABLES[table - 1][index]
            TABLES[table][index] = (crc >> 8) ^ TABLES[0][crc & 0xFF]
    POWERS[0] = <uint32_t>1 << 30
    for index in range(1, 32):
        POWERS[index] = multiply(POWERS[index - 1], POWERS[index - 1])
    NEAR[0] = FAR[0] = <uint32_t>1 << 31
    for index in range(1, 64):
        NEAR[index] = multiply(NEAR[index - 1], POWERS[4])
        FAR[index] = multiply(FAR[index - 1], POWERS[10])


fill_tables()


cdef inline uint32_t step(uint32_t crc, const uint16_t *cells) noexcept nogil:  # reads four cells
    cdef uint32_t low = crc ^ (cells[0] | (<uint32_t>cells[1] << 16)), high = cells[2] | (<uint32_t>cells[3] << 16)
    return (
        TABLES[7][low & 0xFF] ^ TABLES[6][(low >> 8) & 0xFF] ^ TABLES[5][(low >> 16) & 0xFF] ^ TABLES[4][low >> 24]
        ^ TABLES[3][high & 0xFF] ^ TABLES[2][(high >> 8) & 0xFF] ^ TABLES[1][(high >> 16) & 0xFF]
        ^ TABLES[0][high >> 24]
    )


cdef uint32_t crc_cells(uint32_t crc, const uint16_t *cells, Py_ssize_t count) noexcept nogil:
    """Goes on from ``crc``, the one of all before; 0 is the CRC of nothing. Reads ``count`` cells."""
    cdef uint32_t other = 0xFFFFFFFF
    cdef Py_ssize_t index = 0, half = 0
    crc = ~crc
    if count >= 512:
        # Two halves side by side: each step waits for the one before it, not for the other half's.
        half = count // 8 * 4
        while index < half:
            crc = step(crc, cells + index)
            other = step(other, cells + half + index)
            index += 4
        crc = ~crc_combine(~crc, ~other, half)
        index = 2 * half
    while index + 4 <= count:
        crc = step(crc, cells + index)
        index += 4
    while index < count:
        other = crc ^ cells[index]
        crc = (other >> 16) ^ TABLES[1][other & 0xFF] ^ TABLES[0][(other >> 8) & 0xFF]
        index += 1
    return ~crc


cdef uint32_t crc_bytes(uint32_t crc, const unsigned char *data, Py_ssize_t count) noexcept:
    """Goes on from ``crc``, the one of all before; 0 is the CRC of nothing. Reads ``count`` bytes."""
    cdef uint32_t low, high
    cdef Py_ssize_t index = 0
    crc = ~crc
    while index + 8 <= count:
        low = crc ^ (
            data[index] | <uint32_t>data[index + 1] << 8 | <uint32_t>data[index + 2] << 16 | <uint32_t>data[index + 3] << 24
        )
        high = (
            data[index + 4] | <uint32_t>data[index + 5] << 8 | <uint32_t>data[index + 6] << 16
            | <uint32_t>data[index + 7] << 24
        )
        crc = (
            TABLES[7][low & 0xFF] ^ TABLES[6][(low >> 8) & 0xFF] ^ TABLES[5][(low >> 16) & 0xFF] ^ TABLES[4][low >> 24]
            ^ TABLES[3][high & 0xFF] ^ TABLES[2][(high >> 8) & 0xFF] ^ TABLES[1][(high >> 16) & 0xFF]
            ^ TABLES[0][high >> 24]
        )
        index += 8
    while index < count:
        crc = (crc >> 8) ^ TABLES[0][(crc ^ data[index]) & 0xFF]
        index += 1
    return ~crc


cdef uint32_t crc_combine(uint32_t first, uint32_t second, Py_ssize_t cells) noexcept nogil:  # arithmetic
    """The CRC of a text whose halves have these, the second ``cells`` long. O(log cells)."""
    return multiply(shift_by(cells), first) ^ second
