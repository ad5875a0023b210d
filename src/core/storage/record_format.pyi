"""How bodies are written for the store: version, content, checksum; plain or packed. See record_format.pyx."""

from typing import final

@final
class Writer:
    """A growing buffer."""

@final
class Reader:
    """Walks a body. Every method raises ValueError rather than read past the end."""

    def __init__(self, body: bytes, version: int) -> None: ...

def pack(body: bytes, level: int = 9, cuts: tuple[int, ...] = ()) -> bytes:
    """The packed form of a plain body of entries or of a snapshot; ``body`` itself where it cannot be packed, is packed
    already or would not get smaller. O(body); the interpreter lock is free meanwhile.

    ``cuts``: where in the body another sort of content begins, ascending; each gets Huffman codes of its own.
    """

def raw_size(body: bytes) -> int:
    """How many bytes the body has, or had before it was packed. O(1). Raises ValueError for what is no body."""
