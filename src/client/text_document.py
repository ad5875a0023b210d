"""A text as one client sees it: what a document of any type has, and what is only for texts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..core.errors import ErrorCode, SynclineError
from ..core.ot.ot import Operation
from .code_points import TEXT, UNIT
from .documents import Document
from .history import Blame, Version, read_blame

if TYPE_CHECKING:
    from ..core.ot.ot import Components
    from .handle_owner import HandleOwner


class TextDocument(Document):
    """Made by ``Client.document``. Positions and lengths count code points, as Python strings do; operations are given out as
    ``Operation``."""

    def __init__(self, client: HandleOwner, name: str, client_id: str | None = None, **limits: int) -> None:
        super().__init__(client, name, TEXT, client_id, **limits)

    def _told(self, operation: Any) -> Any:
        return operation

    @property
    def text(self) -> str:
        """As a new string: O(n). ``len`` and ``slice`` are cheaper."""
        return str(self._state.view)

    def __len__(self) -> int:
        return len(self._state.view)

    def slice(self, start: int, end: int) -> str:
        text: str = self._state.view.slice(start, end)
        return text

    def insert(self, position: int, text: str) -> None:
        """Raises SynclineError (operation_out_of_range, operation_invalid), RequestError (forbidden: of a reader), BufferFull, TypeError,
        and what ended the handle; changes nothing."""
        self.replace(position, 0, text)

    def delete(self, position: int, length: int) -> None:
        """As ``insert``."""
        self.replace(position, length, "")

    def replace(self, position: int, length: int, text: str) -> None:
        """As ``insert``; one operation."""
        self._check_edit()
        _require_str(text)
        if position < 0 or length < 0 or position + length > len(self):
            raise SynclineError(ErrorCode.OPERATION_OUT_OF_RANGE, f"{position}+{length} of {len(self)}")
        components: Components = [position] if position else []
        if text:
            components.append(text)
        if length:
            components.append(-length)
        if text or length:
            self._edit(Operation(components, UNIT))

    def apply(self, operation: Components) -> None:
        """Components on the current text: retain n, insert text, delete -n. As ``insert``."""
        self._edit(Operation(operation, UNIT))

    def set_text(self, text: str) -> None:
        """The smallest operation that is easily found which gives ``text``. Raises as ``insert``."""
        self._check_edit()
        _require_str(text)
        self.set_content(text)

    async def text_at(self, revision: int) -> Version:
        """``content_at`` under another name."""
        return await self.content_at(revision)

    async def blame(self, start: int | None = None, end: int | None = None) -> Blame:
        """Who wrote what is there, in the server's text, or in its part from ``start`` to ``end``."""
        data: dict[str, Any] = {"unit": UNIT}
        if start is not None:
            data["start"] = start
        if end is not None:
            data["end"] = end
        return read_blame(await self._request("document:blame", data))


def _require_str(text: object) -> None:
    """A number would be an operation of another kind. Raises TypeError."""
    if not isinstance(text, str):
        raise TypeError(f"the text is a str, not {type(text).__name__}")
