"""Names of rooms, documents and users, as they come from outside: they end up in logs, keys and pages."""

from __future__ import annotations

import re
from typing import Final

from ...core.errors import ErrorCode, SynclineError

#: No control characters and no surrogates. \Z and not $, which a line break may follow.
NAME: Final = r"\A[^\x00-\x1f\x7f-\x9f\ud800-\udfff]+\Z"
LONGEST_NAME: Final = 128

_NAME: Final = re.compile(NAME)


def require_name(text: str) -> None:
    """Raises SynclineError(invalid_data)."""
    if len(text) > LONGEST_NAME or _NAME.match(text) is None:
        why = f"a name has 1 to {LONGEST_NAME} characters, none of which is a control character"
        raise SynclineError(ErrorCode.INVALID_DATA, why)
