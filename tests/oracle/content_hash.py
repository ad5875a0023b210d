"""What the hash of a content must be: docs/protocol.md, "Hash and healing", word by word."""

from __future__ import annotations

import struct
import zlib
from typing import Any


def mix(state: int) -> int:
    state = (state ^ state >> 16) * 0x85EBCA6B % 2**32
    state = (state ^ state >> 13) * 0xC2B2AE35 % 2**32
    return state ^ state >> 16


def value_hash(value: Any) -> int:
    if value is None or isinstance(value, bool):
        return mix({None: 1, False: 2, True: 3}[value])
    if isinstance(value, int | float):
        low, high = struct.unpack("<II", struct.pack("<d", value + 0.0))
        return mix(mix(high ^ 4) ^ low)
    if isinstance(value, str):
        return mix(zlib.crc32(value.encode("utf-16-le")) ^ 5)
    state = 0
    if isinstance(value, list):
        for item in value:
            state = mix(state ^ value_hash(item))
        return mix(state ^ 6)
    for key, item in value.items():
        state += mix((31 * value_hash(key) + value_hash(item)) % 2**32)
    return mix(state % 2**32 ^ 7)


def rich_hash(ops: list[dict[str, Any]]) -> int:
    """Of a rich text, character by character."""
    text = "".join(op["insert"] if isinstance(op["insert"], str) else "\ufffc" for op in ops)
    looks = [
        (None, value_hash(op.get("attributes")))
        if isinstance(op["insert"], str)
        else (op["insert"], value_hash(op.get("attributes")))
        for op in ops
        for _ in range(len(op["insert"].encode("utf-16-le")) // 2 if isinstance(op["insert"], str) else 1)
    ]
    state = zlib.crc32(text.encode("utf-16-le"))
    start = 0
    while start < len(looks):
        embed, attributes = looks[start]
        end = start + 1
        while embed is None and end < len(looks) and looks[end] == (None, attributes):
            end += 1
        if embed is not None or attributes != value_hash(None):
            for part in (start, end - start, attributes, value_hash(embed)):
                state = mix(state ^ part)
        start = end
    return state
