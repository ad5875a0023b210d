"""Rich text operations, compatible with Quill's Delta: parse, compose, transform, invert, apply, map a cursor.

A delta walks a document from its start: insert a text or an embed, retain n (with attributes: format), delete n. It is an
array of pieces and one text that holds everything it inserts, so that `transform`, which never changes what is inserted,
shares that text. A document is a delta of inserts only.

Invariants of a `Delta` (`pieces_push` and `load` make them true): every length is > 0; no two neighbours could be one;
inserts stand before deletes at the same place; the last piece is no plain retain; inserts carry no nulls; an embed is one
unit long, U+FFFC in the text; retained + deleted and retained + inserted are at most 2^31 - 1; the text is well-formed.
Because of insert-before-delete a history does not fold into one position map as that of ot.pyx does: rebasing is a loop.

Source: quill-delta 5.1 (Delta.ts, OpIterator.ts), whose results these are; embeds that are edited in place (retain of an
object) are not taken. Every function here is O(pieces + inserted characters + size of the attributes touched).
"""

from cpython.unicode cimport PyUnicode_GET_LENGTH, PyUnicode_KIND, PyUnicode_Substring
from libc.stdint cimport int64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

cimport cython

from typing import Any

from syncline.core.values.attributes cimport (
    compose_attributes, copied, invert_attributes, transform_attributes, weight_of,
)
from syncline.core.ot.components cimport (
    DELETE, INSERT, MAX_LENGTH, RETAIN, Points, count_points, invalid, out_of_range, points_append, points_close,
    points_open, points_text,
)
from syncline.core.rich.components cimport (
    Cursor, Piece, Pieces, as_dict, cursor_open, cursor_skip, pieces_close, pieces_open, pieces_push,
    pieces_release, pieces_same, pointer,
)
from syncline.core.rich.forms cimport decode_pieces, encode_pieces, fingerprint, read_ops, write_ops

from syncline.core.errors import SynclineError

Op = dict[str, Any]

# What a Delta and a piece occupy, rounded up.
cdef Py_ssize_t DELTA_BYTES = 176

cdef Py_ssize_t live = 0


def live_deltas() -> int:
    """How many deltas exist in this process; for leak tests."""
    return live


cdef Delta new_delta(Pieces *pieces, str text):
    """Takes what is in ``pieces``, which is empty then."""
    cdef Delta self = Delta.__new__(Delta)
    self.load(pieces, text)
    return self


