"""JSON values as documents hold them: checked where they enter, compared, measured.

A value is None, bool, int, float, str, a list or a dict with string keys. Every number is a double, as in JavaScript, in one
form: integers up to 2^53 - 1 as int, other finite numbers as float. Depth and keys are bounded. docs/types.md, "Numbers", has
the rule for all sides.
"""

from cpython.dict cimport PyDict_Next
from cpython.long cimport PyLong_AsLongLongAndOverflow
from cpython.object cimport PyObject
from cpython.unicode cimport PyUnicode_DATA, PyUnicode_KIND, PyUnicode_READ
from libc.math cimport isfinite
from libc.stdint cimport int64_t

from syncline.core.ot.components cimport invalid
from syncline.core.values.text0 cimport length_of

import math
from typing import Any

import msgspec

from syncline.core.errors import SynclineError

Value = Any

# Levels of a document: the length of a path and the depth of what is put there.
MAX_DEPTH = LEVELS
MAX_KEY = LONGEST_KEY
# The largest integer that is told from its neighbours in JavaScript (Number.MAX_SAFE_INTEGER): 2^53 + 1 reads as 2^53 there.
cdef int64_t LARGEST = 9_007_199_254_740_991
MAX_INTEGER = LARGEST
# Positions and indexes; no document comes near.
MAX_INDEX = LAST_INDEX

cdef object shortest = msgspec.json.Encoder().encode

# How much larger values are in memory than as bytes; but long strings are not.
VALUE_FACTOR = FACTOR
cdef Py_ssize_t LONG_TEXT = 256

# Levels that are compared and measured: more than any document has, few enough for any stack.
cdef int DEEPEST = 200


def json_decoder(type=Any):
    """For JSON from outside: what a number costs has a bound. By itself msgspec takes 10 us for one near the ends of the doubles, and a
    message full of them would stop a loop for seconds."""
    return msgspec.json.Decoder(type, float_hook=_finite)


def _finite(digits):
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError("a number beyond the doubles")
    return value


cpdef object check_value(object value, Py_ssize_t depth=0):
    """A JSON value, its numbers in canonical form, as a copy. ``depth``: at which level of the document it goes.

    Raises SynclineError(operation_invalid): another type, a number that is not finite or not exact, a lone surrogate,
    a key that is too long or ``__proto__``, nested too deeply. O(value).
    """
    cdef dict copied
    kind = type(value)
    if kind is str:
        length_of(value)  # raises for lone surrogates
        return value
    if value is None or kind is bool:
        return value
    if kind is int or kind is float:
        return check_number(value)
    if depth >= LEVELS:
        raise invalid(f"nested more than {LEVELS} levels deep")
    if kind is list:
        return [check_value(item, depth + 1) for item in <list>value]
    if kind is dict:
        copied = {}
        for key, item in (<dict>value).items():
            copied[check_key(key)] = check_value(item, depth + 1)
        return copied
    raise invalid("a value that JSON does not have")


cpdef object check_number(object value):
    """Integers up to 2^53 - 1 as int, other finite numbers as float.

    A larger integer is the double that it is, or that JavaScript writes so (``2 ** 63`` as 9223372036854776000: the fewest digits
    that tell it from other doubles, then zeros). Any other would be rounded somewhere, and is refused: SynclineError(operation_invalid).
    """
    cdef double number
    cdef int64_t integer
    cdef int overflow = 0
    if type(value) is float:
        number = value
        if not isfinite(number):
            raise invalid("a number that is not finite")
        if -LARGEST <= number <= LARGEST and number == <double><int64_t>number:
            return <int64_t>number
        return value
    integer = PyLong_AsLongLongAndOverflow(value, &overflow)
    if not overflow and -LARGEST <= integer <= LARGEST:
        return value
    try:
        double = float(value)
    except OverflowError:
        raise invalid("a number beyond the doubles") from None
    if double == value or is_written(double, value):
        return double
    raise invalid("an integer beyond 2^53 - 1 that is no double")


cdef bint is_written(double number, object value) except -1:
    """Whether ``value`` is how JavaScript writes ``number``, which it is not exactly."""
    # The fewest digits by Ryu: a tenth of what ``repr`` takes, and a message may be full of them.
    mantissa, _, exponent = shortest(abs(number)).partition(b"e")
    if not exponent:
        return False  # all of its digits, which are exact
    return str(abs(value)) == (<bytes>mantissa).replace(b".", b"").ljust(int(exponent) + 1, b"0").decode()


