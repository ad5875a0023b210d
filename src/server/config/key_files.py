"""Key files of RS256 and EdDSA tokens: PEM in, key objects out. The configuration checks them, backends use them."""

from __future__ import annotations

from pathlib import Path
from typing import Final, TypeAlias

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey, Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

PublicKey: TypeAlias = RSAPublicKey | Ed25519PublicKey | Ed448PublicKey
PrivateKey: TypeAlias = RSAPrivateKey | Ed25519PrivateKey | Ed448PrivateKey

#: RFC 7518 section 3.2: an HS256 key has at least the size of the hash.
MIN_SECRET_BYTES: Final = 32
#: RFC 7518 section 3.3.
MIN_RSA_BITS: Final = 2048
#: A PEM file with one key has a few kilobytes; more is something else.
MAX_FILE_BYTES: Final = 65_536


class KeyFileError(ValueError):
    """The file cannot be used; the text says why, for the operator, without any of its content."""


def _read(path: str) -> bytes:
    try:
        with Path(path).open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror or error}") from error
    if len(data) > MAX_FILE_BYTES:
        raise KeyFileError(f"{path}: over {MAX_FILE_BYTES} bytes, not a PEM file with one key")
    return data


def load_public_key(path: str, algorithm: str) -> PublicKey:
    """A PEM public key (SubjectPublicKeyInfo) of the kind that ``algorithm`` needs. Raises KeyFileError."""
    data = _read(path)
    if b"PRIVATE KEY-----" in data:
        raise KeyFileError(f"{path}: holds a private key; a public key is expected")
    try:
        key = load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyFileError(f"{path}: not a PEM public key") from error
    if algorithm == "RS256" and isinstance(key, RSAPublicKey):
        _check_size(path, key.key_size)
        return key
    if algorithm == "EdDSA" and isinstance(key, Ed25519PublicKey | Ed448PublicKey):
        return key
    raise KeyFileError(f"{path}: not a key for {algorithm}")


def load_private_key(path: str, algorithm: str) -> PrivateKey:
    """A PEM private key, not encrypted, of the kind that ``algorithm`` needs. Raises KeyFileError."""
    data = _read(path)
    try:
        key = load_pem_private_key(data, password=None)
    except TypeError as error:
        raise KeyFileError(f"{path}: the key is encrypted; an unencrypted one is needed") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyFileError(f"{path}: not a PEM private key") from error
    if algorithm == "RS256" and isinstance(key, RSAPrivateKey):
        _check_size(path, key.key_size)
        return key
    if algorithm == "EdDSA" and isinstance(key, Ed25519PrivateKey | Ed448PrivateKey):
        return key
    raise KeyFileError(f"{path}: not a key for {algorithm}")


def load_pair(algorithm: str, public_file: str, private_file: str) -> tuple[PublicKey, PrivateKey | None]:
    """What ``auth.public_key_file`` and ``auth.private_key_file`` name; the public key follows from the private one.

    Raises KeyFileError, also when the two do not belong together: tokens of this server would be refused by it.
    """
    private = load_private_key(private_file, algorithm) if private_file else None
    if not public_file:
        if private is None:
            raise KeyFileError(f"{algorithm} needs a key file")
        return private.public_key(), private
    public = load_public_key(public_file, algorithm)
    if private is not None and private.public_key() != public:
        raise KeyFileError(f"{private_file} is not the private key of {public_file}")
    return public, private


def _check_size(path: str, bits: int) -> None:
    if bits < MIN_RSA_BITS:
        raise KeyFileError(f"{path}: an RSA key of {bits} bits; at least {MIN_RSA_BITS} are needed")
