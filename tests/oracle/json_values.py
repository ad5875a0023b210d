"""JSON values, slowly and obviously: what core/values/json_values.pyx does."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any, TypeAlias

from syncline.core.errors import SynclineError
from tests.oracle.text0 import invalid, units

Value: TypeAlias = Any

#: Levels of a document: the length of a path and the depth of what is put there.
MAX_DEPTH = 64
MAX_KEY = 1024
#: The largest integer that is told from its neighbours in JavaScript (Number.MAX_SAFE_INTEGER): 2^53 + 1 reads as 2^53 there.
MAX_INTEGER = 2**53 - 1
#: Positions and indexes; no document comes near.
MAX_INDEX = 2**31 - 1


def check_value(value: object, depth: int = 0) -> Value:
    """A JSON value, its numbers in canonical form, as a copy. ``depth``: at which level of the document it goes.

    Raises SynclineError(operation_invalid): another type, a number that is not finite or not exact, a lone surrogate,
    a key that is too long or ``__proto__``, nested too deeply. O(value).
    """
    kind = type(value)
    if kind is str:
        units(value)  # type: ignore[arg-type]  # raises for lone surrogates
        return value
    if value is None or kind is bool:
        return value
    if kind is int or kind is float:
        return check_number(value)  # type: ignore[arg-type]
    if depth >= MAX_DEPTH:
        raise invalid(f"nested more than {MAX_DEPTH} levels deep")
    if kind is list:
        return [check_value(item, depth + 1) for item in value]  # type: ignore[attr-defined]
    if kind is dict:
        return {check_key(key): check_value(item, depth + 1) for key, item in value.items()}  # type: ignore[attr-defined]
    raise invalid("a value that JSON does not have")


def check_number(value: float) -> float:
    """Integers up to 2^53 - 1 as int, other finite numbers as float.

    A larger integer is the double that it is, or that JavaScript writes so (``2 ** 63`` as 9223372036854776000: the fewest digits
    that tell it from other doubles, then zeros). Any other would be rounded somewhere, and is refused: SynclineError(operation_invalid).
    """
    if type(value) is float:
        if not math.isfinite(value):
            raise invalid("a number that is not finite")
        if value.is_integer() and abs(value) <= MAX_INTEGER:
            return int(value)
        return value
    if abs(value) <= MAX_INTEGER:
        return value
    try:
        double = float(value)
    except OverflowError:
        raise invalid("a number beyond the doubles") from None
    if double == value or Decimal(repr(double)) == value:
        return double
    raise invalid("an integer beyond 2^53 - 1 that is no double")


def check_claim(value: object, depth: int) -> Value:
    """What somebody says is there and is to be removed, as ``check_value``; None for what cannot be there. O(value).

    It is never believed, so that nothing can be so odd that it cannot be taken away.
    """
    try:
        return check_value(value, depth)
    except SynclineError:
        return None


def check_key(key: object) -> str:
    if type(key) is not str:
        raise invalid("keys are strings")
    if units(key) > MAX_KEY:
        raise invalid(f"a key of more than {MAX_KEY} UTF-16 code units")
    if key == "__proto__":
        raise invalid("__proto__ is no key: it would change objects in JavaScript")
    return key


def check_index(value: object) -> int:
    if type(value) is not int or not 0 <= value <= MAX_INDEX:
        raise invalid("indexes and positions are integers from 0")
    return value


def same_value(one: Value, two: Value) -> bool:
    """Equal as JSON: ``true`` is not 1."""
    if type(one) is not type(two):
        return False
    if type(one) is dict:
        return one.keys() == two.keys() and all(same_value(value, two[key]) for key, value in one.items())
    if type(one) is list:
        return len(one) == len(two) and all(map(same_value, one, two))
    return bool(one == two)


def size(value: Value) -> int:
    """About the length of its compact JSON text in UTF-16 units: strings without escapes, numbers 8. O(value)."""
    kind = type(value)
    if kind is str:
        return units(value) + 3
    if kind is list:
        return 3 + sum(map(size, value))
    if kind is dict:
        return 3 + sum(units(key) + 3 + size(item) for key, item in value.items())
    return 8
