"""What can be saved of a frame, slowly: tokens by regular expressions, values by decoders that take halves of surrogate pairs."""

from __future__ import annotations

import json
import re
from typing import Any

TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*(?:"|\\?$)|.', re.DOTALL)
SPACE = b" \n\r\t"


def cut_json(frame: bytes) -> tuple[list[bytes], bool]:
    if not frame.lstrip(SPACE).startswith(b"["):
        return [frame], True
    rest = frame.lstrip(SPACE)[1:]
    elements, current, depth = [], b"", 0
    while rest:
        found = TOKEN.match(rest)
        assert found is not None
        token, rest = found[0], rest[found.end() :]
        if depth == 0 and token in (b",", b"}", b"]"):
            elements.append(current)
            current = b""
            if token != b",":
                if len(elements) == 1 and not elements[0].strip(SPACE):
                    elements = []
                return elements, token == b"]" and not rest.strip(SPACE)
            continue
        depth += (token in (b"{", b"[")) - (token in (b"}", b"]"))
        current += token
    elements.append(current)
    return ([] if len(elements) == 1 and not current.strip(SPACE) else elements), False


def mended(value: Any, *, pairs: bool = True) -> Any:
    """Of a decoded value. ``pairs``: two halves beside one another are one, as in UTF-16; in UTF-8 they are not."""
    if isinstance(value, str):
        if not pairs:
            return "".join("\ufffd" if "\ud800" <= unit <= "\udfff" else unit for unit in value)
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, list):
        return [mended(item, pairs=pairs) for item in value]
    if isinstance(value, dict):
        return {mended(key, pairs=pairs): mended(item, pairs=pairs) for key, item in value.items()}
    return value


def pack(value: Any) -> bytes:
    """MessagePack, its strings as WTF-8: halves of pairs are three bytes."""
    if isinstance(value, str):
        text = value.encode("utf-8", "surrogatepass")
        return b"\xdb" + len(text).to_bytes(4, "big") + text
    if isinstance(value, list):
        return b"\xdd" + len(value).to_bytes(4, "big") + b"".join(pack(item) for item in value)
    if isinstance(value, dict):
        pairs = (pack(key) + pack(item) for key, item in value.items())
        return b"\xdf" + len(value).to_bytes(4, "big") + b"".join(pairs)
    if isinstance(value, bytes):
        return b"\xc6" + len(value).to_bytes(4, "big") + value
    assert isinstance(value, int)
    return b"\xd3" + value.to_bytes(8, "big", signed=True)


def write(value: Any) -> bytes:
    """JSON, halves of pairs as escapes."""
    return json.dumps(value).encode()
