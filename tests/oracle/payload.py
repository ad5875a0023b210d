"""What may be in a payload, slowly: decoders that keep nothing from sight, and rules over what they read."""

from __future__ import annotations

import json
import math
import struct
from typing import Any

MAX_DEPTH = 128
MAX_NUMBER = 1100


class Refused(Exception):
    pass


def allowed(codec: str, payload: bytes) -> bool:
    try:
        (_json if codec == "json" else _msgpack)(payload)
    except (Refused, ValueError, RecursionError):
        return False
    return True


def _json(payload: bytes) -> None:
    def whole(digits: str) -> int:
        if len(digits) > MAX_NUMBER or not -(2**63) <= int(digits) < 2**64:
            raise Refused
        return 0

    def broken(digits: str) -> float:
        if len(digits) > MAX_NUMBER or not math.isfinite(float(digits)):
            raise Refused
        return 0.0

    def constant(name: str) -> None:
        raise Refused  # NaN, Infinity, -Infinity: Python's own

    text = payload.decode("utf-8")
    # Pairs, not a dict: what a second key of the same name hides is looked at too.
    value = json.loads(text, parse_int=whole, parse_float=broken, parse_constant=constant, object_pairs_hook=tuple)
    _look(value, 0)


def _look(value: Any, depth: int) -> None:
    if isinstance(value, str):
        value.encode("utf-8")  # raises UnicodeEncodeError, a ValueError, for half a pair
    elif isinstance(value, (list, tuple)):
        if depth == MAX_DEPTH:
            raise Refused
        for item in value:
            if isinstance(value, tuple):
                if item[0] == "__proto__":
                    raise Refused
                _look(item[0], depth)
                _look(item[1], depth + 1)
            else:
                _look(item, depth + 1)


def _msgpack(payload: bytes) -> None:
    if _value(payload, 0, 0) != len(payload):
        raise Refused


def _value(data: bytes, at: int, depth: int, *, key: bool = False) -> int:
    """Where the value at ``at`` ends."""
    byte = _take(data, at, 1)[0]
    at += 1
    if key and not (
        byte <= 0x7F or 0xA0 <= byte <= 0xBF or byte in (*range(0xCC, 0xD4), *range(0xD9, 0xDC)) or byte >= 0xE0
    ):
        raise Refused
    if byte <= 0x7F or byte >= 0xE0 or byte in (0xC0, 0xC2, 0xC3):
        return at
    if 0xA0 <= byte <= 0xBF:
        return _text(data, at, byte - 0xA0)
    if byte in (0xD9, 0xDA, 0xDB):
        size = {0xD9: 1, 0xDA: 2, 0xDB: 4}[byte]
        return _text(data, at + size, int.from_bytes(_take(data, at, size), "big"))
    if byte in (0xC4, 0xC5, 0xC6):
        size = {0xC4: 1, 0xC5: 2, 0xC6: 4}[byte]
        count = int.from_bytes(_take(data, at, size), "big")
        _take(data, at + size, count)
        return at + size + count
    if byte in (0xCA, 0xCB):
        size = 4 if byte == 0xCA else 8
        if not math.isfinite(struct.unpack(">f" if size == 4 else ">d", _take(data, at, size))[0]):
            raise Refused
        return at + size
    if 0xCC <= byte <= 0xD3:
        size = (1, 2, 4, 8)[(byte - 0xCC) % 4]
        _take(data, at, size)
        return at + size
    if 0x80 <= byte <= 0x9F or 0xDC <= byte <= 0xDF:
        if byte <= 0x9F:
            count = byte & 15
        else:
            size = 2 if byte in (0xDC, 0xDE) else 4
            count = int.from_bytes(_take(data, at, size), "big")
            at += size
        if depth == MAX_DEPTH:
            raise Refused
        for _ in range(count):
            if byte <= 0x8F or byte >= 0xDE:
                begin = at
                at = _value(data, at, depth + 1, key=True)
                if data[begin:at].endswith(b"__proto__") and at - begin in (10, 11, 12, 14):
                    raise Refused
            at = _value(data, at, depth + 1)
        return at
    raise Refused


def _take(data: bytes, at: int, count: int) -> bytes:
    if at + count > len(data):
        raise Refused
    return data[at : at + count]


def _text(data: bytes, at: int, count: int) -> int:
    _take(data, at, count).decode("utf-8")
    return at + count
