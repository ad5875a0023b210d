"""The content of a rich text document, mutable and quick.

The plain text (an embed is U+FFFC) is a `Text`; beside it stand runs of (length, attributes, embed), in blocks of at most
256. Neighbours that are equal are one run, but for those that two blocks divide. So typing costs what it costs in the
plain text, and a search: over the blocks from where the last edit was, then inside one block.

Invariants: the runs' lengths add up to the text's; no run is empty; no block but the only one is empty; an embed is a run
of length 1. `apply` checks everything before it changes anything; after that only want of memory can stop it.
"""

from cpython.object cimport PyObject
from cpython.ref cimport Py_XDECREF, Py_XINCREF
from libc.stdint cimport int32_t, int64_t, uint32_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy, memmove

cimport cython

from syncline.core.values.attributes cimport compose_attributes, weight_of, without_nulls
from syncline.core.values.content_hash cimport hash_value, mix
from syncline.core.ot.ot cimport new_operation
from syncline.core.ot.components cimport (
    DELETE, INSERT, MAX_LENGTH, RETAIN, Parts, out_of_range, parts_close, parts_open, parts_push,
)
from syncline.core.rich.components cimport (
    Piece, Pieces, as_dict, attributes_same, pieces_close, pieces_open, pieces_push, pointer,
)
from syncline.core.rich.rich cimport Delta, new_delta
from syncline.core.text.text cimport Text

# Runs of a block: a scan of it is some 100 ns, and a document of 100,000 runs has 400 to 800 blocks.
cdef Py_ssize_t FULL = 256

# Of what runs weigh, hashed in one go: a millisecond or two.
cdef int64_t STEP = 100_000

# The hash of no attributes, and of no embed: null's.
cdef uint32_t NOTHING = mix(1)

cdef Py_ssize_t live = 0


def live_rich_texts() -> int:
    """How many exist in this process; for leak tests."""
    return live


@cython.final
cdef class _Block:
    """Some runs, side by side."""

    def __dealloc__(self):
        cdef Py_ssize_t index
        for index in range(self.count):
            Py_XDECREF(self.runs[index].attributes)
            Py_XDECREF(self.runs[index].embed)
        free(self.runs)

    cdef int reserve(self) except -1:
        """Room for one more."""
        cdef Py_ssize_t capacity
        cdef Run *grown
        if self.count == self.capacity:
            capacity = 2 * self.capacity if self.capacity else 4
            grown = <Run *>realloc(self.runs, capacity * sizeof(Run))
            if grown == NULL:
                raise MemoryError()
            self.runs = grown
            self.capacity = capacity
        return 0

    cdef int put(self, Py_ssize_t index, const Run *run) except -1:
        """Inserts a run; takes references of its own."""
        self.reserve()
        memmove(&self.runs[index + 1], &self.runs[index], (self.count - index) * sizeof(Run))
        self.runs[index] = run[0]
        Py_XINCREF(run.attributes)
        Py_XINCREF(run.embed)
        self.count += 1
        self.length += run.length
        return 0

    cdef void drop(self, Py_ssize_t index) noexcept:  # drops references to JSON, runs no code
        Py_XDECREF(self.runs[index].attributes)
        Py_XDECREF(self.runs[index].embed)
        self.length -= self.runs[index].length
        self.count -= 1
        memmove(&self.runs[index], &self.runs[index + 1], (self.count - index) * sizeof(Run))

    cdef bint joins(self, Py_ssize_t index) except -1:
        """Whether the run at ``index`` and the one before it could be one."""
        return (
            0 < index < self.count
            and self.runs[index].embed == NULL
            and self.runs[index - 1].embed == NULL
            and attributes_same(self.runs[index - 1].attributes, self.runs[index].attributes)
        )


cdef int32_t weigh(PyObject *attributes, PyObject *embed) except -1:
    cdef int64_t total = 0
    if attributes != NULL:
        total += weight_of(<object>attributes)
    if embed != NULL:
        total += weight_of(<object>embed)
    return <int32_t>min(total, MAX_LENGTH)


