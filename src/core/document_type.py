"""The seam of document types: what a type must say about its content and its operations, and what follows from that.

A type is one module with a subclass of ``DocumentType``, and one line in types.py. Everything else (exactly once, the
window, the log, snapshots, the pipeline of the server, the clients' state machine) works with any type through this.

Words. *value*: JSON as it came from outside, not to be trusted. *content*: what a document holds, in whatever form the
type likes; it belongs to one document, and ``commit`` may change it in place. *operation*: immutable; ``parse`` makes it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from typing import Any, ClassVar, Generic, TypeVar

from .document import Document
from .errors import ErrorCode, SynclineError
from .ot import Unit
from .text0 import Side
from .typed_document import NO_LIMIT, TypedDocument, decode_typed_entries, encode_typed_entries, first_snapshot

C = TypeVar("C")
O = TypeVar("O")  # noqa: E741  # an operation


class DocumentType(ABC, Generic[C, O]):
    """Operations and content of one type. Stateless: one object serves all documents.

    The laws that its tests hold: apply(apply(c, a), b) = apply(c, compose(a, b)); TP1, with "left" for the side that
    wins ties; apply(apply(c, a), invert(a, c)) = c; apply(c, diff(c, d)) = d; load(dump(c)) = c;
    decode(encode(a)) = a.
    """

    name: ClassVar[str]
    #: Units in which positions may be counted; the first one is meant when none is named.
    units: ClassVar[tuple[Unit, ...]] = ("utf-16",)
    #: Whether a cursor is a pair of positions that operations move.
    has_cursors: ClassVar[bool] = False
    #: Whether a returning client may be told many operations as one (rejoin.py).
    composes: ClassVar[bool] = False

    # Content -------------------------------------------------------------------------------------------------

    @abstractmethod
    def empty(self) -> C:
        """The content of a new document."""

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

    def rebase(self, operation: O, other: O, side: Side) -> O:
        """``transform``, for one who commits the outcome: what an operation only says for others, and ``commit`` makes true, need not
        be moved along."""
        return self.transform(operation, other, side)

    def cost(self, operation: O, other: O) -> int:
        """About how many microseconds that takes; the sum over a rebase is bounded (``MAX_COST``)."""
        return 1

    def weight(self, operation: O) -> int:
        """What ``labour`` adds up. Kept with each committed operation."""
        return 1

    def labour(self, weight: int, others: int, count: int) -> int:
        """About what ``cost`` is in all for an operation of this weight and ``count`` others, which weigh ``others`` together. O(1)."""
        return count

    def bulk(self, operation: O) -> int:
        """About how many characters or bytes it takes to tell it: what limits of sending and of waiting count."""
        return len(self.encode(operation))

    def split(self, operation: O, limit: int = NO_LIMIT) -> list[O]:
        """The same in pieces, to be done one after the other: each is within what ``parse`` takes, and of ``bulk`` up to about ``limit``
        where that is possible: what the type cannot cut (an embed, a value) stays one. [operation] where it may go as it is."""
        return [operation]

    @abstractmethod
    def compose(self, first: O, second: O) -> O:
        """What ``first`` and then ``second`` do. Raises SynclineError."""

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

    # Positions: where a cursor may be, as JSON; what they are is the type's own.

    def move(self, operation: O, position: Any, stick: Side = "left") -> Any:
        """Where a cursor goes. An insert exactly there leaves it (the tie rule), or pushes it on with "right"."""
        return position

    def end(self, operation: O) -> Any:
        """Where its author's cursor is afterwards; None: it says nothing about that."""
        return None

    def parse_position(self, value: object) -> Any:
        """From outside. Raises SynclineError(invalid_data)."""
        if type(value) is not int or value < 0:
            raise SynclineError(ErrorCode.INVALID_DATA, "a position is a number from 0 on")
        return value

    def check_position(self, content: C, position: Any) -> None:
        """Raises SynclineError(invalid_data) for what is no position in ``content``."""
        if not self.has_cursors:
            raise SynclineError(ErrorCode.INVALID_DATA, f"documents of type {self.name} have no cursors")
        if not 0 <= position <= self.length(content):
            raise SynclineError(ErrorCode.INVALID_DATA, "a position outside of the content")

    def stroke(self, operation: O) -> tuple[int, str] | None:
        """(position, text) of an operation that inserts a text at one place and does nothing else: what is typed in a row is
        undone together. None: it is another one, or this type has no typing."""
        return None

    def is_same(self, planned: O, applied: O) -> bool:
        """Whether ``applied`` is what ``commit`` told of ``planned``."""
        return self.digest(planned) == self.digest(applied)

    # Documents -----------------------------------------------------------------------------------------------

    def open(self, id: str, generation: str, **bounds: int) -> Document | TypedDocument:
        """An empty document: ``Document``'s interface. ``bounds``: as ``Document`` has them."""
        return TypedDocument(self, id, generation, **bounds)

    def encode_entries(self, entries: Sequence[Any]) -> bytes:
        """The body of one turn in the store."""
        return encode_typed_entries(list(entries))

    def decode_entries(self, body: bytes, skip: int = 0, count: int | None = None) -> list[Any]:
        """The entries of one turn, or of several that were merged; from number ``skip`` (from 0) on at most ``count`` of
        them. Raises ValueError on a damaged body."""
        return decode_typed_entries(self, body, skip, count)

    def new_snapshot(self, value: object, limit: int) -> bytes:
        """The snapshot of revision 0 of a document that is created with a content.

        Raises SynclineError (operation_invalid, document_too_large).
        """
        return first_snapshot(self, value, limit)
