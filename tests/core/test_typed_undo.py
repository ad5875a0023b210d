"""Undo and redo in documents of rich text and JSON."""

from __future__ import annotations

import copy
import random
from typing import Any

import pytest

from syncline.core.document_type import DocumentType
from syncline.core.errors import SynclineError
from syncline.core.json_type import JsonType
from syncline.core.rich_type import RichType
from syncline.core.typed_document import TypedDocument

TYPES: list[DocumentType[Any, Any]] = [RichType(), JsonType()]


def edit(document: TypedDocument, dice: random.Random) -> Any:
    """A random edit that applies at the head."""
    if document.type.name == "rich-text":
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


@pytest.mark.parametrize("type", TYPES, ids=lambda type: type.name)
@pytest.mark.parametrize("seed", range(60))
def test_the_only_author_goes_back_and_forth_through_every_content(type: DocumentType[Any, Any], seed: int) -> None:
    dice, document, seq = random.Random(seed), TypedDocument(type, "d", "g"), 0
    shown = [copy.deepcopy(document.content())]
    for seq in range(1, 11):
        depth = document.undo_depth("a")[0]
        document.receive("a", "ann", seq, document.revision, edit(document, dice))
        if document.undo_depth("a")[0] > depth:
            shown.append(copy.deepcopy(document.content()))
    for kind, path in (("undo", shown[-2::-1]), ("redo", shown[1:])):
        for expected in path:
            seq += 1
            document.undo("a", "ann", seq, document.revision, kind)
            assert document.content() == expected
        with pytest.raises(SynclineError):
            document.undo("a", "ann", seq + 1, document.revision, kind)
