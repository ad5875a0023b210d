# cython: language_level=3
"""Envelopes <-> bytes (docs/protocol.md), JSON and MessagePack; only the routing fields are decoded.

The typing and the encoding are msgspec's. Payloads stay raw: a ``msgspec.Raw`` in a push is copied as it is; it is converted to
the other encoding at most once per push, when the first member of that kind asks for it.
"""

import json as _stdlib_json
from typing import Annotated, NamedTuple

import msgspec

from ..errors import ErrorCode, SynclineError
from ..values.json_values import json_decoder
from .salvage import cut, mend, request_id

from .frames cimport encode_frame

JSON = "json"
MSGPACK = "msgpack"
SUBPROTOCOLS = {"syncline.v1.json": JSON, "syncline.v1.msgpack": MSGPACK}

cdef int _TEXT = 0x1
cdef int _BINARY = 0x2

cdef object _json_encode = msgspec.json.Encoder().encode
cdef object _msgpack_encode = msgspec.msgpack.Encoder().encode
cdef object _Raw = msgspec.Raw


class Envelope(msgspec.Struct):
    """A request. ``data`` is not decoded."""

    event: Annotated[str, msgspec.Meta(max_length=64)]
    data: msgspec.Raw = msgspec.Raw(b"")
    id: Annotated[int, msgspec.Meta(ge=0, le=9007199254740991)] | None = None


class Mended(Envelope):
    """One that had halves of surrogate pairs. ``otherwise``: its data with U+FFFC where ``data`` has U+FFFD."""

    otherwise: msgspec.Raw = msgspec.Raw(b"")


def detach(envelope not None):
    """Copies its data out of the message that it came in, which it keeps in memory otherwise. O(data)."""
    envelope.data = envelope.data.copy()
    if isinstance(envelope, Mended):
        envelope.otherwise = envelope.otherwise.copy()


class Refused(NamedTuple):
    """What was no request. ``id``: the one to be answered; None where there is none, or none that can be read."""

    id: object
    error: SynclineError


cdef object _json_one = msgspec.json.Decoder(Envelope).decode
cdef object _json_many = msgspec.json.Decoder(list[Envelope]).decode
cdef object _msgpack_one = msgspec.msgpack.Decoder(Envelope).decode
cdef object _msgpack_many = msgspec.msgpack.Decoder(list[Envelope]).decode
cdef object _json_any = json_decoder().decode
cdef object _msgpack_any = msgspec.msgpack.Decoder().decode
cdef object _json_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
cdef object _msgpack_fields = msgspec.msgpack.Decoder(dict[str, msgspec.Raw]).decode


cdef bytes _encode(str codec, object value):
    if codec == "json":
        return <bytes>_json_encode(value)
    if codec == "msgpack":
        return <bytes>_msgpack_encode(value)
    raise ValueError("unknown codec")


cdef bytes _framed(str codec, bytes envelope):
    return encode_frame(_TEXT if codec == "json" else _BINARY, envelope)


cdef bint _is_array(str codec, bytes message) except -1:
    cdef bytes head
    if codec == "json":
        head = message[:64].lstrip(b" \t\r\n")[:1] or message.lstrip(b" \t\r\n")[:1]
        return head == b"["
    if not message:
        return False
    return 0x90 <= message[0] <= 0x9F or message[0] == 0xDC or message[0] == 0xDD


def decode(str codec not None, bytes message not None, Py_ssize_t max_batch):
    """Requests of one frame, one or an array of them, and what was none. Raises nothing for what the peer sent. O(message)."""
    cdef bint many = _is_array(codec, message), json = codec == "json"
    cdef list envelopes
    try:
        if not many:
            return [(_json_one if json else _msgpack_one)(message)], ()
        envelopes = (_json_many if json else _msgpack_many)(message)
    except (ValueError, RecursionError):
        # msgspec's errors and UnicodeDecodeError are ValueErrors.
        return _salvage(codec, message, max_batch)
    if not envelopes:  # however long it is, no request would pay for it
        return [], (Refused(None, SynclineError(ErrorCode.MALFORMED_FRAME, "an array without a request")),)
    if len(envelopes) <= max_batch:
        return envelopes, ()
    # As many again are answered by their ids: what a frame costs in answers is bounded, however many envelopes it has.
    refused = [Refused(envelope.id, _too_many(max_batch)) for envelope in envelopes[max_batch : 2 * max_batch]]
    if len(envelopes) > 2 * max_batch:
        refused.append(Refused(None, _too_many(max_batch)))
    return envelopes[:max_batch], refused


cdef object _too_many(Py_ssize_t max_batch):
    return SynclineError(ErrorCode.LIMIT_EXCEEDED, f"at most {max_batch} envelopes in one frame")


cdef tuple _salvage(str codec, bytes message, Py_ssize_t max_batch):
    """The same, request by request."""
    cdef list envelopes = [], refused = []
    elements, whole = cut(codec, message, max_batch + 1)
    for element in elements[:max_batch]:
        try:
            envelopes.append(_salvaged(codec, element))
        except (ValueError, RecursionError) as error:
            # The texts name fields and byte positions of the peer's own input, nothing of ours.
            refused.append(Refused(request_id(codec, element), SynclineError(ErrorCode.MALFORMED_FRAME, _reason(error))))
    if len(elements) > max_batch:
        refused.append(Refused(None, _too_many(max_batch)))
    elif not whole:
        refused.append(Refused(None, SynclineError(ErrorCode.MALFORMED_FRAME, "the frame is not one array")))
    return envelopes, refused


