"""The configuration: one typed, frozen tree. Each field says its unit, its bounds and what zero means.

``load.load`` reads TOML and environment (``SYNCLINE_SECTION__KEY``) over these defaults and reports every error at once; docs.py writes
docs/configuration.md from this tree. The sections rooms and documents are in rooms.py and documents.py.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from ...core.limits import LEAST_BATCH_SIZE, LEAST_MESSAGE_BYTES
from .documents import DocumentsConfig
from .rooms import RoomsConfig
from .setting import setting


@dataclass(frozen=True, slots=True)
class ServerConfig:
    host: str = setting("127.0.0.1", "Address to listen on.", restart=True)
    port: int = setting(8000, "Port to listen on.", low=0, high=65535, zero="the system chooses one", restart=True)
    path: str = setting("/ws", "Path of the WebSocket endpoint.", restart=True)
    backlog: int = setting(2048, "Connections that wait to be accepted.", low=1, high=65535, restart=True)
    drain_seconds: float = setting(
        10.0,
        "How long clients may take to leave on SIGTERM, where there are other nodes to go to; else a second at most.",
        unit="s",
        low=0,
        high=3600,
    )
    allowed_origins: list[str] = setting(  # noqa: RUF009  (the list is made anew for each config)
        [],
        'Whose pages may connect; "https://*.a.org", "*"; none: with guests this server\'s, and its machine\'s; with tokens all.',
    )
    allowed_hosts: list[str] = setting(  # noqa: RUF009
        [], "Its own names; none: with guests localhost, addresses, this machine's, a proxy's; with tokens all."
    )
    trusted_proxies: list[str] = setting(  # noqa: RUF009
        [],
        'Addresses and networks ("10.0.0.0/8") of proxies whose X-Forwarded-For says who the client is; none: nobody\'s.',
    )
    proxy_protocol: bool = setting(
        False,
        "Connections from trusted_proxies begin with a header of the PROXY protocol, version 1 or 2.",
        restart=True,
    )
    compression: bool = setting(
        False,
        "Compress messages to clients that offer permessage-deflate; costs about 40 kB for each that sends so.",
        restart=True,
    )
    compression_level: int = setting(1, "zlib's level.", low=1, high=9, restart=True)
    compression_bytes: int = setting(
        512, "Smaller messages are not compressed.", unit="bytes", low=1, high=67_108_864, restart=True
    )
    demo: bool = setting(True, "Serve the demo page at /.", restart=True)


@dataclass(frozen=True, slots=True)
class AuthConfig:
    mode: str = setting(
        "guest",
        "guest: clients without a token become guests (the demo); jwt: a token is required.",
        choices=("guest", "jwt"),
        restart=True,
    )
    users: str = setting(
        "any",
        "any: whoever has a good token is a user. known: only whom the store has (`syncline user add`). Guests are let in by mode.",
        choices=("any", "known"),
    )
    algorithm: str = setting("HS256", "How tokens are signed.", choices=("HS256", "RS256", "EdDSA"))
    secret: str = setting(
        "",
        "HS256 secret, at least 32 bytes; needed in jwt mode. Empty in guest mode: made once and kept in the store.",
        secret=True,
    )
    public_key_file: str = setting(
        "", "PEM file that checks tokens; needed when algorithm is not HS256, unless there is a private_key_file."
    )
    private_key_file: str = setting(
        "",
        "PEM file that signs them, for `syncline token create`, and for guests, who need it when algorithm is not HS256.",
    )
    issuer: str = setting("", "Required `iss` claim; empty: not checked.")
    audience: str = setting("", "Required `aud` claim; empty: not checked.")
    leeway_seconds: float = setting(
        5.0,
        "Tolerated clock difference: so long after its expiry a token opens connections and keeps those it has opened, and so "
        "long before its nbf and iat it is good already.",
        unit="s",
        low=0,
        high=300,
    )
    require_expiry: bool = setting(True, "Refuse tokens without `exp`.")
    timeout_seconds: float = setting(10.0, "Time to authenticate after connecting.", unit="s", low=0.1, high=300)
    expiry_warning_seconds: float = setting(
        60.0,
        "How long before expiry `auth:expiring` is sent, at most a third of what is left.",
        unit="s",
        low=0,
        high=3600,
        zero="no warning",
    )
    guest_token_seconds: float = setting(86400.0, "Life of a guest's token.", unit="s", low=60, high=31536000)


@dataclass(frozen=True, slots=True)
class LimitsConfig:
    message_bytes: int = setting(
        1_048_576,
        "Largest message, of all frames. Clients are told it when they have authenticated, and keep to the least until then.",
        unit="bytes",
        low=LEAST_MESSAGE_BYTES,
        high=67_108_864,
    )
    batch_size: int = setting(
        256, "Envelopes in one frame; clients are told, likewise.", low=LEAST_BATCH_SIZE, high=10_000
    )
    pending_requests: int = setting(
        1024, "Requests waiting on a connection before reading pauses.", low=1, high=100_000
    )
    pending_bytes: int = setting(
        1_048_576,
        "Bytes of requests waiting on a connection before reading pauses; the last message read comes on top.",
        unit="bytes",
        low=4096,
        high=1_073_741_824,
    )
    rooms: int = setting(256, "Rooms joined by one connection.", low=1, high=100_000)
    documents: int = setting(64, "Documents joined by one connection.", low=1, high=10_000)
    queue_bytes: int = setting(
        8_388_608,
        "Bytes waiting for a slow reader before it is disconnected; at least message_bytes.",
        unit="bytes",
        low=65_536,
        high=1_073_741_824,
    )
    queue_high_bytes: int = setting(
        1_048_576,
        "Bytes waiting for a slow reader before it gets no more publications; it recovers them later. At most queue_bytes.",
        unit="bytes",
        low=16_384,
        high=1_073_741_824,
    )
    queue_low_bytes: int = setting(
        131_072,
        "Bytes waiting for a slow reader before volatile events are dropped, and when it begins to recover. At most queue_high_bytes.",
        unit="bytes",
        low=4096,
        high=1_073_741_824,
    )
    unsent_bytes: int = setting(
        131_072,
        "Bytes that the kernel takes for a connection before it has sent what it has (TCP_NOTSENT_LOWAT).",
        unit="bytes",
        low=0,
        high=1_073_741_824,
        zero="as many as it likes, some megabytes",
        restart=True,
    )
    queue_messages: int = setting(
        16_384,
        "Frames waiting for a slow reader before it gets no more publications; with twice as many it is disconnected.",
        low=16,
        high=10_000_000,
    )
    handshakes_per_second: float = setting(
        0.0, "WebSocket handshakes; more are answered 503 with Retry-After.", low=0, high=1_000_000, zero="no limit"
    )
    handshakes_burst: int = setting(500, "WebSocket handshakes taken at once.", low=1, high=1_000_000)
    bad_requests_per_minute: int = setting(
        60, "Malformed or refused-by-form requests in a minute before disconnecting.", low=1, high=100_000
    )
    wrong_passwords_per_minute: int = setting(
        10,
        "Wrong passwords for one room from one address; more are refused unread.",
        low=0,
        high=100_000,
        zero="no limit",
    )
    requests_per_second: float = setting(
        0.0, "Requests of one connection; more are answered `rate_limited`.", low=0, high=1_000_000, zero="no limit"
    )
    requests_burst: int = setting(100, "Requests of one connection at once.", low=1, high=1_000_000)
    bytes_per_second: float = setting(
        0.0, "Bytes of requests of one connection.", unit="bytes", low=0, high=1e12, zero="no limit"
    )
    bytes_burst: int = setting(
        4_194_304,
        "Bytes of requests of one connection at once. A larger request passes when half of them are free; what follows waits until all "
        "of it would have been allowed.",
        unit="bytes",
        low=1024,
        high=1_073_741_824,
    )
    user_requests_per_second: float = setting(
        0.0, "Requests of one user over all connections.", low=0, high=1_000_000, zero="no limit"
    )
    user_requests_burst: int = setting(200, "Requests of one user at once.", low=1, high=1_000_000)
    user_bytes_per_second: float = setting(
        0.0, "Bytes of requests of one user.", unit="bytes", low=0, high=1e12, zero="no limit"
    )
    user_bytes_burst: int = setting(
        8_388_608,
        "Bytes of requests of one user at once; as `bytes_burst`.",
        unit="bytes",
        low=1024,
        high=1_073_741_824,
    )
    waiting_work: int = setting(
        256,
        "Requests that wait for a thread: password hashes, history, operations that are far behind, so many for each; of one "
        "address a quarter, of one user a sixteenth. More are refused, to be tried again.",
        low=16,
        high=100_000,
    )
    recent_users: int = setting(
        20_000,
        "Users who are away and of whom the name, or the role in a room, is remembered: who comes back costs no read of the store.",
        low=0,
        high=10_000_000,
        zero="none",
    )
    connections: int = setting(
        19_000, "Connections on this node, HTTP's included; more are answered with 503.", low=1, high=1_000_000
    )
    address_connections: int = setting(
        0,
        "Connections with a user from one client address (of IPv6: one /64); more are answered 429. Behind a proxy set "
        "server.trusted_proxies first.",
        low=0,
        high=1_000_000,
        zero="no limit",
    )
    address_unidentified: int = setting(
        0,
        "Connections without a user from one client address; of more the one goes that was heard of longest ago.",
        low=0,
        high=1_000_000,
        zero="no limit",
    )
    memory_bytes: int = setting(
        268_435_456,
        "Histories, documents, and what waits for readers and of writers, together, about; docs/operations.md says what goes first.",
        unit="bytes",
        low=0,
        high=1_099_511_627_776,
        zero="no limit",
    )
    ping_seconds: float = setting(
        25.0,
        "A connection on which for so long nothing came, or nothing went, is pinged. Proxies must keep idle ones longer.",
        unit="s",
        low=1,
        high=3600,
        restart=True,
    )
    pong_timeout_seconds: float = setting(
        10.0,
        "One from which nothing came for so long after a ping is closed as dead.",
        unit="s",
        low=0.5,
        high=600,
        restart=True,
    )


@dataclass(frozen=True, slots=True)
class PresenceConfig:
    backend: str = setting(
        "memory",
        "Where presence lives; sqlite knows over a restart when users were last seen.",
        choices=("memory", "sqlite"),
        restart=True,
    )
    grace_seconds: float = setting(
        5.0,
        "How long a lost connection's user counts as here, at most ttl_seconds; 5 s at least for who has a new connection "
        "already, and joins again.",
        unit="s",
        low=0,
        high=600,
        zero="leaves at once",
    )
    metadata_bytes: int = setting(
        4096, "Largest metadata of presence.", unit="bytes", low=0, high=65_536, zero="no metadata"
    )
    list_limit: int = setting(
        100, "Users up to which the answer to a join lists all that are in the room.", low=1, high=100_000
    )
    sample_users: int = setting(
        20,
        "Users that it lists of a larger room, at most list_limit. What joins at once takes as much memory at once.",
        low=1,
        high=100_000,
    )
    occupancy_users: int = setting(
        100,
        "Users above which the members of a room are told their number instead of who joins and leaves.",
        low=1,
        high=100_000,
    )
    occupancy_seconds: float = setting(1.0, "How often they are told, at most.", unit="s", low=0.05, high=3600)
    ttl_seconds: float = setting(
        60.0,
        "Life of a presence entry without a touch, where nodes share them.",
        unit="s",
        low=5,
        high=86_400,
        restart=True,
    )
    unwritten: int = setting(
        100_000,
        "Changes kept while the backend takes none; of more the oldest are lost.",
        low=1,
        high=10_000_000,
        restart=True,
    )


@dataclass(frozen=True, slots=True)
class StoreConfig:
    backend: str = setting("sqlite", "Where state lives.", choices=("memory", "sqlite"), restart=True)
    path: str = setting("syncline.db", "SQLite file.", restart=True)
    synchronous: str = setting(
        "full",
        "full: an ack survives power loss; normal: it survives a crash of the process.",
        choices=("full", "normal"),
        restart=True,
    )
    queue_size: int = setting(
        100_000, "Writes that wait for the disk; more fail as unavailable.", low=100, high=10_000_000, restart=True
    )


@dataclass(frozen=True, slots=True)
class BrokerConfig:
    backend: str = setting(
        "sqlite",
        "How publications travel and where history lives (sqlite: in the store's file; not when store.backend is memory).",
        choices=("memory", "sqlite"),
        restart=True,
    )


@dataclass(frozen=True, slots=True)
class EventsConfig:
    backend: str = setting(
        "none",
        "Where messages are also logged, for other systems. store: with the store's backend. A crash may cost the newest.",
        choices=("store", "none", "memory", "sqlite"),
        restart=True,
    )
    keep: int = setting(1_000_000, "Events kept in the log.", low=1, high=1_000_000_000, restart=True)


@dataclass(frozen=True, slots=True)
class LogConfig:
    level: str = setting("info", "Least severe level that is written.", choices=("debug", "info", "warning", "error"))
    format: str = setting(
        "auto", "auto: console on a terminal, JSON otherwise.", choices=("auto", "console", "json"), restart=True
    )
    waiting: int = setting(
        10_000, "Lines that wait for who reads them; more are dropped.", low=100, high=1_000_000, restart=True
    )
    repeat_seconds: float = setting(
        10.0,
        "So long a few lines of a kind are written, then one that says how many more there were. 0: all are written.",
        unit="seconds",
        low=0.0,
        high=3600.0,
        restart=True,
    )


@dataclass(frozen=True, slots=True)
class MetricsConfig:
    enabled: bool = setting(True, "Serve /metrics.", restart=True)


@dataclass(frozen=True, slots=True)
class ApiConfig:
    key: str = setting(
        "", "What requests to the HTTP API carry, at least 16 characters; empty: there is no API.", secret=True
    )
    body_bytes: int = setting(1_048_576, "Largest request.", unit="bytes", low=1024, high=67_108_864)


@dataclass(frozen=True, slots=True)
class Config:
    """All settings. Who reads one later than at its own making holds this, and no section: a reload gives it others."""

    server: ServerConfig = field(default_factory=ServerConfig)
    auth: AuthConfig = field(default_factory=AuthConfig)
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    rooms: RoomsConfig = field(default_factory=RoomsConfig)
    presence: PresenceConfig = field(default_factory=PresenceConfig)
    documents: DocumentsConfig = field(default_factory=DocumentsConfig)
    store: StoreConfig = field(default_factory=StoreConfig)
    broker: BrokerConfig = field(default_factory=BrokerConfig)
    events: EventsConfig = field(default_factory=EventsConfig)
    log: LogConfig = field(default_factory=LogConfig)
    metrics: MetricsConfig = field(default_factory=MetricsConfig)
    api: ApiConfig = field(default_factory=ApiConfig)

    def swap(self, other: Config) -> None:
        """Has the sections of another one from now on, all at once. For a reload (reload.py); nobody else changes any."""
        for section in fields(self):
            object.__setattr__(self, section.name, getattr(other, section.name))
