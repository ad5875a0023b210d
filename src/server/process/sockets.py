"""The sockets that a node listens on: its own, or those that who started it has opened and keeps open.

A socket that outlives the process loses nobody: who connects between two processes waits in its queue. systemd hands such sockets over
(socket activation), and so does a node that starts itself anew (service.py). Protocol: sd_listen_fds(3): ``LISTEN_FDS`` of them from
descriptor 3 on, for the process ``LISTEN_PID``. ``LISTEN_FDNAMES`` tells which of the two it was.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Final

from ..config.schema import ServerConfig

#: SD_LISTEN_FDS_START.
FIRST: Final = 3
#: The name of those that this server opened itself, in a former life.
OWN: Final = "syncline-own"


class ListenError(Exception):
    """One line for the operator."""


@dataclass(frozen=True, slots=True)
class Listeners:
    """``own``: this server opened them by its configuration. Otherwise who started it did, and keeps them for the next process."""

    sockets: list[socket.socket]
    own: bool

    def close(self) -> None:
        for one in self.sockets:
            one.close()

    def duplicate(self) -> Listeners:
        return Listeners([one.dup() for one in self.sockets], self.own)


def inherited(environ: MutableMapping[str, str]) -> Listeners | None:
    """Those that were handed over to this process; the variables go, so that no child takes them for its own. Raises ListenError."""
    process, count, names = (environ.pop(name, "") for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"))
    if process != str(os.getpid()) or not count.isdecimal() or not int(count):
        return None
    found = []
    for descriptor in range(FIRST, FIRST + int(count)):
        try:
            os.set_inheritable(descriptor, False)
            one = socket.socket(fileno=descriptor)
            tcp = one.family in (socket.AF_INET, socket.AF_INET6) and one.type == socket.SOCK_STREAM
            listens = one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        except OSError as error:
            raise ListenError(f"descriptor {descriptor} of LISTEN_FDS: {error.strerror or error}") from error
        if not tcp or not listens:
            raise ListenError(f"descriptor {descriptor} of LISTEN_FDS is no TCP socket that listens")
        one.setblocking(False)
        found.append(one)
    return Listeners(found, own=set(names.split(":")) == {OWN})


def hand_over(listeners: Listeners, environ: MutableMapping[str, str]) -> None:
    """For ``execv`` next: this process becomes another one, and has them. Descriptors from FIRST on must be free or worthless."""
    # Out of the way first: one may be where another one goes.
    least = FIRST + len(listeners.sockets)
    high = [fcntl.fcntl(one.fileno(), fcntl.F_DUPFD_CLOEXEC, least) for one in listeners.sockets]
    for at, descriptor in enumerate(high):
        os.dup2(descriptor, FIRST + at, inheritable=True)
        os.close(descriptor)
    environ["LISTEN_PID"], environ["LISTEN_FDS"] = str(os.getpid()), str(len(high))
    environ["LISTEN_FDNAMES"] = ":".join([OWN if listeners.own else "given"] * len(high))


def bind(server: ServerConfig) -> socket.socket:
    """One that does not listen yet. Raises ListenError."""
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            server.host, server.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, proto)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.setblocking(False)
        except OSError:
            listener.close()
            raise
    except (OSError, UnicodeError) as error:  # the latter of a name that is none, such as "a..b"
        reason = getattr(error, "strerror", None) or error
        raise ListenError(f"cannot listen on {server.host}:{server.port}: {reason}") from error
    return listener


def tune(listener: socket.socket, unsent_bytes: int) -> None:
    """Connections inherit it: what waits for a slow reader waits in its queue, where it is bounded and can still be replaced."""
    if unsent_bytes and hasattr(socket, "TCP_NOTSENT_LOWAT"):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, unsent_bytes)


def url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return _url(host, port)


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


#: For every address of the machine -> an address elsewhere (RFC 5737, RFC 3849: for documentation, never there), its own.
_EVERYWHERE: Final = {"0.0.0.0": ("192.0.2.1", "127.0.0.1"), "::": ("2001:db8::1", "::1")}


def to_open(listener: socket.socket) -> list[str]:
    """Where a browser finds it that listens on every address, which is no place to go to: on this machine, and from others."""
    host, port = listener.getsockname()[:2]
    if host not in _EVERYWHERE:
        return []
    elsewhere, here = _EVERYWHERE[host]
    found = [here]
    with socket.socket(listener.family, socket.SOCK_DGRAM) as asking, contextlib.suppress(OSError):
        asking.connect((elsewhere, 9))  # sends nothing: it is asked by which address one would go there
        found.append(asking.getsockname()[0])
    return [_url(one, port) for one in dict.fromkeys(found)]
