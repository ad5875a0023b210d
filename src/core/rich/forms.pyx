"""What a delta looks like elsewhere: as JSON (Quill's ops), as bytes (for the store), as a digest.

Works on pieces and their text, as `Delta` holds them. What is read is checked in full: from outside it may be anything,
from the store a damaged body.
"""

from cpython.long cimport PyLong_AsLongLongAndOverflow
from cpython.unicode cimport PyUnicode_DATA, PyUnicode_GET_LENGTH, PyUnicode_KIND, PyUnicode_READ, PyUnicode_Substring
from libc.stdint cimport int64_t, uint64_t

cimport cython

from msgspec import DecodeError, msgpack

from syncline.core.values.attributes cimport hash_of, read_attributes, read_embed, same_attributes, without_nulls
from syncline.core.ot.components cimport (
    DELETE, INSERT, MAX_LENGTH, RETAIN, count_points, invalid, require_well_formed, utf16_length,
)
from syncline.core.rich.components cimport Piece, Pieces, pieces_push, pointer

from syncline.core.errors import SynclineError

# More ops than any editor makes in one change; bounds the work that one request can ask for.
cdef Py_ssize_t MAX_OPS = 100_000

# Stands for an embed in texts.
cdef str OBJECT = "\uFFFC"

cdef uint64_t FNV = 1099511628211ULL


# -------------------------------------------------------------------------------------------------------- reading


cdef int64_t read_length(object value, str what) except -1:
    """A positive int of at most 2^31 - 1; bool and float are not lengths."""
    cdef int overflow = 0
    cdef int64_t length
    if type(value) is not int:
        raise invalid(f"{what} must be an integer")
    length = PyLong_AsLongLongAndOverflow(value, &overflow)
    if overflow or length > MAX_LENGTH:
        raise invalid(f"{what} over 2147483647")
    if length <= 0:
        raise invalid(f"{what} must be positive")
    return length


cdef int read_op(object value, Pieces *pieces, list texts, bint trusted) except -1:
    cdef dict op
    cdef dict attributes = None
    cdef dict embed
    cdef Py_ssize_t known = 1
    if type(value) is not dict:
        raise invalid("an op is an object")
    op = <dict>value
    if "attributes" in op:
        attributes = read_attributes(op["attributes"], trusted)
        known = 2
    if len(op) != known:
        raise invalid("an op has one of insert, retain, delete, and perhaps attributes")
    if "insert" in op:
        attributes = without_nulls(attributes)
        content = op["insert"]
        if type(content) is str:
            if not content:
                raise invalid("an inserted text must not be empty")
            require_well_formed(content)
            texts.append(content)
            pieces_push(pieces, INSERT, utf16_length(content), pointer(attributes), NULL)
        else:
            embed = read_embed(content, trusted)
            texts.append(OBJECT)
            pieces_push(pieces, INSERT, 1, pointer(attributes), pointer(embed))
    elif "retain" in op:
        if type(op["retain"]) is dict:
            raise invalid("an embed cannot be edited in place: insert another and delete it")
        pieces_push(pieces, RETAIN, read_length(op["retain"], "a retained length"), pointer(attributes), NULL)
    elif "delete" in op:
        if known == 2:
            raise invalid("a delete has no attributes")
        pieces_push(pieces, DELETE, read_length(op["delete"], "a deleted length"), NULL, NULL)
    else:
        raise invalid("an op has one of insert, retain, delete, and perhaps attributes")
    return 0


cdef str read_ops(object value, Pieces *pieces, bint trusted):
    """A list of ops, or {"ops": [...]}, appended to ``pieces``; gives the text that they insert. ``trusted`` leaves the
    bounds on size out.

    Raises SynclineError(operation_invalid).
    """
    cdef list texts = []
    cdef Py_ssize_t index, total
    if type(value) is dict:
        if len(<dict>value) != 1 or "ops" not in <dict>value:
            raise invalid("a delta is a list of ops, or an object with nothing but ops")
        value = (<dict>value)["ops"]
    if type(value) is not list and type(value) is not tuple:
        raise invalid("a delta is a list of ops")
    total = len(value)
    if not trusted and total > MAX_OPS:
        raise invalid(f"more than {MAX_OPS} ops")
    for index in range(total):
        read_op(value[index], pieces, texts, trusted)
    return <str>texts[0] if len(texts) == 1 else "".join(texts)


cdef list write_ops(const Piece *pieces, Py_ssize_t count, str text):
    """A new list of new objects; their attributes and embeds are those of the pieces, not to be changed."""
    cdef list result = []
    cdef Py_ssize_t index, points, at = 0
    cdef const Piece *piece
    cdef object what
    cdef str verb
    for index in range(count):
        piece = &pieces[index]
        if piece.kind != INSERT:
            verb, what = "retain" if piece.kind == RETAIN else "delete", piece.length
        elif piece.embed != NULL:
            verb, what = "insert", <object>piece.embed
            at += 1
        else:
            points = count_points(text, at, piece.length)
            verb, what = "insert", PyUnicode_Substring(text, at, at + points)
            at += points
        if piece.attributes == NULL:
            result.append({verb: what})
        else:
            result.append({verb: what, "attributes": <object>piece.attributes})
    return result


