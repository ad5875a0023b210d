"""What one setting alone cannot tell: settings that contradict each other, files that are not there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TypeAlias

from ..net.addresses import network
from ..net.origins import is_host, is_origin
from .key_files import MIN_SECRET_BYTES, KeyFileError, load_pair, load_private_key, load_public_key
from .rooms import RoomsConfig
from .schema import AuthConfig, Config

#: (the keys concerned, the one to change first; what is wrong)
Conflict: TypeAlias = tuple[tuple[str, ...], str]

#: Paths of http.py.
_TAKEN: Final = ("/health", "/ready", "/metrics", "/api/messages", "/api/events")

_HISTORY: Final = re.compile(r"full|checkpoints|days=[1-9][0-9]{0,5}")


def conflicts(config: Config) -> Iterator[Conflict]:
    """Reads key files and looks for folders; changes nothing."""
    yield from _server(config)
    yield from _auth(config.auth)
    yield from _bounds(config)
    yield from _room_classes(config.rooms)
    if not _HISTORY.fullmatch(config.documents.history):
        found = config.documents.history
        yield (
            ("documents.history",),
            f'found "{found}", allowed is "full", "checkpoints" or "days=N" with N from 1 to 999,999',
        )
    if config.documents.checkpoint_bytes < config.documents.block_bytes:
        least = config.documents.block_bytes
        why = f"is {config.documents.checkpoint_bytes}, below documents.block_bytes ({least}): a checkpoint comes after a block"
        yield ("documents.checkpoint_bytes", "documents.block_bytes"), why
    yield from _store(config)


def _server(config: Config) -> Iterator[Conflict]:
    server = config.server
    if 0 < len(config.api.key) < 16 or not config.api.key.isprintable():
        yield ("api.key",), "is too short or not printable; 16 characters are needed (`openssl rand -hex 24` makes 48)"
    if not server.host.strip():
        yield ("server.host",), 'is empty; an address is needed ("0.0.0.0" or "::" for all)'
    if not re.fullmatch(r"/[^\s?#{}]+", server.path) or server.path in _TAKEN:
        yield ("server.path",), f'found "{server.path}", allowed is a path such as "/ws", none of {", ".join(_TAKEN)}'
    for origin in server.allowed_origins:
        if not is_origin(origin):
            allowed = '"*", or an origin such as "https://example.org" or "https://*.example.org" (no path, no slash at the end)'
            yield ("server.allowed_origins",), f'found "{origin}", allowed is {allowed}'
    for proxy in server.trusted_proxies:
        try:
            network(proxy)
        except ValueError as error:
            yield ("server.trusted_proxies",), f'found "{proxy}", allowed is an address or "10.0.0.0/8": {error}'
    if server.proxy_protocol and not server.trusted_proxies:
        why = "is on, but server.trusted_proxies is empty: nobody may send its header"
        yield ("server.proxy_protocol", "server.trusted_proxies"), why
    for host in server.allowed_hosts:
        if not is_host(host):
            yield (
                ("server.allowed_hosts",),
                f'found "{host}", allowed is "*", or a name such as "rt.example.org" (no port)',
            )


def _auth(auth: AuthConfig) -> Iterator[Conflict]:
    if auth.algorithm == "HS256":
        size = len(auth.secret.encode())
        at_least = f"at least {MIN_SECRET_BYTES} bytes are needed (`openssl rand -base64 48` makes one)"
        if auth.mode == "jwt" and not size:
            yield ("auth.secret", "auth.mode", "auth.algorithm"), f'is missing: auth.mode is "jwt"; {at_least}'
        elif 0 < size < MIN_SECRET_BYTES:
            yield ("auth.secret", "auth.algorithm"), f"has {size} bytes; {at_least}"
        return
    if auth.mode == "guest" and not auth.private_key_file:
        why = f'auth.mode is "guest" and auth.algorithm "{auth.algorithm}": guests\' tokens need a key that signs them'
        yield ("auth.private_key_file", "auth.mode", "auth.algorithm"), f"is missing: {why}"
    elif not auth.public_key_file and not auth.private_key_file:
        why = f'auth.algorithm is "{auth.algorithm}": a PEM file that checks tokens is needed'
        yield ("auth.public_key_file", "auth.algorithm"), f"is missing: {why}"
    usable = True
    try:
        if auth.public_key_file:
            load_public_key(auth.public_key_file, auth.algorithm)
    except KeyFileError as error:
        usable = False
        yield ("auth.public_key_file", "auth.algorithm"), str(error)
    try:
        if auth.private_key_file:
            load_private_key(auth.private_key_file, auth.algorithm)
    except KeyFileError as error:
        usable = False
        yield ("auth.private_key_file", "auth.algorithm"), str(error)
    if usable and auth.public_key_file and auth.private_key_file:
        try:
            load_pair(auth.algorithm, auth.public_key_file, auth.private_key_file)
        except KeyFileError as error:
            yield ("auth.private_key_file", "auth.public_key_file", "auth.algorithm"), str(error)


def _bounds(config: Config) -> Iterator[Conflict]:
    limits, presence = config.limits, config.presence
    if limits.queue_bytes < limits.message_bytes:
        yield (
            ("limits.queue_bytes", "limits.message_bytes"),
            f"is {limits.queue_bytes}, below limits.message_bytes ({limits.message_bytes}): "
            "the largest message could not be delivered",
        )
    elif limits.queue_high_bytes > limits.queue_bytes:
        why = f"is {limits.queue_high_bytes}, above limits.queue_bytes ({limits.queue_bytes}): readers would be disconnected before"
        yield ("limits.queue_high_bytes", "limits.queue_bytes"), why
    if limits.queue_low_bytes > limits.queue_high_bytes:
        why = f"is {limits.queue_low_bytes}, above limits.queue_high_bytes ({limits.queue_high_bytes})"
        yield ("limits.queue_low_bytes", "limits.queue_high_bytes"), why
    if presence.sample_users > presence.list_limit:
        why = f"is {presence.sample_users}, above presence.list_limit ({presence.list_limit}): a sample is what is told where not all are"
        yield ("presence.sample_users", "presence.list_limit"), why
    if presence.grace_seconds > presence.ttl_seconds:
        yield (
            ("presence.grace_seconds", "presence.ttl_seconds"),
            f"is {presence.grace_seconds:g} s, above presence.ttl_seconds ({presence.ttl_seconds:g} s): "
            "users would expire within it",
        )


def _room_classes(rooms: RoomsConfig) -> Iterator[Conflict]:
    for key, patterns in (("rooms.latest", rooms.latest), ("rooms.volatile", rooms.volatile)):
        for pattern in patterns:
            if not re.fullmatch(r"[^*\x00-\x1f]{1,128}\*?|\*", pattern):
                yield (key,), f'found "{pattern}", allowed is the name of a room, or its beginning and "*"'
    both = sorted(set(rooms.latest) & set(rooms.volatile))
    if both:
        yield ("rooms.volatile", "rooms.latest"), f'both have "{both[0]}"'


def _store(config: Config) -> Iterator[Conflict]:
    backends = (config.store.backend, config.broker.backend, config.presence.backend, config.events.backend)
    if "sqlite" not in backends:
        return
    if config.store.backend == "memory" and config.broker.backend == "sqlite":
        why = "would outlast their owners and members: store.backend is memory; with it, broker.backend has to be memory, too"
        yield ("broker.backend", "store.backend"), f'is "sqlite": rooms {why}'
    path = Path(config.store.path)
    if not config.store.path:
        yield ("store.path",), "is empty, but a backend is sqlite"
        return
    try:
        if not path.parent.is_dir():
            yield ("store.path",), f'the folder of "{path}" does not exist'
        elif path.is_dir():
            yield ("store.path",), f'"{path}" is a folder; a file is expected'
    except OSError as error:  # pathlib hides only that something is not there
        yield ("store.path",), f'"{path}": {error.strerror}'
