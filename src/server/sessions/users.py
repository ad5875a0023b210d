"""Users are recorded in the store when they come, each once."""

from __future__ import annotations

from collections import OrderedDict

from ...core.errors import ErrorCode, SynclineError
from ..config.schema import Config
from ..seams.auth import Credentials
from ..seams.clock import Clock
from ..seams.store import Store, UserRecord


class Users:
    """Remembers who was recorded lately. Bound: ``limits.recent_users``, the longest unused goes first."""

    def __init__(self, store: Store, clock: Clock, config: Config) -> None:
        self._store = store
        self._clock = clock
        self._config = config
        self._recorded: OrderedDict[str, str] = OrderedDict()  # user -> name as stored, by last use

    async def record(self, credentials: Credentials, *, known: bool = True) -> None:
        """Remembers who a token speaks for; ``known``: the store may have this name already.

        Who was recorded lately costs no read, and nobody more than one. Raises Unavailable, and SynclineError(token_invalid) for whom
        the store does not know, where ``auth.users`` asks for that.
        """
        user, name = credentials.user, credentials.name
        recorded = self._recorded.get(user) if known else None
        if recorded is None and known:
            record = await self._store.user(user)
            recorded = None if record is None else record.name
            if record is None and self._config.auth.users == "known" and not credentials.guest:
                raise SynclineError(ErrorCode.TOKEN_INVALID, "this server does not know the user of the token")
        if recorded is None or (name and recorded != name):
            await self._store.put_user(UserRecord(user, name, credentials.guest, self._clock.time()))
            recorded = name
        self._recorded[user] = recorded
        self._recorded.move_to_end(user)
        while len(self._recorded) > self._config.limits.recent_users:
            self._recorded.popitem(last=False)
