"""Sockets of thousands of users in one process, read by one greenlet.

A greenlet and a libev watcher per connection is what gevent gives. Here all sockets are in one epoll of our own, which is
itself watched by gevent's loop: the kernel says which are ready, in C, and a connection costs no stack. Connecting, where
time does not matter, uses gevent's sockets in the user's own greenlet.
"""

from __future__ import annotations

import logging
import socket as original
import ssl
from collections.abc import Callable
from typing import Any, Protocol

import gevent
from gevent import monkey, socket
from gevent import ssl as gevent_ssl

from . import measure

log = logging.getLogger("loadtests")

READ_BYTES = 262_144
BATCH = 256
MOST_UNSENT = 16_777_216  # bytes that wait for a server that does not read; over it the link is given up
READ, WRITE = 0x001, 0x004  # EPOLLIN, EPOLLOUT
# gevent takes epoll out of ``select``, because it would block everything; ours never waits.
new_epoll: Callable[[], Any] = monkey.get_original("select", "epoll")
plain_socket: Callable[..., original.socket] = monkey.get_original("socket", "socket")


class Receiver(Protocol):
    """Called in the pump's greenlet: must not wait for anything."""

    def on_data(self, data: bytes, now: float) -> None:
        """``now``: Unix time at which the socket was read."""

    def on_gone(self) -> None:
        """Exactly once, unless ``close`` was called here."""


class Link:
    """One connected socket in the pump."""

    __slots__ = ("_fd", "_pump", "_reading", "_receiver", "_socket", "_unsent", "open")

    def __init__(self, pump: Pump, connected: Any, receiver: Receiver) -> None:
        self._pump = pump
        self._receiver = receiver
        self._socket = connected
        self._fd = connected.fileno()
        self._unsent = bytearray()
        self._reading = True
        self.open = True
        pump.add(self._fd, self)

    def send(self, data: bytes) -> None:
        """Never waits; what the kernel does not take is kept."""
        if not self.open:
            return
        sent = 0
        if not self._unsent:
            try:
                sent = self._socket.send(data)
            except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
                pass
            except OSError:
                self._end()
                return
            if sent == len(data):
                return
            self._unsent += data[sent:]
            self._interest()
        else:
            self._unsent += data
        if len(self._unsent) > MOST_UNSENT:
            self._end()

    def pause(self) -> None:
        """Reads no more, so that the server's data waits in the kernels and then at the server."""
        self._reading = False
        self._interest()

    def resume(self) -> None:
        self._reading = True
        self._interest()

    def close(self) -> None:
        """The receiver hears nothing more. Idempotent."""
        if self.open:
            self.open = False
            self._pump.remove(self._fd)
            self._socket.close()

    def reset(self) -> None:
        """As a lost network: the connection ends without a word (with a reset, so that no port waits)."""
        if self.open:
            self._socket.setsockopt(original.SOL_SOCKET, original.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            self.close()

    def on_ready(self, events: int, now: float) -> None:
        """By the pump."""
        if events & WRITE and self._unsent:
            self._flush()
        if events & ~WRITE and self.open:
            self._read(now)

    def _read(self, now: float) -> None:
        while True:
            try:
                data = self._socket.recv(READ_BYTES)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return
            except OSError:
                self._end()
                return
            if not data:
                self._end()
                return
            self._receiver.on_data(data, now)
            if not self.open:
                return
            # What TLS has decrypted already is not seen by epoll.
            if not isinstance(self._socket, ssl.SSLSocket) or not self._socket.pending():
                return

    def _flush(self) -> None:
        try:
            sent = self._socket.send(self._unsent)
        except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            return
        except OSError:
            self._end()
            return
        del self._unsent[:sent]
        if not self._unsent:
            self._interest()

    def _interest(self) -> None:
        if self.open:
            self._pump.change(self._fd, (READ if self._reading else 0) | (WRITE if self._unsent else 0))

    def _end(self) -> None:
        if self.open:
            self.close()
            self._receiver.on_gone()


class Pump:
    """One per process; ``Pump.get()`` starts it, after the forks of ``--processes``."""

    _instance: Pump | None = None

    def __init__(self) -> None:
        self._epoll = new_epoll()
        self._links: dict[int, Link] = {}
        self._greenlet = gevent.spawn(self._run)

    @classmethod
    def get(cls) -> Pump:
        if cls._instance is None:
            cls._instance = cls()
        return cls._instance

    def add(self, fd: int, link: Link) -> None:
        self._links[fd] = link
        self._epoll.register(fd, READ)

    def change(self, fd: int, events: int) -> None:
        self._epoll.modify(fd, events)

    def remove(self, fd: int) -> None:
        del self._links[fd]
        self._epoll.unregister(fd)

    def _run(self) -> None:
        hub = gevent.get_hub()
        watcher = hub.loop.io(self._epoll.fileno(), 1)
        while True:
            hub.wait(watcher)  # after each batch the other greenlets have their turn
            now = measure.now()
            for fd, events in self._epoll.poll(0, BATCH):
                link = self._links.get(fd)
                if link is None:
                    continue
                try:
                    link.on_ready(events, now)
                except Exception:
                    log.exception("a fault in the load generator; the connection is dropped")
                    link._end()


def connect(
    host: str, port: int, *, tls: ssl.SSLContext | None, source: str | None, timeout: float, receive_bytes: int = 0
) -> Any:
    """A connected gevent socket. ``source``: the local address. ``receive_bytes``: a small receive buffer makes a slow
    reader slow at once. Raises OSError (also for a time-out)."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=original.SOCK_STREAM)[0]
    connected = socket.socket(family, kind, protocol)
    try:
        connected.settimeout(timeout)
        if receive_bytes:
            connected.setsockopt(original.SOL_SOCKET, original.SO_RCVBUF, receive_bytes)
            # Loopback's segments of 64 KiB would let the server's kernel take more than a megabyte.
            connected.setsockopt(original.IPPROTO_TCP, original.TCP_MAXSEG, 1460)
        connected.setsockopt(original.IPPROTO_TCP, original.TCP_NODELAY, 1)
        if source:
            # The port is chosen when the other end is known, so that 28,000 ports are there for each address.
            connected.setsockopt(original.SOL_IP, getattr(original, "IP_BIND_ADDRESS_NO_PORT", 24), 1)
            connected.bind((source, 0))
        connected.connect(address)
        if tls is not None:
            connected = tls.wrap_socket(connected, server_hostname=host)
    except BaseException:
        connected.close()
        raise
    return connected


def tls_context(verify: bool) -> ssl.SSLContext:
    context: ssl.SSLContext = gevent_ssl.create_default_context()
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def plain(connected: Any) -> Any:
    """The socket as the pump reads it: not blocking, and without gevent's layer where that is possible."""
    if isinstance(connected, ssl.SSLSocket):
        connected.settimeout(0)
        return connected
    bare = plain_socket(connected.family, connected.type, connected.proto, connected.detach())
    bare.setblocking(False)
    return bare
