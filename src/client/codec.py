"""Envelopes <-> bytes for the two subprotocols. Stateless.

What comes in is decoded in steps: the envelope first, its data raw, so that a message's payload is at hand as the bytes that
came (proof.py hashes them) and is decoded once. A raw value that is not copied points into the frame and dies with it.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from ..core.values.json_values import json_decoder
from ..core.wire.payload import require_expressible
from .errors import ProtocolViolation, Undecodable

CodecName = Literal["json", "msgpack"]
NOTHING = msgspec.Raw(b"")
#: What msgspec's decoders raise for bytes that they do not take: its errors and UnicodeDecodeError are ValueErrors.
_REFUSALS = (ValueError, RecursionError)


class Incoming(msgspec.Struct):
    """An envelope from the server: a push (no id), a reply or an error reply. What is absent is empty."""

    event: str = ""
    id: int | None = None
    data: msgspec.Raw = NOTHING
    result: msgspec.Raw = NOTHING
    error: msgspec.Raw = NOTHING


class Received(msgspec.Struct):
    """The data of `message:received`, and an entry of `publications`, with its payload raw."""

    room: str
    offset: int
    epoch: str
    user: str
    name: str = ""
    time: float = 0.0
    data: msgspec.Raw = NOTHING


class _Joined(msgspec.Struct):
    publications: list[Received] = []


def well_formed(text: str) -> str:
    """With U+FFFD for each half of a surrogate pair, as Web IDL's USVString has it; two halves beside one another are one character.
    Raises TypeError."""
    if not isinstance(text, str):
        raise TypeError(f"a name is a str, not {type(text).__name__}")
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _well_formed(value: Any) -> Any:
    if isinstance(value, str):
        return well_formed(value)
    if isinstance(value, dict):
        return {_well_formed(key): _well_formed(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_well_formed(item) for item in value]
    return value


class Codec:
    """``encode`` one envelope, ``join`` several into one frame, ``decode`` a frame into its envelopes."""

    def __init__(self, name: CodecName) -> None:
        if name not in ("json", "msgpack"):
            raise ValueError(f"codec: json or msgpack, not {name!r}")
        self.name: CodecName = name
        self.subprotocol = f"syncline.v1.{name}"
        self.binary = name == "msgpack"
        # msgspec's encoders keep no state between calls but their options.
        self._encode = msgspec.msgpack.Encoder().encode if self.binary else msgspec.json.Encoder().encode
        kind = msgspec.msgpack if self.binary else msgspec.json
        self._value = kind.Decoder().decode if self.binary else json_decoder().decode
        self._incoming = kind.Decoder(Incoming | list[Incoming]).decode
        self._received = kind.Decoder(Received).decode
        self._joined = kind.Decoder(_Joined).decode
        self._fields = kind.Decoder(dict[str, msgspec.Raw]).decode

    def require_expressible(self, envelope: dict[str, Any]) -> None:
        """That what is in it has a form of its own in this encoding. Raises SynclineError(invalid_data). O(envelope)."""
        require_expressible(self.name, envelope, around=2)

    def encode(self, envelope: dict[str, Any]) -> bytes:
        """Raises TypeError or ValueError (UnicodeEncodeError for half a surrogate pair) when the data has no form in this encoding."""
        return self._encode(envelope)

    def encode_well_formed(self, envelope: dict[str, Any]) -> bytes:
        """The same with U+FFFD for each half of a surrogate pair."""
        return self._encode(_well_formed(envelope))

    def join(self, envelopes: list[bytes]) -> bytes:
        """One frame of several encoded envelopes; a single one stays as it is."""
        if len(envelopes) == 1:
            return envelopes[0]
        if not self.binary:
            return b"[" + b",".join(envelopes) + b"]"
        # MessagePack specification, "array format family": fixarray, array 16.
        count = len(envelopes)
        head = bytes([0x90 | count]) if count < 16 else b"\xdc" + count.to_bytes(2, "big")
        return head + b"".join(envelopes)

    def decode(self, frame: bytes | memoryview) -> list[Incoming]:
        """Raises ProtocolViolation. The raw values live as long as ``frame``."""
        try:
            value = self._incoming(frame)
        except _REFUSALS as error:
            raise self._violation("a frame", error) from error
        return value if isinstance(value, list) else [value]

    def value(self, raw: msgspec.Raw) -> Any:
        """A value of its own; None for what is absent. Raises Undecodable."""
        if not raw:
            return None
        try:
            return self._value(raw)
        except _REFUSALS as error:
            raise Undecodable(f"a value that cannot be decoded: {error}") from error

    def received(self, raw: msgspec.Raw) -> Received:
        """Raises ProtocolViolation. Its payload lives as long as the frame."""
        try:
            received: Received = self._received(raw)
        except _REFUSALS as error:
            raise self._violation("message:received", error) from error
        return received

    def result(self, envelope: Incoming) -> Any:
        """The value of a reply's result. The publications of `room:joined` are ``Received``, of bytes of their own.

        Raises ProtocolViolation, Undecodable.
        """
        if envelope.event != "room:joined":
            return self.value(envelope.result)
        raw = envelope.result.copy()
        try:
            fields, publications = self._fields(raw), self._joined(raw).publications
        except _REFUSALS as error:
            raise self._violation("room:joined", error) from error
        result = {name: self.value(field) for name, field in fields.items() if name != "publications"}
        return {**result, "publications": publications}

    def _violation(self, what: str, error: Exception) -> ProtocolViolation:
        return ProtocolViolation(f"{what} that is not {self.name}, or not of the protocol: {error}")
