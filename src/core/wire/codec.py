"""The names of the two encodings."""

from __future__ import annotations

from typing import Literal

Codec = Literal["json", "msgpack"]
