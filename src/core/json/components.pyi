"""Components and operations of JSON documents. See json/components.pyx."""

from typing import Any, final

MAX_COMPONENTS: int

@final
class Component:
    """One change at one place."""

@final
class Op:
    """An immutable operation on a JSON document, checked and in canonical form. ``json0.parse`` makes it."""

    @property
    def components(self) -> list[dict[str, Any]]:
        """As JSON: new lists and objects at each call, but for the values."""
    @property
    def count(self) -> int:
        """Components, edits of strings counted one by one."""
    @property
    def places(self) -> int:
        """About how many microseconds it takes to move a place past it. O(components)."""
    @property
    def weight(self) -> int:
        """What sums and products of estimate: about thirds of a microsecond that a transform past a single component takes."""
    def cost(self, other: Op) -> int:
        """At most about so many microseconds a transform of one past the other takes, but for what ``victims`` are followed. O(1) once
        both are measured."""
    def split(self, limit: int) -> list[Op]:
        """The same in pieces of at most MAX_COMPONENTS and about ``limit`` bytes of encoding, to be done one after the other: between
        components, and between and inside of the edits of a string. What else is larger stays whole. O(operation)."""
    @property
    def growth(self) -> int:
        """By how much one that tells the truth changes the size of the content."""
    def encode(self) -> bytes:
        """For the log: its JSON as MessagePack, keys sorted."""
    @property
    def digest(self) -> int:
        """64 bits of what it does: the same for the same operation sent again."""
    def is_same(self, other: Op) -> bool:
        """Whether both do the same, whatever they say is removed."""
    def without_claims(self) -> Op:
        """The same, which says null of what it removes. O(components)."""
    def __len__(self) -> int:
        """Of components."""
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

def parse_again(components: list[dict[str, Any]]) -> Op: ...

@final
class Packer:
    """Operations that are filled up one after the other."""
