"""JSON values as documents hold them: checked where they enter, compared, measured. See json_values.pyx."""

from typing import Any, TypeAlias

import msgspec

Value: TypeAlias = Any

MAX_DEPTH: int
MAX_KEY: int
MAX_INTEGER: int
VALUE_FACTOR: int
MAX_INDEX: int

def json_decoder(type: Any = ...) -> msgspec.json.Decoder[Any]:
    """For JSON from outside: what a number costs has a bound. By itself msgspec takes 10 us for one near the ends of the doubles, and
    a message full of them would stop a loop for seconds."""

def check_value(value: object, depth: int = 0) -> Value:
    """A JSON value, its numbers in canonical form, as a copy. ``depth``: at which level of the document it goes.

    Raises SynclineError(operation_invalid): another type, a number that is not finite or not exact, a lone surrogate,
    a key that is too long or ``__proto__``, nested too deeply. O(value).
    """

def check_number(value: float) -> float:
    """Integers up to 2^53 - 1 as int, other finite numbers as float.

    A larger integer is the double that it is, or that JavaScript writes so (``2 ** 63`` as 9223372036854776000: the fewest digits
    that tell it from other doubles, then zeros). Any other would be rounded somewhere, and is refused: SynclineError(operation_invalid).
    """

def same_value(one: Value, two: Value) -> bool:
    """Equal as JSON: ``true`` is not 1. Raises RecursionError for what is nested too deeply to be a document's."""

def exceeds(value: object, limit: int) -> bool:
    """Whether its strings, keys and values are more than ``limit`` together. O(limit)."""

def long_texts(value: Value) -> int:
    """How many bytes less than ``VALUE_FACTOR`` for each of its encoding a value takes in memory, for its long strings. O(value)."""

def size(value: Value) -> int:
    """About the length of its compact JSON text in UTF-16 units: strings without escapes, numbers 8. O(value). Raises RecursionError
    as ``same_value``."""
