"""Envelopes <-> bytes for the two subprotocols. Stateless."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from .errors import ProtocolViolation

CodecName = Literal["json", "msgpack"]


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
        self._decode = msgspec.msgpack.Decoder().decode if self.binary else msgspec.json.Decoder().decode

    def encode(self, envelope: dict[str, Any]) -> bytes:
        """Raises TypeError or ValueError when the data has no form in this encoding."""
        return self._encode(envelope)

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

    def decode(self, frame: bytes | memoryview) -> list[dict[str, Any]]:
        """Raises ProtocolViolation. The result holds no reference to ``frame``."""
        try:
            value = self._decode(frame)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ProtocolViolation(f"a frame that is not {self.name}: {error}") from error
        envelopes = value if isinstance(value, list) else [value]
        for envelope in envelopes:
            if not isinstance(envelope, dict):
                raise ProtocolViolation("a frame that holds no envelope")
        return envelopes
