"""What a delta looks like elsewhere. See rich/forms.pyx."""

from libc.stdint cimport uint64_t

from syncline.core.rich.components cimport Piece, Pieces

cdef str read_ops(object value, Pieces *pieces, bint trusted)
cdef list write_ops(const Piece *pieces, Py_ssize_t count, str text)
cdef bytes encode_pieces(const Piece *pieces, Py_ssize_t count, str text)
cdef str decode_pieces(bytes data, Pieces *pieces)
cdef uint64_t fingerprint(const Piece *pieces, Py_ssize_t count, str text) except? 0
