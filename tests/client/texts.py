"""What tests of text documents ask their clients."""

from __future__ import annotations

from syncline.client import TextDocument
from syncline.core.ot.ot import Operation, apply


async def settle(*documents: TextDocument) -> str:
    """Everybody has everything; returns the text."""
    for document in documents:
        await document.settled()
    head = max(document.revision for document in documents)
    for document in documents:
        await document.wait_for(lambda document=document: document.revision >= head)  # type: ignore[misc]
    assert len({document.text for document in documents}) == 1
    return documents[0].text


def mirror(document: TextDocument) -> list[str]:
    """The text as the changes alone tell it."""
    held = [document.text]

    def changed(operation: Operation, origin: str) -> None:
        held[0] = apply(held[0], operation)

    document.on_change(changed)
    return held
