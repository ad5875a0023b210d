"""Names of rooms, documents and users, as they come from outside: they end up in logs, keys and pages."""

from __future__ import annotations

import re
from typing import Final

#: No control characters and no surrogates. \Z and not $, which a line break may follow.
NAME: Final = r"\A[^\x00-\x1f\x7f-\x9f\ud800-\udfff]+\Z"
LONGEST_NAME: Final = 128

_NAME: Final = re.compile(NAME)


def is_name(text: str) -> bool:
    return len(text) <= LONGEST_NAME and _NAME.match(text) is not None
