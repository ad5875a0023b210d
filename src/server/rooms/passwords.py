"""Password hashes: argon2id (RFC 9106). Slow on purpose: callers run these in a thread (``Rooms`` is handed one)."""

from __future__ import annotations

import unicodedata

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

#: RFC 9106 section 4, second recommended option: 3 passes over 64 MiB in 4 lanes, a salt of 16 bytes, a tag of 32.
_HASHER = PasswordHasher(time_cost=3, memory_cost=65_536, parallelism=4, hash_len=32, salt_len=16, type=Type.ID)


def _bytes(password: str) -> bytes:
    # NFC: the same letters typed on different systems are the same password (RFC 8265 section 4.2).
    # Lone surrogates can come out of JSON; they hash like anything else.
    return unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")


def hash_password(password: str) -> str:
    """The PHC string (``$argon2id$v=19$...``) that ``verify_password`` takes. Tens of milliseconds, 64 MiB."""
    return _HASHER.hash(_bytes(password))


def verify_password(hashed: str, password: str) -> bool:
    """Whether ``password`` is that of ``hashed``. Raises ValueError when ``hashed`` is damaged."""
    try:
        return _HASHER.verify(hashed, _bytes(password))
    except VerifyMismatchError:
        return False
    except (InvalidHashError, VerificationError) as error:
        raise ValueError("the stored password hash is damaged") from error
