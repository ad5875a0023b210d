"""What every server takes, so that a client can send before it is told the server's own limits (docs/protocol.md, Limits)."""

from __future__ import annotations

from typing import Final

#: Bytes of a message, with all its frames: the least that ``limits.message_bytes`` may be.
LEAST_MESSAGE_BYTES: Final = 32_768
#: Envelopes in one frame: the least that ``limits.batch_size`` may be.
LEAST_BATCH_SIZE: Final = 16
