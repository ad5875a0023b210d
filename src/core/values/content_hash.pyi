"""The hash of a document's content that is more than text. See content_hash.pyx."""

from typing import Any, final

def live_hashers() -> int:
    """Hashers alive in this process, for tests of leaks."""

def content_hash(value: Any) -> int:
    """Of a JSON value, as an unsigned 32-bit number. O(value).

    Raises TypeError for what is not JSON, ValueError for what is nested more than 80 levels deep.
    """

@final
class ContentHasher:
    """The same in parts, for large values: ``while not hasher.work(10_000)``."""

    @property
    def done(self) -> bool: ...
    @property
    def value(self) -> int:
        """The hash, once it is ``done``."""
    def __init__(self, value: Any) -> None: ...
    def work(self, labour: int) -> bool:
        """Goes on; whether it is done. Each value is one, and so are 64 characters of a string. Raises as ``content_hash``."""
