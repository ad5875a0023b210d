"""Random edits of documents of rich text and JSON."""

from __future__ import annotations

import random
from typing import Any

from syncline.core.documents.document import Document


def edit(document: Document, dice: random.Random) -> Any:
    """A random edit that applies at the head."""
    if document.engine.type.name == "rich-text":
        length = sum(len(op["insert"]) for op in document.content())  # ``length`` counts formats too
        at, choice = dice.randint(0, length), dice.randint(0, 2)
        if choice == 0 or at == length:
            return [*([{"retain": at}] if at else []), {"insert": dice.choice("abcdef") * 2}]
        change = {"delete": 1} if choice == 1 else {"retain": 1, "attributes": {"b": dice.choice([True, None])}}
        return [*([{"retain": at}] if at else []), change]
    content = document.content()
    if content is None:
        return [{"p": [], "od": None, "oi": {"l": [], "n": 0}}]
    length, choice = len(content["l"]), dice.randint(0, 3)
    if choice == 0 or length == 0:
        return [{"p": ["l", dice.randint(0, length)], "li": dice.randint(0, 9)}]
    if choice == 1:
        return [{"p": ["l", dice.randrange(length)], "ld": None}]
    if choice == 2:
        return [{"p": ["n"], "na": dice.randint(1, 5)}]
    if "x" in content:
        return [{"p": ["x"], "od": None, "oi": dice.randint(0, 9)}]
    return [{"p": ["x"], "oi": dice.randint(0, 9)}]
