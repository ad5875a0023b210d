"""What undoing means, slow and obvious: characters that live and die. The reference for ``syncline.core.documents.undo``.

Every character ever typed is an object that remembers when it was alive. What an edit of a client did is which
characters it brought into being and which it took away. Undoing a group flips exactly these: away with those that are
still there, back with those that it took away. A character that comes back is a new one, except to the client that
brought it back: for it the old one goes on in the new one.

Where it comes back: two characters that were ever in the text at the same time keep their order.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.oracle import ot as oracle

Step = tuple[list["Char"], list["Char"]]  # brought into being, taken away
Group = list[Step]


@dataclass(eq=False)
class Char:
    value: str
    born: int
    died: int | None = None
    former: Char | None = None  # of which it is the return,
    by: str = ""  # to this client
    returns: dict[str, Char] = field(default_factory=dict)

    def to(self, client: str) -> Char:
        """As which it goes on for the client."""
        char = self
        while client in char.returns:
            char = char.returns[client]
        return char

    def lives(self, client: str) -> list[Char]:
        """Itself and what it is the return of, as the client sees it."""
        result = [self]
        while result[-1].former is not None and result[-1].by == client:
            result.append(result[-1].former)
        return result


def met(one: Char, other: Char, now: int) -> bool:
    """Whether both were in the text at the same time."""
    return one.born < (now if other.died is None else other.died) and other.born < (
        now if one.died is None else one.died
    )


class Flips:
    def __init__(self, depth: int = 1000) -> None:
        self.line: list[Char] = []  # all that ever were, in order
        self.now = 0
        self.depth = depth
        self.stacks: dict[tuple[str, str], list[Group]] = {}

    @property
    def text(self) -> str:
        return "".join(char.value for char in self.line if char.died is None)

    def groups(self, client: str, kind: str) -> list[Group]:
        return self.stacks.setdefault((client, kind), [])

    def edit(self, client: str, components: oracle.Components, joins: bool) -> None:
        """``components`` count UTF-16 and apply to the text as it is."""
        step = self.apply(client, components, [])
        if components:
            self.groups(client, "redo").clear()
            undo = self.groups(client, "undo")
            if joins:
                undo[-1].append(step)
            else:
                undo.append([step])
                del undo[: -self.depth]

    def expected(self, client: str, kind: str) -> tuple[int, set[Char], list[Char]]:
        """(groups that stay on the stack, what must go, what must come back) for the newest group that does anything."""
        groups = self.groups(client, kind)
        for left in range(len(groups) - 1, -1, -1):
            gone: set[Char] = set()
            back: list[Char] = []
            for born, killed in reversed(groups[left]):
                back += killed
                for char in born:
                    if char in back:
                        back.remove(char)
                    elif char.to(client).died is None:
                        gone.add(char.to(client))
            if gone or back:
                return left, gone, back
        return 0, set(), []

    def flip(self, client: str, kind: str, components: oracle.Components) -> None:
        """Asserts that ``components`` undo (or redo) exactly what they should, and does it."""
        left, gone, back = self.expected(client, kind)
        born, killed = step = self.apply(client, components, back)
        assert set(killed) == gone
        assert sorted(char.value for char in born) == sorted(char.value for char in back)
        del self.groups(client, kind)[left:]
        self.groups(client, "redo" if kind == "undo" else "undo").append([step])

    def apply(self, client: str, components: oracle.Components, back: list[Char]) -> Step:
        self.now += 1
        born: list[Char] = []
        killed: list[Char] = []
        at = 0
        for atom in oracle.atoms(oracle.to_unit(components, self.text, "utf-16", "unicode"), "unicode"):
            while at < len(self.line) and self.line[at].died is not None:
                at += 1
            if atom[0] == "put":
                char = Char(atom[1], self.now)
                for former in back:
                    if former.value == char.value:
                        char.former, char.by = former, client
                        former.returns[client] = char
                born.append(char)
                self.line.insert(at, char)
            elif atom[0] == "drop":
                self.line[at].died = self.now
                killed.append(self.line[at])
            at += 1
        for char in born:
            if char.former is not None:
                self.require_order(client, char)
        return born, killed

    def require_order(self, client: str, char: Char) -> None:
        """That a returned character stands where it stood among those that are still there."""
        places = {one: place for place, one in enumerate(self.line)}
        for other in self.line:
            if other is char or other.died is not None:
                continue
            for mine in char.lives(client)[1:]:
                for theirs in other.lives(client):
                    if mine is not theirs and met(mine, theirs, self.now):
                        assert (places[mine] < places[theirs]) == (places[char] < places[other]), (
                            f"{char.value} and {other.value} have changed places"
                        )
