"""Text operations: normalise, apply, compose, transform, invert, map a cursor. See ot.pyx."""

from typing import Literal, TypeAlias, final

Unit: TypeAlias = Literal["utf-16", "unicode"]
Side: TypeAlias = Literal["left", "right"]
Components: TypeAlias = list[int | str]

@final
class Operation:
    """An immutable, canonical list of components: retain n, insert text, delete n. Lengths count ``unit``.

    Canonical: no empty component, no equal neighbours, no trailing retain. The order of inserts and deletes within
    the operation is kept: only then does a history fold into one position map exactly.
    """

    def __init__(self, components: Components, unit: Unit = "utf-16") -> None:
        """Raises SynclineError(operation_invalid): wrong types, zero or too large lengths, lone surrogates."""
    @staticmethod
    def parse(value: object, unit: Unit = "utf-16") -> Operation:
        """A list of components, or the single form {type, position, content, length}. Same errors."""
    @property
    def unit(self) -> Unit: ...
    @property
    def components(self) -> Components:
        """A new list: positive retains, negative deletes, strings insert."""
    @property
    def text(self) -> str:
        """Everything it inserts, in order."""
    @property
    def base_length(self) -> int:
        """How much of the text it names; the text must be at least this long."""
    @property
    def delta(self) -> int:
        """Length after minus length before."""
    @property
    def is_identity(self) -> bool: ...
    @property
    def has_astral(self) -> bool:
        """Whether an inserted text has a character above U+FFFF."""
    @property
    def end(self) -> int:
        """Offset, after applying, of the end of the last insert or delete; the author's cursor. 0 for the identity."""
    @property
    def digest(self) -> int:
        """64 bits of what it does, the same on every machine and in every version of Syncline. Not cryptographic."""
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

def apply(text: str, operation: Operation) -> str:
    """Returns the text after the operation. O(text).

    Raises SynclineError: operation_out_of_range, operation_invalid (splits a surrogate pair).
    """

def compose(first: Operation, second: Operation) -> Operation:
    """One operation that does what ``first`` and then ``second`` do.

    Where ``first`` deletes and ``second`` inserts, the insert comes first: then the composite, transformed as the side
    that wins ties, gives the text that its two steps would have given. As a history it does not replace them: T(x, a.b)
    is not T(T(x, a), b). Raises ValueError for mixed units, SynclineError(operation_invalid) when ``second`` splits a
    pair that ``first`` inserts.
    """

def transform(operation: Operation, other: Operation, side: Side) -> Operation:
    """``operation`` as it must be applied after ``other``. ``side``: "left" wins ties (inserts before other's).

    Raises ValueError for mixed units, SynclineError(operation_invalid) when a length overflows.
    """

def invert(operation: Operation, text: str) -> Operation:
    """The operation that undoes it; ``text`` is the one before it. O(text) with astral characters.

    Raises SynclineError: operation_out_of_range, operation_invalid (splits a surrogate pair).
    """

def map_position(position: int, operation: Operation, stick: Side = "right") -> int:
    """Where a cursor goes. An insert exactly at the cursor pushes it on with "right", leaves it with "left".

    Raises ValueError for a negative position.
    """

def to_unit(operation: Operation, text: str, unit: Unit) -> Operation:
    """The same operation counted in ``unit``; ``text`` is the one it applies to. O(text) with astral characters.

    Raises SynclineError: operation_out_of_range, operation_invalid (splits a surrogate pair).
    """

def diff(before: str, after: str, unit: Unit = "utf-16", thorough: bool = True) -> Operation:
    """What differs, as ``differences.splices`` finds it: at each place the inserted text, then the deletion. O(both), and some
    milliseconds. Not ``thorough``: a single splice, O(both).

    Raises SynclineError(operation_invalid) when ``after`` brings in a lone surrogate.
    """

def live_operations() -> int:
    """How many operations exist in this process; for leak tests."""
