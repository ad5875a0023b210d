"""The Auth seam by JSON Web Tokens (RFC 7519) with PyJWT: HS256 with a secret, RS256 and EdDSA with key files.

One algorithm is accepted, the configured one: a token cannot choose how it is checked (RFC 8725 section 3.1), so
neither ``none`` nor a public key used as an HMAC secret works. Whatever arrives as a token, only ``token_invalid`` and
``token_expired`` come out, with texts that say nothing of keys or configured values.
"""

from __future__ import annotations

import base64
import hmac
import re
import time
from typing import Any, Final

import jwt
import msgspec
from jwt.exceptions import InvalidSubjectError

from ...core.errors import ErrorCode, SynclineError
from ..config.key_files import MIN_SECRET_BYTES, PrivateKey, PublicKey, load_pair
from ..config.schema import AuthConfig
from ..seams.auth import Credentials

#: Longest token looked at, in characters. Real ones have a few hundred; the wire has the same bound.
MAX_TOKEN: Final = 16_384
#: Longest user id and display name, in characters (docs/protocol.md).
MAX_USER: Final = 128
MAX_NAME: Final = 128

# RFC 7515 section 7.1. Checked first: what has another form is not parsed at all.
_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")

# Users and names end up in logs, keys and pages.
_HALVES = re.compile("[\ud800-\udfff]")
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")

#: What a claim's check says. Anything else is "the token is not valid".
_REASONS: Final[tuple[tuple[type[Exception], str], ...]] = (
    (jwt.MissingRequiredClaimError, "a required claim is missing"),
    (jwt.ImmatureSignatureError, "the token is not valid yet"),
    (jwt.InvalidIssuerError, "the token is of another issuer"),
    (jwt.InvalidAudienceError, "the token is for another audience"),
    (jwt.InvalidAlgorithmError, "the token is signed by another algorithm"),
    (jwt.InvalidSignatureError, "the signature is not valid"),
    (InvalidSubjectError, "the sub claim is not a string"),
)


class JwtAuth:
    """``secret``: for HS256, where it does not come from the configuration but from the store.

    Raises ValueError (KeyFileError) when there is no usable key. CPU only; authenticating takes 20 to 100 microseconds.
    """

    def __init__(self, config: AuthConfig, *, secret: str = "") -> None:
        self.guests = config.mode == "guest"
        self._config = config
        self._verify_key: bytes | PublicKey
        self._signing_key: bytes | PrivateKey | None
        if config.algorithm == "HS256":
            key = (secret or config.secret).encode()
            if len(key) < MIN_SECRET_BYTES:
                raise ValueError(f"an HS256 secret has at least {MIN_SECRET_BYTES} bytes")
            self._verify_key = self._signing_key = key
        else:
            public_file, private_file = config.public_key_file, config.private_key_file
            self._verify_key, self._signing_key = load_pair(config.algorithm, public_file, private_file)
        self._algorithms = [config.algorithm]
        self._required = ["sub", "exp"] if config.require_expiry else ["sub"]
        if config.issuer:
            self._required.append("iss")
        if config.audience:
            self._required.append("aud")

    def authenticate(self, token: str) -> Credentials:
        """Raises SynclineError with ``token_invalid`` or ``token_expired``; nothing else, whatever the token is."""
        if len(token) > MAX_TOKEN:
            raise _invalid("the token is too long")
        if not _COMPACT.fullmatch(token):
            raise _invalid("the token is not a signed JWT")
        config = self._config
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                self._verify_key,
                algorithms=self._algorithms,
                issuer=config.issuer or None,
                audience=config.audience or None,
                leeway=config.leeway_seconds,
                options={"require": self._required, "verify_aud": bool(config.audience)},
            )
            expiry = claims.get("exp")
            expires_at = None if expiry is None else float(int(expiry))  # as PyJWT takes it
        except jwt.ExpiredSignatureError as error:
            raise SynclineError(ErrorCode.TOKEN_EXPIRED, "the token has expired") from error
        except jwt.PyJWTError as error:
            for kind, text in _REASONS:
                if isinstance(error, kind):
                    raise _invalid(text) from error
            raise _invalid("the token is not valid") from error
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
            # An `exp` of four hundred digits; and versions of PyJWT let more through (deep nesting, infinity).
            raise _invalid("the token is not valid") from error
        return self._credentials(claims, expires_at)

    def _credentials(self, claims: dict[str, Any], expires_at: float | None) -> Credentials:
        user, name, guest = claims["sub"], claims.get("name"), claims.get("guest") is True
        if not isinstance(user, str) or not 1 <= len(user) <= MAX_USER or _UNPRINTABLE.search(user):
            raise _invalid(f"the sub claim must have 1 to {MAX_USER} characters, no control characters")
        if name is None:
            name = ""
        else:
            # A name that was cut somewhere in UTF-16 ends in half a character: no reason to keep anybody out.
            name = _HALVES.sub("\ufffd", name) if isinstance(name, str) else name
            if not isinstance(name, str) or _UNPRINTABLE.search(name):
                raise _invalid("the name claim must be a string without control characters")
        if guest and not self.guests:
            # Made by this server before it was switched from guests to tokens.
            raise _invalid("guests are not let in")
        return Credentials(user, name[:MAX_NAME], expires_at, guest, claims)

    def issue(self, user: str, name: str, *, ttl: float | None = None, guest: bool = False) -> str:
        """A token that ``authenticate`` accepts. ``ttl`` in seconds; None: never expires, or where an expiry is
        required, after ``auth.guest_token_seconds``.

        Raises SynclineError: ``forbidden`` without a signing key, ``invalid_data`` for a user or name that no token may
        carry.
        """
        if self._signing_key is None:
            raise SynclineError(ErrorCode.FORBIDDEN, "this server holds no key to sign tokens")
        if not 1 <= len(user) <= MAX_USER or _UNPRINTABLE.search(user):
            raise SynclineError(ErrorCode.INVALID_DATA, f"a user has 1 to {MAX_USER} characters, no control characters")
        if len(name) > MAX_NAME or _UNPRINTABLE.search(name):
            raise SynclineError(
                ErrorCode.INVALID_DATA, f"a name has up to {MAX_NAME} characters, no control characters"
            )
        config = self._config
        if ttl is None and config.require_expiry:
            ttl = config.guest_token_seconds
        now = time.time()
        claims: dict[str, Any] = {"sub": user, "iat": int(now)}
        if name:
            claims["name"] = name
        if guest:
            claims["guest"] = True
        if ttl is not None:
            claims["exp"] = int(now + ttl)
        if config.issuer:
            claims["iss"] = config.issuer
        if config.audience:
            claims["aud"] = config.audience
        if isinstance(self._signing_key, bytes):
            # As PyJWT does it, in a tenth of the time: every guest that comes is given one.
            signed = _HS256_HEADER + _base64url(msgspec.json.encode(claims))
            return (signed + b"." + _base64url(hmac.digest(self._signing_key, signed, "sha256"))).decode("ascii")
        return jwt.encode(claims, self._signing_key, algorithm=config.algorithm)


def _base64url(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


_HS256_HEADER = _base64url(b'{"alg":"HS256","typ":"JWT"}') + b"."


def _invalid(text: str) -> SynclineError:
    return SynclineError(ErrorCode.TOKEN_INVALID, text)
