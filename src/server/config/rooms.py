"""The section ``rooms`` of the configuration (schema.py)."""

from __future__ import annotations

from dataclasses import dataclass

from .setting import setting


@dataclass(frozen=True, slots=True)
class RoomsConfig:
    create_on_join: bool = setting(True, "A join creates the room when there is none.")
    default_role: str = setting("member", "Role of who joins a room made by a join.", choices=("member", "reader"))
    history_size: int = setting(1000, "Publications kept per room.", low=0, high=1_000_000, zero="none", restart=True)
    history_bytes: int = setting(
        1_048_576,
        "Bytes of publications kept per room.",
        unit="bytes",
        low=0,
        high=1_073_741_824,
        zero="none",
        restart=True,
    )
    history_seconds: float = setting(
        0.0,
        "Age from which publications are not given.",
        unit="s",
        low=0,
        high=315_360_000,
        zero="any age",
        restart=True,
    )
    max_histories: int = setting(
        100_000,
        "Rooms whose history is kept in memory; the longest unused goes first.",
        low=1,
        high=10_000_000,
        restart=True,
    )
    idempotency_seconds: float = setting(
        300.0,
        "How long a message's idempotency_key is remembered: sent again within that time it is not published again.",
        unit="s",
        low=1,
        high=2_592_000,
        restart=True,
    )
    idempotency_keys: int = setting(
        1_000_000,
        "Keys remembered, of all rooms; of more the oldest go before their time. Each takes about 50 bytes in memory, and as many on disk.",
        low=1,
        high=100_000_000,
        restart=True,
    )
    latest: list[str] = setting(  # noqa: RUF009  (the list is made anew for each config)
        [],
        'Rooms of which a slow reader gets the newest message per key: names, or beginnings such as "ticker:*".',
        restart=True,
    )
    volatile: list[str] = setting(  # noqa: RUF009
        [],
        "Rooms of which a slow reader gets what it keeps up with; no pattern of latest. The longest pattern that fits decides.",
        restart=True,
    )
