"""`auth`, `auth:refresh`, `ping`."""

from __future__ import annotations

from typing import Any

from ..events import Authenticate, Empty, Refresh
from ..native import NativeSession
from ..registry import Events
from ..requests import Request

EVENTS = Events()


@EVENTS.on("auth", Authenticate, reply="auth:accepted", open_to_all=True, always_replies=True)
async def authenticate(session: NativeSession, data: Authenticate, request: Request) -> dict[str, Any]:
    return await session.services.authentication.authenticate(session, data.token, data.name, data.resume)


@EVENTS.on("auth:refresh", Refresh)
def refresh(session: NativeSession, data: Refresh, request: Request) -> dict[str, Any]:
    return session.services.authentication.refresh(session, data.token)


@EVENTS.on("ping", Empty, open_to_all=True)
def ping(session: NativeSession, data: Empty, request: Request) -> dict[str, Any]:
    return {"time": session.services.clock.time()}
