"""How a handler file names its events: ``@EVENTS.on("room:leave", RoomLeave)`` above a function."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from ...core.values.json_values import json_decoder
from .requests import Handler

F = TypeVar("F", bound=Callable[..., Any])


class Events:
    """The events of one handler file, in the order of the file."""

    def __init__(self) -> None:
        self.table: list[Handler] = []

    def on(
        self,
        event: str,
        data: type[msgspec.Struct],
        *,
        reply: str | None = None,
        open_to_all: bool = False,
        always_replies: bool = False,
        content: tuple[str, ...] = (),
    ) -> Callable[[F], F]:
        """``call(session, data, request)``: returns the result, or None when it answers later; raises SynclineError.

        A coroutine function may wait; the connection's following requests wait behind it.
        """

        def register(call: F) -> F:
            self.table.append(
                Handler(
                    event=event,
                    reply=reply or event,
                    json=json_decoder(data),
                    msgpack=msgspec.msgpack.Decoder(data),
                    call=call,
                    waits=inspect.iscoroutinefunction(call),
                    open_to_all=open_to_all,
                    always_replies=always_replies,
                    content=content,
                )
            )
            return call

        return register
