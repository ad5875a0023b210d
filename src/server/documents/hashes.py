"""Hashes of a document's content: told to its clients now and then, and for the node itself.

One that takes long is taken beside the loop, between two turns; what arrives meanwhile waits.
"""

from __future__ import annotations

import asyncio
from typing import Final

from ..seams.outcome import Unavailable
from ..sessions.session import SessionGone
from .frames import tell_hash
from .loaded import Loaded
from .threads import OWN

#: Microseconds of hashing that one operation may cost: hashes of large contents are told less often.
SHARE: Final = 2


class Hashes:
    """Of one document, which is handed to each call: it must not be held, or it would not be free when it is unloaded."""

    def __init__(self, revision: int) -> None:
        self._told_at = revision
        self._due = False  # clients are to be told, as soon as it is known
        self._asked: list[asyncio.Future[tuple[int, int]]] = []

    @property
    def wanted(self) -> bool:
        """Whether the next turn has to ``take`` it first."""
        return self._due or bool(self._asked)

    def due(self, live: Loaded) -> int | None:
        """That of the content at the head, when it is time to tell it and it is quickly known. Otherwise it follows."""
        core, every = live.core, live.context.config.documents.hash_operations
        since = core.revision - self._told_at
        if not every or since < every or since * SHARE < core.hash_labour:
            return None
        self._told_at = core.revision
        hashed = core.quick_hash()
        self._due = hashed is None
        return hashed

    async def get(self, live: Loaded) -> tuple[int, int]:
        """(revision, hash of the content there), however large it is. Raises Unavailable when the document is closed."""
        if live.closed:
            raise Unavailable("the document was closed")
        future: asyncio.Future[tuple[int, int]] = asyncio.get_running_loop().create_future()
        self._asked.append(future)
        live.schedule()
        return await future

    async def take(self, live: Loaded) -> None:
        """What is wanted. The document stays as it is until this calls its ``prepared``."""

        def check() -> None:
            if live.closed:
                raise SessionGone

        due, self._due = self._due, False
        asked, self._asked = self._asked, []
        try:
            work = live.core.hashing()
            hashed = await live.context.threads.moves.work(OWN, work, check, bounded=False)
            if due:
                tell_hash(live.id, live.core.revision, hashed, live.collaborators.values())
            _resolve(asked, (live.core.revision, hashed))
        except SessionGone:
            pass
        finally:
            _resolve(asked, None)
            live.prepared()

    def end(self) -> None:
        """The document is closed."""
        asked, self._asked = self._asked, []
        _resolve(asked, None)


def _resolve(asked: list[asyncio.Future[tuple[int, int]]], found: tuple[int, int] | None) -> None:
    """Those that are not yet."""
    for future in asked:
        if not future.done():
            if found is None:
                future.set_exception(Unavailable("the document was closed"))
            else:
                future.set_result(found)