cdef object _salvaged(str codec, bytes element):
    """Raises ValueError, RecursionError."""
    one = _json_one if codec == "json" else _msgpack_one
    try:
        return one(element)
    except ValueError:
        mended = mend(codec, element)
        if mended is element:
            raise
    envelope, otherwise = one(mended), one(mend(codec, element, True))
    return Mended(envelope.event, envelope.data, envelope.id, otherwise.data)


def mended(str codec not None, object envelope not None):
    """The request with its data mended (``Mended``), or None when there is nothing to mend."""
    cdef bytes data = bytes(envelope.data), better = mend(codec, data)
    if better is data:
        return None
    return Mended(envelope.event, _Raw(better), envelope.id, _Raw(mend(codec, data, True)))


def was_mended(str codec not None, object envelope not None, tuple fields not None):
    """Whether there was something to mend in one of these fields of the data, which is an object."""
    decode_fields = _json_fields if codec == "json" else _msgpack_fields
    one, other = decode_fields(envelope.data), decode_fields(envelope.otherwise)
    return any(bytes(one.get(field, b"")) != bytes(other.get(field, b"")) for field in fields)


cdef str _reason(object error):
    if isinstance(error, msgspec.DecodeError):
        return str(error)
    if isinstance(error, RecursionError):
        return "nested too deeply"
    return "not UTF-8"


def reply_frame(str codec not None, object id, str event not None, object result):
    """The reply to the request ``id`` as one WebSocket frame."""
    return _framed(codec, _encode(codec, {"id": id, "event": event, "result": result}))


def error_frame(str codec not None, object id, str code not None, str message not None, dict context=None):
    """The error reply to ``id``, or without id the `error` push; ``context`` is added to the error."""
    error = {"code": code, "message": message}
    if context:
        error.update(context)
    if id is not None:
        return _framed(codec, _encode(codec, {"id": id, "event": "error", "error": error}))
    return _framed(codec, _encode(codec, {"event": "error", "data": error}))


def push_frame(str codec not None, str event not None, object data):
    """A push to one connection as one WebSocket frame."""
    return _framed(codec, _encode(codec, {"event": event, "data": data}))


def pushes_frame(str codec not None, list pushes not None):
    """Several pushes, each (event, data), to be shared by receivers of one codec as one WebSocket frame."""
    envelopes = [{"event": event, "data": data} for event, data in pushes]
    return _framed(codec, _encode(codec, envelopes[0] if len(envelopes) == 1 else envelopes))


def transcode(bytes raw not None, str source not None, str target not None):
    """The same value in the other encoding. Raises ValueError when it has none (MessagePack extension types, say)."""
    if source == target:
        return raw
    try:
        value = _json_any(raw) if source == "json" else _msgpack_any(raw)
        return _encode(target, value)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        if source != "json":
            raise ValueError("the payload cannot be converted to JSON") from error
    # JSON that msgspec or MessagePack cannot hold: integers over 64 bits, numbers over 1e308, unpaired \ud800 escapes.
    try:
        value = _stdlib_json.loads(raw)
        return _encode(target, _representable(value))
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise ValueError("the payload cannot be converted to MessagePack") from error


cdef object _representable(object value):
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, int) and not isinstance(value, bool) and not -(2**63) <= value < 2**64:
        return float(value)
    if isinstance(value, list):
        return [_representable(item) for item in value]
    if isinstance(value, dict):
        return {_representable(key): _representable(item) for key, item in value.items()}
    return value


cdef class Push:
    """One push, encoded at most once per codec and shared by all receivers."""

    def __init__(
        self, str event not None, object data, str codec not None = "json", str skip not None = "", str key not None = ""
    ):
        self.event = event
        self.skip = skip
        self.key = key
        self._codec = codec
        self._body = _encode(codec, data)
        self._json = None
        self._msgpack = None

    @staticmethod
    def unpack(str event not None, bytes payload not None):
        """The inverse of ``pack``. Raises ValueError."""
        cdef Push push
        cdef Py_ssize_t skip, key
        if len(payload) < 4 or payload[:1] not in (b"j", b"m"):
            raise ValueError("not a packed push")
        skip = 4 + payload[1]
        key = skip + int.from_bytes(payload[2:4], "big")
        if key > len(payload):
            raise ValueError("not a packed push")
        push = Push.__new__(Push)
        push.event = event
        push.skip = payload[4:skip].decode("utf-8")
        push.key = payload[skip:key].decode("utf-8")
        push._codec = "json" if payload[:1] == b"j" else "msgpack"
        push._body = payload[key:]
        return push

    cpdef bytes pack(self):
        """For other nodes: codec, skip, key and body, without the event."""
        cdef bytes skip = self.skip.encode("utf-8")
        cdef bytes key = self.key.encode("utf-8")
        if len(skip) > 255 or len(key) > 65535:
            raise ValueError("skip or key is too long")
        return b"".join(
            (b"j" if self._codec == "json" else b"m", bytes((len(skip),)), len(key).to_bytes(2, "big"), skip, key, self._body)
        )

    cpdef bytes body(self, str codec):
        """The encoded `data`."""
        if codec == self._codec:
            return self._body
        try:
            return transcode(self._body, self._codec, codec)
        except ValueError:
            # What an older server let in arrives as null rather than not at all.
            return _encode(codec, None)

    cpdef bytes frame(self, str codec):
        """The whole WebSocket frame for members that speak ``codec``."""
        if codec == "json":
            if self._json is None:
                self._json = encode_frame(_TEXT, b'{"event":%b,"data":%b}' % (_json_encode(self.event), self.body("json")))
            return self._json
        if self._msgpack is None:
            self._msgpack = encode_frame(
                _BINARY, <bytes>_msgpack_encode({"event": self.event, "data": _Raw(self.body("msgpack"))})
            )
        return self._msgpack
