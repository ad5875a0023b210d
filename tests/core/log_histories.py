"""Random editing histories as they are stored, and one that an older version wrote."""

from __future__ import annotations

import random
from contextlib import suppress
from typing import Any

from syncline.core.documents.document import Document
from syncline.core.documents.text_type import TextType
from syncline.core.errors import SynclineError
from syncline.core.storage.commits import Entry

#: Written by the version before run-length bodies: five operations in both units, one transformed, one empty.
FIRST_FORM = bytes.fromhex(
    "110504026331036164610263320665766520c3a90001010600001040fc54d94101391048656c6c6f20f09f928320776f726c640d000102050218"
    "0501780203070200006040fc54d941c350b13f229c0801051406040a0d06f09f9880c3a9050101010202030905000001030000000000000000c0"
    "eafaa90d1639ccde0604090806080503616263e4aea791"
)
FIRST_FORM_TEXT = "Habeloxc😀é world"


def history(seed: int, count: int = 60) -> tuple[Document, list[Entry]]:
    """A random editing history: bursts of typing and deleting in every direction, other operations, old bases, both
    units, several authors, numbers with gaps, times that stand still or jump."""
    rng = random.Random(seed)
    document = TextType().open("notes", "g")
    alphabet = rng.choice(["ab", "aé漢", "a💃𝄞é"])
    seqs: dict[str, int] = {}
    time = 1_700_000_000.0

    def submit(components: list[int | str], base: int, unit: Any = "unicode") -> None:
        client = rng.choice(["c1", "c2", "c3"]) if rng.random() < 0.1 or not seqs else next(reversed(seqs))
        number = seqs.pop(client, 0) + (1 if rng.random() < 0.95 else rng.randint(2, 9))
        seqs[client] = number
        with suppress(SynclineError):  # an old base may be too short
            document.receive(client, "u" + client, number, base, components, unit, time)

    while document.revision < count:
        if rng.random() < 0.4:
            time = round(time + rng.choice([0.001, 0.25, 3.0, 86_400.0, -5.0]), 3)
        size, revision = document.length("unicode"), document.revision
        at = rng.randint(0, size)
        keep: list[int | str] = [at] if at else []
        burst, length = rng.randint(1, 6), rng.choice([1, 1, 1, 2, 5])
        match rng.randrange(5):
            case 0:
                for step in range(burst):
                    spot = at + step * length
                    text = "".join(rng.choice(alphabet) for _ in range(length))
                    submit([spot, text] if spot else [text], document.revision)
            case 1:
                for step in range(min(burst, at // length)):
                    spot = at - (step + 1) * length
                    submit([spot, -length] if spot else [-length], document.revision)
            case 2:
                for _ in range(min(burst, (size - at) // length)):
                    submit([*keep, -length], document.revision)
            case 3:
                drop: list[int | str] = [-1] if at < size else []
                others: list[list[int | str]] = [[], [*keep, "xy"], [*keep, *drop, "é"]]
                submit(rng.choice(others), revision)
            case _:
                base = rng.randint(max(document.floor, revision - 5), revision)
                more: list[int | str] = [1, "z"] if size > 9 else []
                submit([rng.choice(alphabet), *more], base)
    return document, document.since(0)