@cython.final
cdef class _RunsHasher:
    """Mixes the runs that are no plain text into the hash of the text, in whatever pieces they come: neighbours that look the same
    are one.
    """

    cdef uint32_t hash
    cdef int64_t start, length  # of the run under way
    cdef uint32_t look, embed   # hashes of its attributes and its embed, of null where it has none
    cdef bint embeds

    def __cinit__(self, uint32_t text):
        self.hash = text
        self.look = self.embed = NOTHING

    cdef int64_t add(self, _Block block, Py_ssize_t index) except -1:
        """The next run; about how much there was to look at."""
        cdef Run *run = &block.runs[index]
        cdef uint32_t look = NOTHING if run.attributes == NULL else hash_value(<object>run.attributes)
        if self.embeds or run.embed != NULL or look != self.look:
            self.end()
            self.look = look
            self.embeds = run.embed != NULL
            self.embed = hash_value(<object>run.embed) if self.embeds else NOTHING
        self.length += run.length
        return 8 + run.weight

    cdef int end(self) except -1:
        if self.length and (self.embeds or self.look != NOTHING):
            self.hash = mix(self.hash ^ <uint32_t>self.start)
            self.hash = mix(self.hash ^ <uint32_t>self.length)
            self.hash = mix(self.hash ^ self.look)
            self.hash = mix(self.hash ^ self.embed)
        self.start += self.length
        self.length = 0
        return 0


