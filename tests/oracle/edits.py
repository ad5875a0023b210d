"""Contents of each type of document, and edits of them, made at random."""

from __future__ import annotations

from random import Random
from typing import Any

from tests.oracle.json0 import length, random_operation, random_value

PIECES = ["a", "bc", "é", "💃", "\n"]
FORMATS: list[dict[str, Any]] = [{}, {"bold": True}, {"bold": True, "color": "red"}, {"italic": True}]


def random_text(random: Random) -> str:
    return "".join(random.choice(PIECES) for _ in range(random.randrange(6)))


def random_inserts(random: Random) -> list[dict[str, Any]]:
    ops: list[dict[str, Any]] = []
    for _ in range(random.randrange(4)):
        op: dict[str, Any] = {"insert": random.choice([*PIECES, {"image": "x.png"}])}
        attributes = random.choice(FORMATS)
        ops.append(op | {"attributes": attributes} if attributes else op)
    return ops


def random_content(name: str, random: Random) -> Any:
    """A value for ``parse_content``."""
    if name == "json":
        return random_value(random)
    return random_text(random) if name == "text" else random_inserts(random)


def random_edit(name: str, random: Random, shown: Any) -> Any:
    """A value for ``parse`` that applies to the content ``shown``."""
    if name == "json":
        return random_operation(random, shown)[0]
    if name == "text":
        cells = list(shown)
    else:
        cells = [cell for op in shown for cell in (op["insert"] if isinstance(op["insert"], str) else "\ufffc")]
    ops: list[Any] = []
    at = 0
    for _ in range(random.randrange(1, 4)):
        kept = random.randrange(len(cells) - at + 1)
        gone = random.randrange(min(3, len(cells) - at - kept) + 1)
        keep = length("".join(cells[at : at + kept]))
        drop = length("".join(cells[at + kept : at + kept + gone]))
        at += kept + gone
        put = random.choice([*PIECES, ""])
        if name == "text":
            ops += [part for part in (keep, put, -drop) if part]
        else:
            formats = random.choice([{}, {}, {"bold": True}, {"bold": None}, {"color": "blue"}])
            ops += [{"retain": keep, "attributes": formats} if formats else {"retain": keep}] if keep else []
            ops += [{"insert": put}] if put else []
            ops += [{"delete": drop}] if drop else []
    return ops
