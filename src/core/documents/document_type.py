"""The seam of document types: what a type must say about its content and its operations, and what follows from that.

A type is one module with a subclass of ``DocumentType``, and one line in types.py. Everything else (exactly once, the
window, the log, snapshots, the pipeline of the server, the clients' state machine) works with any type through this.

Words. *value*: JSON as it came from outside, not to be trusted. *content*: what a document holds, in whatever form the
type likes; it belongs to one document, and ``commit`` may change it in place. *operation*: immutable; ``parse`` makes it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Sequence
from typing import Any, ClassVar, Final, Generic, TypeAlias, TypeVar

from ..errors import ErrorCode, SynclineError
from ..ot.ot import Unit
from ..values.json_values import VALUE_FACTOR
from ..values.text0 import Side
from .document import Document
from .engine import Engine

#: ``bulk`` of what ``composing`` makes, at most.
MOST_COMPOSED = 262_144

#: A content may have any size.
NO_LIMIT: Final = 2**62

#: No content comes near; what moves one may add to it without overflow.
MAX_POSITION = 2**31 - 1

C = TypeVar("C")
O = TypeVar("O")  # noqa: E741  # an operation
T = TypeVar("T")

#: ``Entry`` or ``TypedEntry``, as the document's engine has it.
AnyEntry: TypeAlias = Any


def run(steps: Generator[None, None, T]) -> T:
    """All of them, here and now; what they return."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result