cdef object check_claim(object value, Py_ssize_t depth):
    """What somebody says is there and is to be removed, as ``check_value``; None for what cannot be there. O(value).

    It is never believed, so that nothing can be so odd that it cannot be taken away.
    """
    try:
        return check_value(value, depth)
    except SynclineError:
        return None


cdef str check_key(object key):
    if type(key) is not str:
        raise invalid("keys are strings")
    if length_of(key) > LONGEST_KEY:
        raise invalid(f"a key of more than {LONGEST_KEY} UTF-16 code units")
    if key == "__proto__":
        raise invalid("__proto__ is no key: it would change objects in JavaScript")
    return key


cdef Py_ssize_t check_index(object value) except -1:
    if type(value) is not int or not 0 <= value <= LAST_INDEX:
        raise invalid("indexes and positions are integers from 0")
    return value


cpdef bint same_value(object one, object two) except -1:
    """Equal as JSON: ``true`` is not 1. Raises RecursionError for what is nested too deeply to be a document's."""
    return same_below(one, two, 0)


cdef bint same_below(object one, object two, int depth) except -1:
    cdef Py_ssize_t index, place = 0
    cdef PyObject *key
    cdef PyObject *item
    if type(one) is not type(two):
        return False
    if one is two:
        return True
    if depth == DEEPEST:
        raise RecursionError("nested too deeply")
    if type(one) is list:
        if len(<list>one) != len(<list>two):
            return False
        for index in range(len(<list>one)):
            if not same_below((<list>one)[index], (<list>two)[index], depth + 1):
                return False
        return True
    if type(one) is dict:
        if len(<dict>one) != len(<dict>two):
            return False
        while PyDict_Next(one, &place, &key, &item):
            if <object>key not in <dict>two or not same_below(<object>item, (<dict>two)[<object>key], depth + 1):
                return False
        return True
    return one == two


def exceeds(value, Py_ssize_t limit):
    """Whether its strings, keys and values are more than ``limit`` together. O(limit)."""
    left, waiting = limit, [value]
    while waiting:
        one = waiting.pop()
        left -= 1
        if type(one) is str:
            left -= len(one)
        elif type(one) is list:
            left -= len(one)
            if left >= 0:
                waiting += one
        elif type(one) is dict:
            left -= len(one)
            if left >= 0:
                waiting += one
                waiting += one.values()
        if left < 0:
            return True
    return False


cpdef int64_t size(object value) except -1:
    """About the length of its compact JSON text in UTF-16 units: strings without escapes, numbers 8. O(value). Raises RecursionError
    as ``same_value``."""
    return size_below(value, 0)


cdef int64_t encoded_length(str text) noexcept:  # reads inside the string
    """Bytes of its UTF-8."""
    cdef Py_ssize_t index, length = len(text)
    cdef int kind = PyUnicode_KIND(text)
    cdef void *data = PyUnicode_DATA(text)
    cdef Py_UCS4 character
    cdef int64_t total = length
    for index in range(length):
        character = PyUnicode_READ(kind, data, index)
        total += (character > 0x7F) + (character > 0x7FF) + (character > 0xFFFF)
    return total


cpdef int64_t long_texts(object value) except -1:
    """How many bytes less than VALUE_FACTOR for each of its encoding a value takes in memory, for its long strings. O(value)."""
    cdef int64_t total = 0
    if type(value) is str:
        if len(<str>value) >= LONG_TEXT:
            return FACTOR * encoded_length(value) - <int64_t>PyUnicode_KIND(value) * len(<str>value)
    elif type(value) is list:
        for item in <list>value:
            total += long_texts(item)
    elif type(value) is dict:
        for item in (<dict>value).values():
            total += long_texts(item)
    return total


cdef int64_t size_below(object value, int depth) except -1:
    cdef int64_t total = 3
    if depth == DEEPEST:
        raise RecursionError("nested too deeply")
    if type(value) is str:
        return length_of(value) + 3
    if type(value) is list:
        for item in <list>value:
            total += size_below(item, depth + 1)
        return total
    if type(value) is dict:
        for key, item in (<dict>value).items():
            total += length_of(key) + 3 + size_below(item, depth + 1)
        return total
    return 8
