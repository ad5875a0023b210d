"""A text as a plain str, slow and obvious: the reference for ``syncline.core.text.text``. Offsets are UTF-16 code units."""

from __future__ import annotations

import zlib


class Refused(Exception):
    """With the code of the error."""


class Text:
    def __init__(self, text: str = "") -> None:
        self.text = text

    def __str__(self) -> str:
        return self.text

    def __len__(self) -> int:
        return len(self.text.encode("utf-16-le")) // 2

    def point(self, offset: int) -> int:
        """The offset in characters."""
        if not 0 <= offset <= len(self):
            raise Refused("operation_out_of_range")
        try:
            return len(self.text.encode("utf-16-le")[: 2 * offset].decode("utf-16-le"))
        except UnicodeDecodeError:
            raise Refused("operation_invalid") from None

    def splice(self, position: int, deleted: int, inserted: str) -> None:
        if deleted < 0 or not 0 <= position <= position + deleted <= len(self):
            raise Refused("operation_out_of_range")
        start, end = self.point(position), self.point(position + deleted)
        self.text = self.text[:start] + inserted + self.text[end:]

    def hash(self) -> int:
        return zlib.crc32(self.text.encode("utf-16-le"))


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def zigzag(number: int) -> int:
    return 2 * number if number >= 0 else -2 * number - 1


def pack(splices: list[tuple[int, int, str]]) -> bytes:
    """What ``Text.replay`` takes."""
    out = [varint(len(splices))]
    end = 0
    for position, deleted, inserted in splices:
        length = len(inserted.encode("utf-16-le")) // 2
        out += varint(zigzag(position - end)), varint(deleted), varint(length)
        end = position + length
    return b"".join(out) + "".join(inserted for _, _, inserted in splices).encode()