@cython.final
cdef class RichText:
    """A text beside runs of (length, attributes or embed). Typing costs what the text costs, and a short search."""

    def __cinit__(self):
        global live
        live += 1
        self.content = Text()
        self.blocks = [_Block()]

    def __dealloc__(self):
        global live
        live -= 1

    def __init__(self, Delta document=None):
        """ValueError when ``document`` is a delta that retains or deletes."""
        if self.content.size():
            raise TypeError("a RichText is filled once")
        if document is not None:
            if document.base():
                raise ValueError("that is no document: it retains or deletes")
            self.apply(document)

    # --------------------------------------------------------------------------------------------------- the runs

    cdef _Block seek(self, int64_t position):
        """Goes to the run at ``position``, which lies in [0, size]; gives its block."""
        cdef Py_ssize_t last = len(self.blocks) - 1
        cdef _Block block
        if self.block > last or position < self.block_start // 2:
            self.block = 0
            self.block_start = 0
        block = <_Block>self.blocks[self.block]
        while position < self.block_start:
            self.block -= 1
            block = <_Block>self.blocks[self.block]
            self.block_start -= block.length
        while self.block < last and position >= self.block_start + block.length:
            self.block_start += block.length
            self.block += 1
            block = <_Block>self.blocks[self.block]
        self.offset = position - self.block_start
        self.run = 0
        while self.run < block.count and self.offset >= block.runs[self.run].length:
            self.offset -= block.runs[self.run].length
            self.run += 1
        return block

    cdef _Block cut(self, int64_t position):
        """Goes to ``position``, which becomes a boundary of runs, in a block that has room for two more."""
        cdef _Block block = self.seek(position)
        cdef _Block half
        cdef Run run
        cdef Py_ssize_t kept
        if block.count + 2 > FULL:
            half = _Block()
            kept = block.count // 2
            while half.count < block.count - kept:
                half.put(half.count, &block.runs[kept + half.count])
            self.blocks.insert(self.block + 1, half)
            while block.count > kept:
                block.drop(block.count - 1)
            block = self.seek(position)
        if self.offset:
            run = block.runs[self.run]
            run.length -= <int32_t>self.offset
            block.put(self.run + 1, &run)
            block.runs[self.run].length = <int32_t>self.offset
            block.length -= run.length
            self.weight += run.weight
            self.run += 1
            self.offset = 0
        return block

    cdef int insert(self, int64_t position, int64_t length, PyObject *attributes, PyObject *embed) except -1:
        cdef _Block block = self.seek(position)
        cdef _Block before
        cdef Run run
        if embed == NULL:
            # Nearly always the run goes on in which one types: that at the position, or the one that ends there.
            if self.run < block.count and block.runs[self.run].embed == NULL:
                if attributes_same(block.runs[self.run].attributes, attributes):
                    block.runs[self.run].length += <int32_t>length
                    block.length += length
                    return 0
            if self.offset == 0 and self.run > 0 and block.runs[self.run - 1].embed == NULL:
                if attributes_same(block.runs[self.run - 1].attributes, attributes):
                    block.runs[self.run - 1].length += <int32_t>length
                    block.length += length
                    return 0
            if self.offset == 0 and self.run == 0 and self.block > 0:
                before = <_Block>self.blocks[self.block - 1]
                if before.runs[before.count - 1].embed == NULL:
                    if attributes_same(before.runs[before.count - 1].attributes, attributes):
                        before.runs[before.count - 1].length += <int32_t>length
                        before.length += length
                        self.block_start += length
                        return 0
        block = self.cut(position)
        run.attributes = attributes
        run.embed = embed
        run.length = <int32_t>length
        run.weight = weigh(attributes, embed)
        block.put(self.run, &run)
        self.weight += run.weight
        return 0

    cdef int erase(self, int64_t position, int64_t length) except -1:
        cdef _Block block
        cdef Py_ssize_t index
        cdef int64_t step
        while length:
            block = self.seek(position)
            if self.run == 0 and self.offset == 0 and block.length <= length and len(self.blocks) > 1:
                for index in range(block.count):
                    self.weight -= block.runs[index].weight
                length -= block.length
                del self.blocks[self.block]
                self.block = 0
                self.block_start = 0
                continue
            step = min(length, block.runs[self.run].length - self.offset)
            length -= step
            if step == block.runs[self.run].length:
                self.weight -= block.runs[self.run].weight
                block.drop(self.run)
            else:
                block.runs[self.run].length -= <int32_t>step
                block.length -= step
        return self.join(position)

    cdef int format(self, int64_t position, int64_t length, dict attributes) except -1:
        cdef int64_t end = position + length
        cdef dict old = None
        cdef dict new = without_nulls(attributes)
        cdef int32_t weight
        cdef _Block block
        cdef Run *run
        self.cut(end)
        self.cut(position)
        while position < end:
            block = self.seek(position)
            run = &block.runs[self.run]
            # Runs that shared their attributes go on sharing them.
            if run.attributes != pointer(old):
                old = as_dict(run.attributes)
                new = compose_attributes(old, attributes, False)
            weight = weigh(pointer(new), run.embed)
            self.weight += weight - run.weight
            run.weight = weight
            position += run.length
            Py_XINCREF(pointer(new))
            Py_XDECREF(run.attributes)  # `old` keeps them
            run.attributes = pointer(new)
            if block.joins(self.run):
                self.join(position - run.length)
        return self.join(end)

    cdef int join(self, int64_t position) except -1:
        """Makes one run of the two that meet at ``position``, if they are equal and in the same block."""
        cdef _Block block = self.seek(position)
        if self.offset == 0 and block.joins(self.run):
            block.runs[self.run - 1].length += block.runs[self.run].length
            block.length += block.runs[self.run].length
            self.weight -= block.runs[self.run].weight
            block.drop(self.run)
        return 0

    cdef int gather(self, int64_t start, int64_t end, Pieces *out, list texts) except -1:
        """Appends [start, end) as inserts. Raises as ``slice``."""
        cdef _Block block
        cdef Run *run
        cdef Py_ssize_t index
        cdef int64_t at = start, step
        if start == end:
            return 0
        texts.append(self.content.slice(start, end))
        while at < end:
            block = self.seek(at)
            for index in range(self.run, block.count):
                run = &block.runs[index]
                step = min(end - at, run.length - self.offset)
                pieces_push(out, INSERT, step, run.attributes, run.embed)
                self.offset = 0
                at += step
                if at == end:
                    break
        return 0

    cdef int require_applicable(self, Delta delta) except -1:
        """What the plain text does not check by itself: formatting stays inside, and splits no surrogate pair."""
        cdef Py_ssize_t index
        cdef int64_t at = 0
        cdef Piece *piece
        if delta.base() > self.content.size():
            raise out_of_range("the operation reaches past the end of the document")
        if self.content.astral:
            for index in range(delta.count):
                piece = &delta.pieces[index]
                if piece.kind == INSERT:
                    continue
                if piece.kind == RETAIN and piece.attributes != NULL:
                    self.content.offset_to(at, "utf-16", "utf-16")
                    self.content.offset_to(at + piece.length, "utf-16", "utf-16")
                at += piece.length
        return 0

    # ------------------------------------------------------------------------------------------------------ for all

    def __len__(self):
        """In UTF-16 code units; an embed is one."""
        return self.content.size()

    def __str__(self):
        """The plain text, an embed as U+FFFC."""
        return str(self.content)

    def __repr__(self):
        return f"<RichText of {self.content.size()} code units in {self.runs} runs>"

    @property
    def size(self):
        """What a limit counts: the length, and about what attributes and embeds take in JSON."""
        return self.content.size() + self.weight

    @property
    def runs(self):
        cdef Py_ssize_t total = 0
        for block in self.blocks:
            total += (<_Block>block).count
        return total

    def size_after(self, Delta delta not None):
        """``size`` after applying, at most: what a deletion takes along beside the text is not taken off, and runs that are
        cut in two count twice. Typing, and deleting, come out exact or lower.

        Raises SynclineError(operation_out_of_range). O(ops * search + what it formats).
        """
        cdef int64_t result = self.content.size() + self.weight + delta.inserted_units - delta.deleted_units
        cdef int64_t at = 0, end, weight
        cdef Py_ssize_t index
        cdef Piece *piece
        cdef _Block block
        if delta.base() > self.content.size():
            raise out_of_range("the operation reaches past the end of the document")
        for index in range(delta.count):
            piece = &delta.pieces[index]
            weight = weigh(piece.attributes, piece.embed)
            if piece.kind == INSERT:
                result += weight
                if self.weight:
                    block = self.seek(at)
                    # In the midst of a run: it is cut, but for a text that joins it.
                    if self.offset and (
                        piece.embed is not NULL or not attributes_same(block.runs[self.run].attributes, piece.attributes)
                    ):
                        result += block.runs[self.run].weight
                continue
            end = at + piece.length
            while weight and at < end:
                block = self.seek(at)
                result += weight + (block.runs[self.run].weight if self.offset else 0)
                at += block.runs[self.run].length - self.offset
                if at > end:
                    result += block.runs[self.run].weight
            at = end
        return result

    def hash(self):
        """The CRC-32 of the plain text as UTF-16LE, with the runs mixed in that have attributes or are an embed: docs/protocol.md,
        "Hash and healing". O(runs), and what the text's takes.
        """
        cdef _RunsHasher hasher = _RunsHasher(self.content.hash())
        cdef _Block block
        cdef Py_ssize_t index
        for block in self.blocks:
            for index in range(block.count):
                hasher.add(block, index)
        hasher.end()
        return hasher.hash

    def hashing(self):
        """The same in steps; it must stay as it is meanwhile."""
        cdef _RunsHasher hasher = _RunsHasher(self.content.hash())
        cdef _Block block
        cdef Py_ssize_t index
        cdef int64_t labour = 0
        for block in self.blocks:
            for index in range(block.count):
                labour += hasher.add(block, index)
                if labour > STEP:
                    labour = 0
                    yield
        hasher.end()
        return hasher.hash

    @property
    def hash_labour(self):
        """About how many microseconds ``hash`` takes beside the text's. O(1)."""
        runs = self.runs if len(self.blocks) < 8 else len(self.blocks) * FULL
        return self.weight // 50 + runs // 16

    def apply(self, Delta delta not None):
        """All or nothing. Raises SynclineError: operation_out_of_range, operation_invalid (splits a surrogate pair).

        O(what it deletes or formats + ops * search), and what the plain text takes.
        """
        cdef Parts parts
        cdef Py_ssize_t index
        cdef int64_t at = 0
        cdef Piece *piece
        self.require_applicable(delta)
        if delta.inserted_units or delta.deleted_units:
            parts_open(&parts)
            try:
                for index in range(delta.count):
                    parts_push(&parts, delta.pieces[index].kind, delta.pieces[index].length)
                self.content.apply(new_operation(&parts, delta.text, True))
            finally:
                parts_close(&parts)
        for index in range(delta.count):
            piece = &delta.pieces[index]
            if piece.kind == DELETE:
                self.erase(at, piece.length)
                continue
            if piece.kind == INSERT:
                self.insert(at, piece.length, piece.attributes, piece.embed)
            elif piece.attributes != NULL:
                self.format(at, piece.length, <dict>piece.attributes)
            at += piece.length

    def invert(self, Delta delta not None):
        """What undoes ``delta``, which applies to this. Raises as ``apply``. O(what it deletes or formats)."""
        cdef Pieces base
        cdef Py_ssize_t index
        cdef int64_t at = 0
        cdef Piece *piece
        cdef list texts = []
        self.require_applicable(delta)
        pieces_open(&base)
        try:
            for index in range(delta.count):
                piece = &delta.pieces[index]
                if piece.kind == INSERT:
                    continue
                if piece.kind == RETAIN and piece.attributes == NULL:
                    pieces_push(&base, RETAIN, piece.length, NULL, NULL)
                else:
                    self.gather(at, at + piece.length, &base, texts)
                at += piece.length
            return delta.inverse(new_delta(&base, "".join(texts)))
        finally:
            pieces_close(&base)

    def slice(self, int64_t start, int64_t end):
        """[start, end) as a document. Raises as ``apply``."""
        cdef Pieces pieces
        cdef list texts = []
        if start < 0 or end < start or end > self.content.size():
            raise out_of_range("the slice lies outside the document")
        pieces_open(&pieces)
        try:
            self.gather(start, end, &pieces, texts)
            return new_delta(&pieces, "".join(texts))
        finally:
            pieces_close(&pieces)

    def document(self):
        """All of it. O(size)."""
        return self.slice(0, self.content.size())

    def copy(self):
        return RichText(self.document())

    def encode(self):
        """As a delta's. O(size)."""
        return self.document().encode()

    @staticmethod
    def decode(bytes data not None):
        """From ``encode``'s bytes. Raises ValueError for a damaged body."""
        return RichText(Delta.decode(data))

    def __reduce__(self):
        return RichText, (self.document(),)
