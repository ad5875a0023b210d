"""The header with which a proxy says whose connection it passes on: versions 1 (text) and 2 (binary) of the PROXY protocol.

Source: "The PROXY protocol", haproxy's doc/proxy-protocol.txt (2020/03/05), sections 2.1 and 2.2. What follows the addresses in a
version 2 header (TLVs) is skipped.
"""

from __future__ import annotations

import ipaddress
from typing import Final, NamedTuple

SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
#: Of version 1, with its line end.
LINE_BYTES: Final = 107
#: Of version 2: far more than proxies send, of the 65,551 that the format allows.
HEADER_BYTES: Final = 4096

_ADDRESS_BYTES: Final = {1: 4, 2: 16}  # by family; other families are told as unknown


class Header(NamedTuple):
    """``source``: the client's address; "": the proxy's own connection (a check), or unknown. ``size``: the header's bytes."""

    source: str
    size: int


def read(data: bytes) -> Header | None:
    """The header that ``data`` begins with; None while it is not whole. Raises ValueError for anything else. O(header)."""
    if data[:12] == SIGNATURE[: len(data)]:
        return _binary(data)
    end = data.find(b"\r\n", 0, LINE_BYTES)
    if not data.startswith(b"PROXY "[: len(data)]) or (end < 0 and len(data) >= LINE_BYTES):
        raise ValueError("not a header of the PROXY protocol")
    return None if end < 0 else _text(data[:end])


def _text(line: bytes) -> Header:
    try:
        words = line.decode("ascii").split(" ")
        if words[1] == "UNKNOWN":
            return Header("", len(line) + 2)
        _, family, source, _, port, _ = words
        address = ipaddress.ip_address(source)
        if family != f"TCP{address.version if address.version == 6 else 4}" or not 0 <= int(port) < 65_536:
            raise ValueError
    except (ValueError, IndexError):
        raise ValueError("a malformed header of the PROXY protocol") from None
    return Header(str(address), len(line) + 2)


def _binary(data: bytes) -> Header | None:
    if len(data) < 16:
        return None
    version, command, family = data[12] >> 4, data[12] & 15, data[13] >> 4
    size = 16 + int.from_bytes(data[14:16], "big")
    if version != 2 or command > 1 or size > HEADER_BYTES:
        raise ValueError("a malformed header of the PROXY protocol")
    if len(data) < size:
        return None
    width = _ADDRESS_BYTES.get(family, 0)
    if command == 0 or not width:  # LOCAL, or a socket without an address
        return Header("", size)
    if size < 16 + 2 * width + 4:
        raise ValueError("a malformed header of the PROXY protocol")
    return Header(str(ipaddress.ip_address(data[16 : 16 + width])), size)
