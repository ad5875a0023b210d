"""Whose pages may use this server, by the Origin and the Host of a request.

A page in a browser may open a WebSocket to whatever its machine reaches. Where guests need no token that is all it takes to read
and write, so by default only pages of this server itself may connect, and on one machine those of its other ports: a program that
serves one there could connect itself. It must have been reached by a name of its own: else the owner of any other name could point
that here and be the same origin (DNS rebinding). With tokens neither tells anything
about who is allowed in, so by default all pass. What is no browser sends no Origin, and passes.

A proxy in front may have any name; it is known by what it adds to a request, which no page can add to a handshake, or by its address
where ``server.trusted_proxies`` has it.

Sources: RFC 6454 (origins), RFC 6455 section 10.2, RFC 9110 sections 7.2 and 15.5.20 (Host, 421).
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, Protocol
from urllib.parse import urlsplit

from .addresses import Addresses

_PORTS: Final = {"http": 80, "ws": 80, "https": 443, "wss": 443}
_NAME: Final = r"(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*"
_PATTERN: Final = re.compile(rf"(?!wss?:)[a-z][a-z0-9+.-]*://({_NAME}|\[[0-9a-f:.]+\])(:[0-9]{{1,5}})?", re.IGNORECASE)
_HOST: Final = re.compile(rf"{_NAME}|\[?[0-9a-f:.]+\]?", re.IGNORECASE)
_PROXIES: Final = ("x-forwarded-for", "x-forwarded-host", "forwarded", "via")

#: Longer ones are cut in what is told of them.
_TOLD: Final = 100


class Origin(NamedTuple):
    """As browsers compare it: scheme and host in lower case, the port always there where the scheme has one."""

    scheme: str
    host: str
    port: int | None

    @classmethod
    def parse(cls, text: str) -> Origin:
        """Raises ValueError."""
        url = urlsplit(text.strip().lower())
        if not url.scheme or not url.hostname:
            raise ValueError("not an origin")
        return cls(url.scheme, url.hostname.removesuffix("."), url.port or _PORTS.get(url.scheme))


def is_origin(text: str) -> bool:
    """Whether ``server.allowed_origins`` may hold it: an origin as browsers write it (names beyond ASCII as xn--...), its host perhaps with
    ``*.`` before it; "null"; or "*"."""
    if text in ("*", "null"):
        return True
    try:
        return _PATTERN.fullmatch(text) is not None and bool(Origin.parse(text))
    except ValueError:  # a port beyond 65535
        return False


def is_host(text: str) -> bool:
    """Whether ``server.allowed_hosts`` may hold it: a name without port, perhaps with ``*.`` before it; or "*"."""
    return text == "*" or _HOST.fullmatch(text) is not None


class Allowed(Protocol):
    """The settings of ``server`` that say it."""

    @property
    def host(self) -> str: ...
    @property
    def allowed_origins(self) -> Sequence[str]: ...
    @property
    def allowed_hosts(self) -> Sequence[str]: ...
    @property
    def trusted_proxies(self) -> Sequence[str]: ...


class Origins:
    """What one configuration allows. ``guests``: whether who comes needs no token."""

    def __init__(self, server: Allowed, *, guests: bool) -> None:
        origins = server.allowed_origins or ([] if guests else ["*"])
        self._any_origin = "*" in origins
        self._no_origin = "null" in origins
        self._origins = [Origin.parse(text) for text in origins if text not in ("*", "null")]
        hosts = server.allowed_hosts or ([] if guests else ["*"])
        self._any_host = "*" in hosts
        self._proxies = not server.allowed_hosts
        self._addresses = Addresses(server.trusted_proxies)
        own = ["localhost", "*.localhost", server.host, socket.gethostname(), socket.gethostname() + ".local"]
        self._hosts = [name.strip("[]").lower() for name in (*own, *hosts, *(one.host for one in self._origins))]

    def refused(self, headers: Mapping[str, str], peer: str) -> str:
        """Why this handshake's page may not connect; "" when it may. ``headers``: names in lower case; ``peer``: the address of
        who sent them."""
        given = headers.get("origin")
        if given is None:
            return ""
        told = repr(given[:_TOLD])
        if given == "null":
            allowed = self._any_origin or self._no_origin
        else:
            try:
                allowed = self._any_origin or self._allows(Origin.parse(given), headers, peer)
            except ValueError:
                allowed = False
        if not allowed:
            return f"pages of {told} may not connect here: server.allowed_origins does not have that origin"
        return self.misdirected(headers, peer)

    def _allows(self, origin: Origin, headers: Mapping[str, str], peer: str) -> bool:
        if any(
            one.scheme == origin.scheme and one.port == origin.port and _matches(one.host, origin.host)
            for one in self._origins
        ):
            return True
        if self._origins or self._no_origin:
            return False
        # The server's own pages. The scheme may be another one before a proxy that ends TLS.
        for name in ("host", "x-forwarded-host"):
            host, port = _split(headers.get(name, "").partition(",")[0])
            if host == origin.host and (int(port) if port else _PORTS.get(origin.scheme)) == origin.port:
                return True
        if origin.scheme not in ("http", "https") or any(name in headers for name in _PROXIES):
            return False  # no page, or the browser is on another machine
        return all(_is_loopback(host) for host in (origin.host, _split(headers.get("host", ""))[0], peer))

    def misdirected(self, headers: Mapping[str, str], peer: str) -> str:
        """Why this server is not the one that was asked for; "" when it is."""
        if self._any_host or (self._proxies and self._by_proxy(headers, peer)):
            return ""
        for name in ("host", "x-forwarded-host"):
            given = headers.get(name, "").partition(",")[0]
            host = _split(given)[0]
            if host and not _is_address(host) and not any(_matches(one, host) for one in self._hosts):
                break
        else:
            return ""
        return f"this server is not reached as {given[:_TOLD]!r}: server.allowed_hosts does not have that name"

    def _by_proxy(self, headers: Mapping[str, str], peer: str) -> bool:
        """Whether a proxy sent it; where none are trusted by address, whoever says so."""
        if self._addresses.trusting and not self._addresses.trusts(peer):
            return False
        return any(name in headers for name in _PROXIES)


def _matches(pattern: str, host: str) -> bool:
    """``*.example.org`` has all names below, and not itself."""
    return host.endswith(pattern[1:]) and len(host) > len(pattern) - 1 if pattern.startswith("*.") else host == pattern


def _split(given: str) -> tuple[str, str]:
    """Host and port of a Host header; "" for what it does not have."""
    given = given.strip().lower()
    if given.startswith("["):
        host, _, rest = given[1:].partition("]")
        port = rest.removeprefix(":")
    else:
        host, _, port = given.partition(":")
    return host.removesuffix("."), port if re.fullmatch("[0-9]{1,5}", port) else ""


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    return _is_address(host) and ipaddress.ip_address(host).is_loopback


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
