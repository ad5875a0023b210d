"""Rich text operations, compatible with Quill's Delta. See rich.pyx."""

from typing import Any, TypeAlias, final

Op: TypeAlias = dict[str, Any]

@final
class Delta:
    """An immutable, canonical list of ops: insert a text or an embed, retain n, delete n. Lengths are UTF-16 units.

    Canonical, as quill-delta's ``push`` makes it: equal neighbours are one, what is inserted stands before what is deleted at
    the same place, no plain retain at the end. A *document* is a delta of inserts only.
    """

    def __init__(self, ops: list[Op] | dict[str, list[Op]] = ...) -> None:
        """Checks everything; see ``parse``."""
    @staticmethod
    def parse(value: object, trusted: bool = False) -> Delta:
        """From JSON: a list of ops, or {"ops": [...]}. Copies what it keeps. O(size). ``trusted``: it is one's own, so
        that the bounds on size are left out: what each edit keeps, many edits together may exceed.

        Raises SynclineError(operation_invalid): wrong types, lengths that are not positive, lone surrogates, names that
        JavaScript's objects have by birth, numbers that JavaScript cannot hold, attributes or embeds that are too large or deep.
        """
    @staticmethod
    def decode(data: bytes) -> Delta:
        """From ``encode``'s bytes. Raises ValueError for a damaged body."""
    def encode(self) -> bytes:
        """Compact; the same delta may have several encodings (the order of keys). No checksum: the container has one."""
    @property
    def ops(self) -> list[Op]:
        """The JSON form: new lists and objects at each call."""

    @property
    def shown(self) -> list[Op]:
        """The same for who only reads it: attributes and embeds are not copied."""
    @property
    def text(self) -> str:
        """Everything it inserts, an embed as U+FFFC."""
    @property
    def base_length(self) -> int:
        """How much of a document it names; the document must be at least this long."""
    @property
    def inserted(self) -> int: ...
    @property
    def deleted(self) -> int: ...
    @property
    def length(self) -> int:
        """Of a document: its length. Otherwise: what it retains, inserts and deletes (quill-delta's ``length``)."""
    @property
    def change(self) -> int:
        """Length after minus length before."""
    @property
    def end(self) -> int:
        """Offset, after applying, of the end of the last change; the author's cursor. 0 for the identity."""
    @property
    def is_identity(self) -> bool: ...
    @property
    def is_document(self) -> bool: ...
    @property
    def weight(self) -> int:
        """Characters that its attributes and embeds take in JSON, about: what a limit on the size of content counts
        beside the length."""
    @property
    def footprint(self) -> int:
        """Bytes in memory, about."""
    @property
    def digest(self) -> int:
        """64 bits of what it does, the same on every machine and in every version of Syncline. Not cryptographic."""
    def compose(self, other: Delta) -> Delta:
        """One delta that does what this and then ``other`` do. Raises SynclineError(operation_invalid) when ``other`` splits a
        surrogate pair that this inserts, or lengths overflow. O(ops + inserted)."""
    def transform(self, other: Delta, priority: bool = False, yields: bool = False) -> Delta:
        """``other`` as it must be applied after this one. ``priority``: this one came first: it inserts before other's, its attributes win;
        with ``yields`` those of the one without priority. The server computes ``applied.transform(incoming, False)``, a client
        ``incoming... .transform(applied, True)``. Raises SynclineError(operation_invalid) when a length overflows. O(ops)."""
    def transform_position(self, position: int, priority: bool = False) -> int:
        """Where a cursor goes; an insert exactly at the cursor pushes it on, unless ``priority``. ValueError when negative."""
    def invert(self, base: Delta) -> Delta:
        """What undoes this one, which applies to the document ``base``. Raises as ``apply``. O(ops + base)."""
    def apply(self, document: Delta) -> Delta:
        """The document after this one. O(document): ``rich_text.RichText`` is for large ones.

        Raises SynclineError: operation_out_of_range, operation_invalid (splits a surrogate pair). ValueError when ``document``
        is none.
        """
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

def live_deltas() -> int:
    """How many deltas exist in this process; for leak tests."""
