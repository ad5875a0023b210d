"""A document that forgets nothing, slow and obvious: the reference for ``syncline.core.documents.document``."""

from __future__ import annotations

from typing import NamedTuple

from tests.oracle import ot as oracle


class Committed(NamedTuple):
    client: str
    seq: int
    unit: str
    submitted: oracle.Components
    components: dict[str, oracle.Components]  # by unit


class Refused(Exception):
    """With the code of the error."""


class Document:
    def __init__(self, max_length: int = 1_000_000) -> None:
        self.texts = [""]  # by revision
        self.history: list[Committed] = []
        self.users: dict[str, str] = {}
        self.max_length = max_length

    @property
    def revision(self) -> int:
        return len(self.history)

    @property
    def text(self) -> str:
        return self.texts[-1]

    def last_seq(self, client: str) -> int:
        return max((done.seq for done in self.history if done.client == client), default=0)

    def receive(
        self, client: str, user: str, seq: int, base: int, components: oracle.Components, unit: str
    ) -> tuple[int, bool]:
        """(revision, duplicate). Raises Refused."""
        if base > self.revision:
            raise Refused("revision_unknown")
        if self.users.get(client, user) != user:
            raise Refused("client_taken")
        submitted = oracle.canonical(components, unit)
        for index, done in enumerate(self.history):
            if (done.client, done.seq) == (client, seq):
                if lengths(done.submitted, done.unit) != lengths(submitted, unit):
                    raise Refused("sequence_conflict")
                return index + 1, True
        if seq < self.last_seq(client):
            raise Refused("sequence_conflict")
        try:
            oracle.apply(self.texts[base], submitted, unit)
        except oracle.Refused as error:
            # Half a pair is looked for at the head only: the pair may have been deleted since.
            if "past" in str(error):
                raise Refused("operation_out_of_range") from error
        moved = submitted
        for done in self.history[base:]:
            moved = oracle.transform(moved, done.components[unit], "left", unit)
        try:
            text = oracle.apply(self.text, moved, unit)
        except oracle.Refused as error:
            raise Refused("operation_invalid") from error
        size = oracle.length(text, "utf-16")
        if size > self.max_length and size > oracle.length(self.text, "utf-16"):
            raise Refused("document_too_large")
        both = {target: oracle.to_unit(moved, self.text, unit, target) for target in ("utf-16", "unicode")}
        self.history.append(Committed(client, seq, unit, submitted, both))
        self.texts.append(text)
        self.users[client] = user
        return self.revision, False


def lengths(components: oracle.Components, unit: str) -> list[tuple[int | str, int]]:
    """What tells one submission from another: the components, and how long their sender takes them to be."""
    return [(one, oracle.length(one, unit) if isinstance(one, str) else abs(one)) for one in components]