# ----------------------------------------------------------------------------------------------------------- as bytes


cdef bytes encode_pieces(const Piece *pieces, Py_ssize_t count, str text):
    """MessagePack: [numbers, text, table of attributes, embeds].

    A piece is length << 3 | kind << 1 | has attributes (kind 3: an embed), and the index of its attributes.
    """
    cdef list numbers = []
    cdef list table = []
    cdef list embeds = []
    cdef dict known = {}
    cdef Py_ssize_t index
    cdef const Piece *piece
    for index in range(count):
        piece = &pieces[index]
        numbers.append(
            <int64_t>piece.length << 3
            | (3 if piece.embed != NULL else piece.kind) << 1
            | (piece.attributes != NULL)
        )
        if piece.embed != NULL:
            embeds.append(<object>piece.embed)
        if piece.attributes != NULL:
            numbers.append(table_index(table, known, <dict>piece.attributes))
    return msgpack.encode((numbers, text, table, embeds))


cdef Py_ssize_t table_index(list table, dict known, dict attributes) except -1:
    """Where ``attributes`` stand in the table, by identity first: runs share theirs."""
    index = known.get(id(attributes))
    if index is None:
        digest = ("", hash_of(attributes))
        index = known.get(digest)
        if index is None or not same_attributes(attributes, <dict>table[index]):
            index = len(table)
            table.append(attributes)
            known[digest] = index
        known[id(attributes)] = index
    return index


cdef str decode_pieces(bytes data, Pieces *pieces):
    """Appends to ``pieces``; gives the text. Raises ValueError for a damaged body."""
    cdef list numbers, table, embeds
    cdef str text
    cdef Py_ssize_t at = 0, used = 0, embed = 0, points
    cdef int64_t code, length
    cdef int kind
    cdef dict attributes, embedded
    try:
        numbers, text, table, embeds = msgpack.decode(data)
        if numbers is None or text is None or table is None or embeds is None:  # typed variables take None, too
            raise ValueError("a null")
        require_well_formed(text)
        table = [read_attributes(value, True) for value in table]
        while at < len(numbers):
            code = numbers[at]
            length = code >> 3
            kind = (code >> 1) & 3
            attributes = None
            embedded = None
            if length <= 0 or length > MAX_LENGTH:
                raise ValueError("a length")
            if code & 1:
                at += 1
                if numbers[at] < 0:
                    raise ValueError("an index")
                attributes = table[numbers[at]]
            if kind == 3:
                embedded = read_embed(embeds[embed], True)
                embed += 1
                if length != 1 or text[used] != OBJECT:
                    raise ValueError("an embed")
                used += 1
                kind = INSERT
            elif kind == INSERT:
                points = count_points(text, used, length)
                if points < 0:
                    raise ValueError("the text")
                used += points
            if kind == DELETE and attributes is not None:
                raise ValueError("attributes of a delete")
            if kind == INSERT:
                attributes = without_nulls(attributes)
            pieces_push(pieces, kind, length, pointer(attributes), pointer(embedded))
            at += 1
        if used != PyUnicode_GET_LENGTH(text) or embed != len(embeds):
            raise ValueError("something is left over")
        return text
    except (DecodeError, SynclineError, RecursionError, OverflowError, LookupError, TypeError, ValueError) as error:
        raise ValueError(f"damaged delta: {error}") from error


@cython.overflowcheck(False)  # wraps on purpose
cdef uint64_t fingerprint(const Piece *pieces, Py_ssize_t count, str text) except? 0:
    # As Operation.fingerprint: FNV-1a, a step per number, with Murmur3's finish.
    cdef uint64_t state = 14695981039346656037ULL
    cdef int kind = PyUnicode_KIND(text)
    cdef void *data = PyUnicode_DATA(text)
    cdef Py_ssize_t index
    cdef const Piece *piece
    for index in range(count):
        piece = &pieces[index]
        state = (state ^ (<uint64_t>piece.length * 4 + <uint64_t>piece.kind)) * FNV
        if piece.attributes != NULL:
            state = (state ^ hash_of(<object>piece.attributes)) * FNV
        if piece.embed != NULL:
            state = (state ^ hash_of(<object>piece.embed)) * FNV
    for index in range(PyUnicode_GET_LENGTH(text)):
        state = (state ^ <uint64_t>PyUnicode_READ(kind, data, index)) * FNV
    state = (state ^ (state >> 33)) * <uint64_t>0xFF51AFD7ED558CCDULL
    state = (state ^ (state >> 33)) * <uint64_t>0xC4CEB9FE1A85EC53ULL
    return state ^ (state >> 33)
