"""How an operation that is behind gets to the head: native only. See ladder.pyx."""

from typing import final

@final
class Ladder: ...