class DocumentType(ABC, Generic[C, O]):
    """Operations and content of one type. Stateless: one object serves all documents.

    The laws that its tests hold: apply(apply(c, a), b) = apply(c, compose(a, b)); TP1, with "left" for the side that
    wins ties; apply(apply(c, a), invert(a, c)) = c; apply(c, diff(c, d)) = d; load(dump(c)) = c;
    decode(encode(a)) = a.
    """

    name: ClassVar[str]
    #: Units in which positions may be counted; the first one is meant when none is named.
    units: ClassVar[tuple[Unit, ...]] = ("utf-16",)
    #: Whether its history says who wrote what.
    blames: ClassVar[bool] = False
    #: Whether a client may carry what it has done over a ``drift`` without losing any: else it has the server tell it all operations.
    drifts: ClassVar[bool] = False
    #: Whether there are cursors: pairs of positions that operations move.
    has_cursors: ClassVar[bool] = False

    # Content -------------------------------------------------------------------------------------------------

    @abstractmethod
    def empty(self) -> C:
        """The content of a new document."""

    def is_empty(self, content: C) -> bool:
        """Whether it is what a new document has."""
        return bool(self.show(content) == self.show(self.empty()))

    @abstractmethod
    def parse_content(self, value: object, *, trusted: bool = False) -> C:
        """From outside, checked in one pass. ``trusted``: from a server, where a content may have grown past the bounds
        that hold for what comes in one piece. Raises SynclineError(operation_invalid)."""

    @abstractmethod
    def show(self, content: C) -> Any:
        """As a JSON value, for clients; ``parse_content`` takes it."""

    def copy(self, content: C) -> C:
        """One that shares nothing that ``commit`` changes in place. O(content)."""
        return self.parse_content(self.show(content), trusted=True)

    @abstractmethod
    def dump(self, content: C) -> str:
        """For snapshots."""

    @abstractmethod
    def load(self, dumped: str) -> C:
        """The inverse. Raises ValueError for what no ``dump`` has written."""

    @abstractmethod
    def size(self, content: C) -> int:
        """What the limit ``documents.max_length`` counts: about UTF-16 code units of its JSON."""

    def length(self, content: C) -> int:
        """How many positions a cursor has."""
        return 0

    @abstractmethod
    def hash(self, content: C) -> int:
        """32 bits for clients to compare, which depend on what is seen alone; a client in any language can compute them. O(content)."""

    def hashing(self, content: C) -> Generator[None, None, int]:
        """The same in steps of at most a few milliseconds; the content must stay as it is meanwhile."""
        yield from ()
        return self.hash(content)

    def hash_labour(self, content: C, size: int) -> int:
        """About how many microseconds that takes. ``size``: of ``content``. O(1)."""
        return size // 100

    # Operations ----------------------------------------------------------------------------------------------

    @abstractmethod
    def parse(self, value: object) -> O:
        """From outside, checked in one pass. Raises SynclineError(operation_invalid)."""

    def parse_in(self, unit: Unit, value: object) -> O:
        """``parse`` of one whose positions count ``unit``."""
        return self.parse(value)

    @abstractmethod
    def describe(self, operation: O) -> Any:
        """As a JSON value, for clients; ``parse`` takes it."""

    @abstractmethod
    def encode(self, operation: O) -> bytes:
        """For the log."""

    @abstractmethod
    def decode(self, data: bytes) -> O:
        """The inverse. Raises ValueError."""

    @abstractmethod
    def digest(self, operation: O) -> int:
        """64 bits of what it does: the same for the same operation sent again."""

    @abstractmethod
    def is_identity(self, operation: O) -> bool:
        """Whether it changes no content at all."""

    @abstractmethod
    def commit(self, content: C, size: int, operation: O, limit: int) -> tuple[C, int, O]:
        """(content after, its size, the operation as it is to be told and logged). All or nothing; takes ``content``
        over. ``size``: of ``content``. What makes the content larger than ``limit`` is refused, what makes it smaller never. With
        ``NO_LIMIT`` it was committed already, or is somebody's own: then it may also cost what it likes.

        Raises SynclineError (operation_invalid, operation_out_of_range, document_too_large).
        """

    def apply(self, content: C, operation: O) -> C:
        """``commit`` without limit."""
        return self.applied(content, operation)[0]

    def applied(self, content: C, operation: O) -> tuple[C, O]:
        """The same: the content after, and the operation as it is to be told."""
        after, _, told = self.commit(content, 0, operation, NO_LIMIT)
        return after, told

    @abstractmethod
    def transform(self, operation: O, other: O, side: Side) -> O:
        """``operation`` as it must be made after ``other``; the left one wins ties. Raises SynclineError."""

    def crossing(self, left: O, right: O) -> Generator[None, None, tuple[O, O]]:
        """(``left`` after ``right``, ``right`` after ``left``), in parts of a few milliseconds, for one who commits the outcome: what an
        operation only says for others, and ``commit`` makes true, need not be moved along. Raises SynclineError."""
        yield from ()
        return self.transform(left, right, "left"), self.transform(right, left, "right")

    def yielding(self, left: O, right: O) -> Generator[None, None, tuple[O, O]]:
        """As ``crossing``, but a value that both set is the right one's: what undo has in place of ``left``, as what others have set since
        is theirs."""
        return self.crossing(left, right)

    def cost(self, operation: O, other: O) -> int:
        """About how many microseconds ``crossing`` takes; the sum over all that one operation has to pass is bounded (``MAX_COST``)."""
        return 1

    def weight(self, operation: O) -> int:
        """What ``labour`` adds up. Kept with each committed operation."""
        return 1

    def labour(self, weight: int, others: int, count: int) -> int:
        """About what ``cost`` is in all for an operation of this weight and ``count`` others, which weigh ``others`` together. O(1)."""
        return count

    def without_claims(self, operation: O) -> O:
        """The same without what it only says for others and ``commit`` makes true, such as the value that it removes: so a client keeps and
        sends it. O(operation's components)."""
        return operation

    def bulk(self, operation: O) -> int:
        """About how many characters or bytes it takes to tell it: what limits of sending and of waiting count."""
        return len(self.encode(operation))

    def footprint(self, operation: O, size: int) -> int:
        """About how many bytes it occupies in memory. ``size``: of its encoding."""
        return VALUE_FACTOR * size

    def split(self, operation: O, limit: int = NO_LIMIT) -> list[O]:
        """The same in pieces, to be done one after the other: each is within what ``parse`` takes, and of ``bulk`` up to about ``limit``
        where that is possible: what the type cannot cut (an embed, a value) stays one. [operation] where it may go as it is."""
        return [operation]

    @abstractmethod
    def compose(self, first: O, second: O) -> O:
        """What ``first`` and then ``second`` do. Raises SynclineError."""

    def composable(self, first: O, second: O) -> bool:
        """Whether what both do as one may surely be submitted, is not large, and is composed within a few milliseconds."""
        return self.bulk(first) + self.bulk(second) <= MOST_COMPOSED

    def composing(self, some: list[tuple[O, int]]) -> Generator[None, None, list[tuple[O, int]]]:
        """The same in few operations, and how many each stands for, of such pairs: neighbours that are ``composable`` are composed, in
        steps. O(size x log n)."""
        while True:
            fewer: list[tuple[O, int]] = []
            at = 0
            while at < len(some):
                operation, count = some[at]
                at += 1
                if at < len(some) and self.composable(operation, some[at][0]):
                    operation, count = self.compose(operation, some[at][0]), count + some[at][1]
                    at += 1
                    yield
                fewer.append((operation, count))
            if len(fewer) == len(some):
                return some
            some = fewer

    @abstractmethod
    def invert(self, operation: O, content: C) -> O:
        """What undoes ``operation``, which applies to ``content``. Raises as ``commit``."""

    #: Whether ``invert_told`` is there: what ``commit`` tells is enough to undo it.
    inverts_told: ClassVar[bool] = False

    def invert_told(self, operation: O) -> O:
        """``invert`` of what ``commit`` told."""
        raise NotImplementedError

    @abstractmethod
    def diff(self, before: C, after: C) -> O:
        """An operation from one content to another that keeps what is equal, as far as that is cheap to find."""

    def drift(self, before: C, after: C) -> O:
        """``diff``, for what others did when only the outcome is known: over this a client carries its own work, and of that as much as
        can be is to stay."""
        return self.diff(before, after)

    # Positions: where a cursor may be, as JSON; what they are is the type's own.

    def parse_position(self, value: object) -> Any:
        """One end of a cursor, from outside; by default an offset. Raises SynclineError(invalid_data)."""
        if type(value) is not int or not 0 <= value <= MAX_POSITION:
            raise SynclineError(ErrorCode.INVALID_DATA, f"a position is an integer from 0 to {MAX_POSITION}")
        return value

    def check_position(self, content: C, position: Any) -> None:
        """Raises SynclineError(invalid_data) for one that ``content`` does not have."""
        if not self.has_cursors:
            raise SynclineError(ErrorCode.INVALID_DATA, f"documents of type {self.name} have no cursors")
        if position > self.length(content):
            raise SynclineError(ErrorCode.INVALID_DATA, "the cursor lies past the end of the content")

    def move(self, operation: O, position: Any, stick: Side = "left") -> Any:
        """Where a cursor goes. An insert exactly there leaves it (the tie rule), or pushes it on with "right"."""
        return position

    def places(self, operation: O) -> int:
        """About how many microseconds ``move`` takes; from 1. O(operation's components)."""
        return 1

    def end(self, operation: O) -> Any:
        """Where its author's cursor is afterwards; None: it says nothing about that."""
        return None

    def stroke(self, operation: O) -> tuple[Any, str] | None:
        """(position, text) of an operation that inserts a text at one place and does nothing else: what is typed in a row is
        undone together. None: it is another one, or this type has no typing."""
        return None

    def is_same(self, planned: O, applied: O) -> bool:
        """Whether ``applied`` is what ``commit`` told of ``planned``."""
        return self.digest(planned) == self.digest(applied)

    # Documents -----------------------------------------------------------------------------------------------

    # ValueType (value_type.py) has these four for a content that is any Python object.

    @abstractmethod
    def engine(self, max_length: int, window_bytes: int, *, undone: bool) -> Engine:
        """Of a new document: ``max_length`` bounds ``size``; ``undone``: whether anything can be undone."""

    @abstractmethod
    def encode_entries(self, entries: Sequence[Any]) -> bytes:
        """The body of one turn in the store."""

    @abstractmethod
    def decode_entries(self, body: bytes, skip: int = 0, count: int | None = None) -> list[Any]:
        """The entries of one turn, or of several that were merged; from number ``skip`` (from 0) on at most ``count`` of
        them. Raises ValueError on a damaged body."""

    @abstractmethod
    def new_snapshot(self, value: object, limit: int) -> bytes:
        """The snapshot of revision 0 of a document that is created with a content.

        Raises SynclineError (operation_invalid, document_too_large).
        """

    def open(
        self, id: str, generation: str, *, max_length: int = 16_777_216, window_bytes: int = 4_194_304, **bounds: int
    ) -> Document:
        """An empty document. ``bounds``: the others that ``Document`` has."""
        engine = self.engine(max_length, window_bytes, undone=bounds.get("undo_depth", 1) > 0)
        return Document(engine, id, generation, window_bytes=window_bytes, **bounds)

    def replay(self, content: C, bodies: Iterable[tuple[bytes, int, int]]) -> Generator[None, None, tuple[C, int]]:
        """The content after the operations of some bodies, each (body, how many to skip, how many at most), and how many those are; in
        steps. Takes ``content`` over. Raises ValueError when they do not fit."""
        count = 0
        for body, skip, most in bodies:
            entries = self.decode_entries(body, skip, most)
            yield
            try:
                for entry in entries:
                    content = self.apply(content, entry.operation)
                    yield
            except SynclineError as error:
                raise ValueError(f"an operation does not fit the content: {error.message}") from error
            count += len(entries)
        return content, count