@cython.final
@cython.freelist(64)
cdef class Delta:
    """An immutable, canonical list of ops: insert a text or an embed, retain n, delete n. Lengths are UTF-16 units.

    Canonical, as quill-delta's ``push`` makes it: equal neighbours are one, what is inserted stands before what is
    deleted at the same place, no plain retain at the end. A *document* is a delta of inserts only.
    """

    def __cinit__(self):
        global live
        live += 1
        self.pieces = self.local
        self.count = 0
        self.text = ""

    def __dealloc__(self):
        global live
        live -= 1
        pieces_release(self.pieces, self.count)
        if self.pieces != self.local:
            free(self.pieces)

    def __init__(self, ops=()):
        """Checks everything; see ``parse``."""
        cdef Pieces pieces
        if self.ready:
            raise TypeError("a Delta is immutable")
        pieces_open(&pieces)
        try:
            self.load(&pieces, read_ops(ops, &pieces, False))
        finally:
            pieces_close(&pieces)

    cdef int load(self, Pieces *pieces, str text) except -1:
        """Takes the pieces over, with their references; called once."""
        cdef Py_ssize_t index, count = pieces.count
        cdef int64_t retained = 0, inserted = 0, deleted = 0
        cdef Piece *last
        if count and pieces.items[count - 1].kind == RETAIN and pieces.items[count - 1].attributes == NULL:
            count -= 1
            pieces.count = count
        for index in range(count):
            last = &pieces.items[index]
            if last.kind == RETAIN:
                retained += last.length
            elif last.kind == INSERT:
                inserted += last.length
            else:
                deleted += last.length
        if retained + deleted > MAX_LENGTH or retained + inserted > MAX_LENGTH:
            raise invalid("the lengths add up to more than 2147483647")
        if count > 3:
            self.pieces = <Piece *>malloc(count * sizeof(Piece))
            if self.pieces == NULL:
                self.pieces = self.local
                raise MemoryError()
        memcpy(self.pieces, pieces.items, count * sizeof(Piece))
        pieces.count = 0
        self.count = count
        self.text = text
        self.retained = retained
        self.inserted_units = inserted
        self.deleted_units = deleted
        self.ready = True
        return 0

    @staticmethod
    def parse(value, bint trusted=False):
        """From JSON: a list of ops, or {"ops": [...]}. Copies what it keeps. O(size). ``trusted``: it is one's own, so
        that the bounds on size are left out: what each edit keeps, many edits together may exceed.

        Raises SynclineError(operation_invalid): wrong types, lengths that are not positive, lone surrogates, names that
        JavaScript's objects have by birth, numbers that JavaScript cannot hold, attributes or embeds that are too large
        or deep.
        """
        cdef Pieces pieces
        pieces_open(&pieces)
        try:
            return new_delta(&pieces, read_ops(value, &pieces, trusted))
        finally:
            pieces_close(&pieces)

    # ------------------------------------------------------------------------------------------------ what it is

    @property
    def ops(self):
        """The JSON form: new lists and objects at each call."""
        return copied(write_ops(self.pieces, self.count, self.text))

    @property
    def shown(self):
        """The same for who only reads it: attributes and embeds are not copied."""
        return write_ops(self.pieces, self.count, self.text)

    @property
    def base_length(self):
        """How much of a document it names; the document must be at least this long."""
        return self.base()

    @property
    def inserted(self):
        return self.inserted_units

    @property
    def deleted(self):
        return self.deleted_units

    @property
    def length(self):
        """Of a document: its length. Otherwise: what it retains, inserts and deletes (quill-delta's ``length``)."""
        return self.retained + self.inserted_units + self.deleted_units

    @property
    def change(self):
        """Length after minus length before."""
        return self.inserted_units - self.deleted_units

    @property
    def end(self):
        """Offset, after applying, of the end of the last change; the author's cursor. 0 for the identity."""
        return self.retained + self.inserted_units

    @property
    def is_identity(self):
        return self.count == 0

    @property
    def is_document(self):
        return self.base() == 0

    @property
    def weight(self):
        """Characters that its attributes and embeds take in JSON, about: what a limit on the size of content counts
        beside the length.
        """
        cdef int64_t total = 0
        cdef Py_ssize_t index
        for index in range(self.count):
            if self.pieces[index].attributes != NULL:
                total += weight_of(<object>self.pieces[index].attributes)
            if self.pieces[index].embed != NULL:
                total += weight_of(<object>self.pieces[index].embed)
        return total

    @property
    def footprint(self):
        """Bytes in memory, about."""
        cdef int64_t values = self.weight if self.count else 0
        return (
            DELTA_BYTES
            + self.count * <Py_ssize_t>sizeof(Piece)
            + PyUnicode_GET_LENGTH(self.text) * PyUnicode_KIND(self.text)
            + 8 * values
        )

    @property
    def digest(self):
        """64 bits of what it does, the same on every machine and in every version of Syncline. Not cryptographic."""
        return fingerprint(self.pieces, self.count, self.text)

    cdef int64_t base(self) noexcept:  # reads fields
        return self.retained + self.deleted_units

    def __eq__(self, other):
        if type(other) is not Delta:
            return NotImplemented
        return (
            self.count == (<Delta>other).count
            and self.text == (<Delta>other).text
            and pieces_same(self.pieces, (<Delta>other).pieces, self.count) != 0
        )

    def __hash__(self):
        return <Py_hash_t>(fingerprint(self.pieces, self.count, self.text) >> 1)

    def __repr__(self):
        return f"Delta({self.ops!r})"

    def __reduce__(self):
        return _decoded, (self.encode(),)

    # -------------------------------------------------------------------------------------------------- the verbs

    def compose(self, Delta other not None):
        """One delta that does what this and then ``other`` do. O(ops + inserted).

        Raises SynclineError(operation_invalid) when ``other`` splits a surrogate pair that this inserts, or lengths
        overflow.
        """
        cdef Pieces out
        cdef Points points
        cdef Cursor first, second
        cdef Py_ssize_t used_first = 0, used_second = 0, taken
        cdef int64_t step
        cdef dict attributes
        # Nothing inserted is dropped or interleaved: then the text is one of the two, whole.
        cdef bint keeps_first = other.inserted_units == 0 and other.deleted_units == 0
        cdef bint gathers = not keeps_first and self.inserted_units != 0
        # Typing puts one text into the other, whole: no need to go through both character by character.
        cdef bint splices = gathers and other.deleted_units == 0 and inserts(other) == 1
        cdef str text = self.text if keeps_first else other.text
        if other.count == 0:
            return self
        if self.count == 0:
            return other
        gathers = gathers and not splices
        pieces_open(&out)
        points_open(&points)
        cursor_open(&first, self.pieces, self.count)
        cursor_open(&second, other.pieces, other.count)
        try:
            while first.at != first.end or second.at != second.end:
                if second.at != second.end and second.at.kind == INSERT:
                    pieces_push(&out, INSERT, second.left, second.at.attributes, second.at.embed)
                    if gathers:
                        taken = count_points(other.text, used_second, second.left)
                        points_append(&points, other.text, used_second, taken)
                        used_second += taken
                    elif splices:
                        text = spliced(self.text, used_first, other.text)
                    cursor_skip(&second, second.left)
                    continue
                if first.at != first.end and first.at.kind == DELETE:
                    pieces_push(&out, DELETE, first.left, NULL, NULL)
                    cursor_skip(&first, first.left)
                    continue
                step = min(first.left, second.left)
                if first.at != first.end and first.at.kind == INSERT:
                    taken = count_points(self.text, used_first, step)
                    if taken < 0:
                        raise invalid("an operation may not split a surrogate pair")
                    if second.at == second.end or second.at.kind == RETAIN:
                        if second.at == second.end or second.at.attributes == NULL:
                            pieces_push(&out, INSERT, step, first.at.attributes, first.at.embed)
                        else:
                            attributes = compose_attributes(
                                as_dict(first.at.attributes), <dict>second.at.attributes, False
                            )
                            pieces_push(&out, INSERT, step, pointer(attributes), first.at.embed)
                        if gathers:
                            points_append(&points, self.text, used_first, taken)
                    used_first += taken
                elif second.at != second.end and second.at.kind == DELETE:
                    pieces_push(&out, DELETE, step, NULL, NULL)
                elif second.at == second.end or second.at.attributes == NULL:
                    pieces_push(&out, RETAIN, step, first.at.attributes if first.at != first.end else NULL, NULL)
                elif first.at == first.end or first.at.attributes == NULL:
                    pieces_push(&out, RETAIN, step, second.at.attributes, NULL)
                else:
                    attributes = compose_attributes(<dict>first.at.attributes, <dict>second.at.attributes, True)
                    pieces_push(&out, RETAIN, step, pointer(attributes), NULL)
                if first.at != first.end:
                    cursor_skip(&first, step)
                if second.at != second.end:
                    cursor_skip(&second, step)
            return new_delta(&out, points_text(&points) if gathers else text)
        finally:
            pieces_close(&out)
            points_close(&points)

    def transform(self, Delta other not None, bint priority=False, bint yields=False):
        """``other`` as it must be applied after this one. O(ops).

        ``priority``: this one came first: what it inserts stands before what other inserts there, its attributes win; with ``yields``
        the attributes of the one that has no priority.
        The server computes ``applied.transform(incoming, False)``, a client ``mine.transform(theirs, True)``. Raises
        SynclineError(operation_invalid) when a length overflows.
        """
        cdef Pieces out
        cdef Cursor first, second
        cdef int64_t step
        cdef dict attributes
        if self.count == 0:
            return other
        pieces_open(&out)
        cursor_open(&first, self.pieces, self.count)
        cursor_open(&second, other.pieces, other.count)
        try:
            # Behind other's end there are plain retains only.
            while second.at != second.end:
                if (
                    first.at != first.end
                    and first.at.kind == INSERT
                    and (priority or second.at.kind != INSERT)
                ):
                    pieces_push(&out, RETAIN, first.left, NULL, NULL)
                    cursor_skip(&first, first.left)
                    continue
                if second.at.kind == INSERT:
                    pieces_push(&out, INSERT, second.left, second.at.attributes, second.at.embed)
                    cursor_skip(&second, second.left)
                    continue
                step = min(first.left, second.left)
                if first.at != first.end and first.at.kind == DELETE:
                    pass  # gone already
                elif second.at.kind == DELETE:
                    pieces_push(&out, DELETE, step, NULL, NULL)
                elif (
                    second.at.attributes == NULL
                    or first.at == first.end
                    or first.at.attributes == NULL
                    or priority == yields
                ):
                    pieces_push(&out, RETAIN, step, second.at.attributes, NULL)
                else:
                    attributes = transform_attributes(<dict>first.at.attributes, <dict>second.at.attributes, True)
                    pieces_push(&out, RETAIN, step, pointer(attributes), NULL)
                if first.at != first.end:
                    cursor_skip(&first, step)
                cursor_skip(&second, step)
            return new_delta(&out, other.text)
        finally:
            pieces_close(&out)

    def transform_position(self, int64_t position, bint priority=False):
        """Where a cursor goes; an insert exactly at the cursor pushes it on, unless ``priority``. ValueError when
        negative.
        """
        cdef int64_t at = 0
        cdef Py_ssize_t index
        cdef Piece *piece
        if position < 0:
            raise ValueError("a position must not be negative")
        for index in range(self.count):
            if at > position:
                break
            piece = &self.pieces[index]
            if piece.kind == DELETE:
                position -= min(<int64_t>piece.length, position - at)
                continue
            if piece.kind == INSERT and (at < position or not priority):
                position += piece.length
            at += piece.length
        return position

    def invert(self, Delta base not None):
        """What undoes this one, which applies to the document ``base``. Raises as ``apply``. O(ops + base)."""
        require_document(self, base)
        return self.inverse(base)

    cdef Delta inverse(self, Delta base):
        """``base`` may retain where this retains plainly: what it has there is not asked for."""
        cdef Pieces out
        cdef Points points
        cdef Cursor document
        cdef Py_ssize_t index, used = 0, taken
        cdef int64_t want, step
        cdef Piece *piece
        cdef dict attributes
        pieces_open(&out)
        points_open(&points)
        cursor_open(&document, base.pieces, base.count)
        try:
            for index in range(self.count):
                piece = &self.pieces[index]
                if piece.kind == INSERT:
                    pieces_push(&out, DELETE, piece.length, NULL, NULL)
                    continue
                want = piece.length
                while want:
                    step = min(want, document.left)
                    taken = 0
                    if document.at != document.end and document.at.kind == INSERT:
                        taken = count_points(base.text, used, step)
                        if taken < 0:
                            raise invalid("an operation may not split a surrogate pair")
                    if piece.kind == DELETE:
                        pieces_push(&out, INSERT, step, document.at.attributes, document.at.embed)
                        points_append(&points, base.text, used, taken)
                    elif piece.attributes == NULL:
                        pieces_push(&out, RETAIN, step, NULL, NULL)
                    else:
                        attributes = invert_attributes(<dict>piece.attributes, as_dict(document.at.attributes))
                        pieces_push(&out, RETAIN, step, pointer(attributes), NULL)
                    used += taken
                    want -= step
                    if document.at != document.end:
                        cursor_skip(&document, step)
            return new_delta(&out, points_text(&points))
        finally:
            pieces_close(&out)
            points_close(&points)

    def apply(self, Delta document not None):
        """The document after this one. O(document): ``rich_text.RichText`` is for large ones.

        Raises SynclineError: operation_out_of_range, operation_invalid (splits a surrogate pair). ValueError when
        ``document`` is none.
        """
        require_document(self, document)
        return document.compose(self)

    # ---------------------------------------------------------------------------------------------------- as bytes

    def encode(self):
        """Compact; the same delta may have several encodings (the order of keys). No checksum: the container has one.
        """
        return encode_pieces(self.pieces, self.count, self.text)

    @staticmethod
    def decode(bytes data not None):
        """From ``encode``'s bytes. Raises ValueError for a damaged body."""
        cdef Pieces pieces
        pieces_open(&pieces)
        try:
            return new_delta(&pieces, decode_pieces(data, &pieces))
        except SynclineError as error:
            raise ValueError(f"damaged delta: {error}") from error
        finally:
            pieces_close(&pieces)


def _decoded(data):
    return Delta.decode(data)  # pickle finds functions by name, no static methods


cdef Py_ssize_t inserts(Delta delta) noexcept:  # reads fields
    cdef Py_ssize_t index, found = 0
    for index in range(delta.count):
        found += delta.pieces[index].kind == INSERT
    return found


cdef str spliced(str text, Py_ssize_t at, str inserted):
    """``inserted`` before the character ``at`` of the text."""
    cdef Py_ssize_t length = PyUnicode_GET_LENGTH(text)
    if at == 0:
        return inserted + text
    if at == length:
        return text + inserted
    return PyUnicode_Substring(text, 0, at) + inserted + PyUnicode_Substring(text, at, length)


cdef int require_document(Delta delta, Delta document) except -1:
    if document.base():
        raise ValueError("that is no document: it retains or deletes")
    if delta.base() > document.inserted_units:
        raise out_of_range("the operation reaches past the end of the document")
    return 0
