"""Ids that nobody can guess."""

from __future__ import annotations

import secrets


def new_id() -> str:
    """64 random bits as 16 hexadecimal digits."""
    return secrets.token_hex(8)
