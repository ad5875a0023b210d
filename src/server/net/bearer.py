"""The credentials of an Authorization header, wherever one is read (RFC 9110, 11.4; RFC 6750, 2.1)."""

from __future__ import annotations


def bearer(authorization: str) -> str:
    """What follows the scheme, in whatever case that is written, and a space or more; "" when there is nothing, or another scheme."""
    scheme, _, credentials = authorization.partition(" ")
    return credentials.strip(" ") if scheme.lower() == "bearer" else ""
