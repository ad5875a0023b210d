"""One piece of work against one server: connect, warm up, measure, drain, report."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import socket
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from . import process
from .dialects import DIALECTS, Client, Dialect, Greeting
from .engine import Engine
from .ledger import LEAST_PAYLOAD, Ledger

KINDS: Final = ("rounds", "paced", "connect", "idle", "cut", "avalanche")

#: Descriptors beside the connections: epoll, a timer, what Python has open.
_SPARE_DESCRIPTORS: Final = 50

Report = dict[str, Any]


class WorkError(Exception):
    """The work could not be done; the text is for whoever asked for it."""


@dataclass(frozen=True)
class Work:
    """What to do. Times in seconds, sizes in bytes; the defaults are a small round of everything.

    ``publishers`` of each room publish; 0: all members. ``window``: messages that each of them keeps on their way
    (rounds). ``rate``: messages a second altogether (paced, cut, avalanche). ``cut``: each member that does not publish
    loses its connection about every so many seconds; it comes back after a random time within ``retry``. ``secret``:
    signs a token (HS256) for each connection; without it, ``token`` is everybody's; without both they are guests.
    """

    kind: str
    url: str
    dialect: str = "syncline-json"
    rooms: int = 1
    members: int = 100
    publishers: int = 1
    payload: int = 128
    window: int = 1
    rate: float = 50.0
    seconds: float = 5.0
    warmup: float = 1.0
    concurrency: int = 64
    timeout: float = 60.0
    drain: float = 5.0
    cut: float = 2.0
    retry: tuple[float, float] = (0.0, 0.2)
    sources: int = 50
    secret: str = ""
    token: str = ""
    stepwise: bool = False
    mask: bool = True
    room: str = "bench"
    server_pid: int = 0

    @property
    def connections(self) -> int:
        return self.rooms * self.members


def token(secret: str, user: str, seconds: float = 86_400.0) -> str:
    """A JWT signed with HS256 (RFC 7519, RFC 7515)."""

    def part(data: bytes) -> bytes:
        return base64.urlsafe_b64encode(data).rstrip(b"=")

    claims = {"sub": user, "exp": int(time.time() + seconds)}
    signed = part(b'{"alg":"HS256","typ":"JWT"}') + b"." + part(json.dumps(claims).encode())
    return (signed + b"." + part(hmac.digest(secret.encode(), signed, hashlib.sha256))).decode()


def addresses(count: int) -> list[str]:
    """``count`` addresses of the loopback network: each has its own ports to connect from."""
    return [f"127.0.{1 + i // 250}.{1 + i % 250}" for i in range(count)]


class Run:
    """``work`` in stages, in this order: open, measure, settle, report."""

    def __init__(self, work: Work, tell: Callable[[str], object] | None = None) -> None:
        """Connects nothing yet. Raises WorkError for work that makes no sense."""
        self.work = work
        self._tell = tell
        self.dialect = self._dialect()
        split = urlsplit(work.url)
        if split.scheme not in {"ws", "http"} or not split.hostname:
            raise WorkError(f"{work.url}: want ws://HOST[:PORT][/PATH]")
        self._host = split.hostname
        self._port = split.port or 80
        path = split.path + (f"?{split.query}" if split.query else "")
        self._path = path if path not in {"", "/"} else self.dialect.path
        self._request = self.dialect.request(f"{self._host}:{self._port}", self._path)
        publishers = work.publishers or work.members
        depth = work.window if work.kind == "rounds" else min(65_536, max(1024, int(work.rate * 10)))
        if work.payload < LEAST_PAYLOAD:
            raise WorkError(f"a payload has at least {LEAST_PAYLOAD} bytes: publisher, sequence number, time")
        try:
            self.ledger = Ledger(work.rooms, work.members, publishers, work.payload, depth)
        except ValueError as error:
            raise WorkError(str(error)) from error
        self._recovery = self.dialect.recovery() if self.dialect.recovery and self._comes_back else None
        self.engine = self._engine()
        self._before = self._usage()
        self._connecting = 0.0
        self._connect_usage: dict[str, float] = {}
        self._measured: Report = {}
        self._last_told = (0.0, 0, 0)

    @property
    def _comes_back(self) -> bool:
        return self.work.kind in {"cut", "avalanche"}

    def _dialect(self) -> Dialect:
        try:
            return DIALECTS[self.work.dialect]
        except KeyError:
            raise WorkError(f"no dialect {self.work.dialect}; there are {', '.join(DIALECTS)}") from None

    def _engine(self) -> Engine:
        work, dialect = self.work, self.dialect
        try:
            address = socket.gethostbyname(self._host)
        except OSError as error:
            raise WorkError(f"{self._host}: {error}") from error
        sources = addresses(work.sources) if address.startswith("127.") else []
        filler = Ledger(1, 1, 1, work.payload).message(0, 0)
        lead, trail = dialect.around(work.payload)
        engine = Engine(
            self.ledger,
            (address, self._port),
            sources,
            lambda member: self._request,
            self._greeting,
            [dialect.frame(self._room(room), filler) for room in range(work.rooms)],
            opcode=dialect.opcode,
            lead=lead,
            trail=trail,
            error=dialect.error,
            ping=dialect.ping,
            pong=dialect.pong,
            position_key=dialect.position_key if self._recovery is not None else b"",
            position_after=dialect.position_after,
            greeted=self._greeted if self._recovery is not None else None,
            mask=work.mask,
        )
        engine.progress = self._progress
        return engine

    def _room(self, room: int) -> str:
        return f"{self.work.room}-{room}"

    def _greeting(self, member: int) -> Greeting:
        work = self.work
        user = f"load-{member}"
        proof = token(work.secret, user) if work.secret else work.token
        client = Client(self._room(member // work.members), user, proof)
        if self._recovery is not None:
            again = self._recovery.greeting(member, client, self.engine.position(member))
            if again is not None:
                return again
        return self.dialect.greeting(client, work.stepwise)

    def _greeted(self, member: int, message: bytes) -> None:
        assert self._recovery is not None
        self._recovery.heard(member, message, self.engine.position(member))

    def _usage(self) -> process.Usage | None:
        try:
            return process.usage(self.work.server_pid) if self.work.server_pid else None
        except OSError as error:
            raise WorkError(f"server process {self.work.server_pid}: {error}") from error

    def _progress(self) -> None:
        if self._tell is None:
            return
        now, engine, ledger = time.monotonic(), self.engine, self.ledger
        then, published, delivered = self._last_told
        self._last_told = (now, ledger.published, ledger.delivered)
        apart = now - then if then else 1.0
        self._tell(
            f"{engine.ready:,} of {self.work.connections:,} ready"
            f" | {(ledger.published - published) / apart:,.0f} published/s"
            f" | {(ledger.delivered - delivered) / apart:,.0f} delivered/s"
            f" | p50 {ledger.each.percentile(50) / 1e6:.2f} p99 {ledger.each.percentile(99) / 1e6:.2f} ms"
            f" | gaps {ledger.gaps:,} twice {ledger.duplicates:,} lost {engine.lost:,} errors {engine.errors:,}"
        )

    def _timed(self, what: Callable[[], object]) -> Report:
        """How long it took, and how busy that kept this process and the server."""
        server, own, start = self._usage(), process.own_cpu(), time.monotonic()
        what()
        seconds = time.monotonic() - start
        used: Report = {"seconds": seconds, "generator_busy": (process.own_cpu() - own) / seconds}
        after = self._usage()
        if server is not None and after is not None:
            used["server_busy"] = (after.cpu - server.cpu) / seconds
            used["server_cpu_seconds"] = after.cpu - server.cpu
        return used

    # -- stages --------------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Raises WorkError unless everybody is in."""
        work, engine = self.work, self.engine
        if process.raise_descriptor_limit(work.connections + _SPARE_DESCRIPTORS) < work.connections:
            raise WorkError(f"{work.connections:,} connections are more than this process may open: raise `ulimit -n`")
        try:
            self._connect_usage = self._timed(lambda: engine.open(work.concurrency, work.timeout))
        except OSError as error:
            raise WorkError(error.strerror or str(error)) from error
        if engine.ready < work.connections:
            why = ", ".join(f"{count:,} x {reason}" for reason, count in engine.endings.items())
            raise WorkError(
                f"{engine.ready:,} of {work.connections:,} connections became ready"
                f"{': ' + why if why else ''}{'; first error: ' + engine.first_error if engine.first_error else ''}"
            )

    def measure(self) -> None:
        work, engine, ledger = self.work, self.engine, self.ledger
        how: dict[str, Any] = {"stall": work.drain}
        if work.kind == "rounds":
            how["window"] = work.window
        elif work.kind == "paced":
            how["rate"] = work.rate
        elif work.kind == "cut":
            how.update(rate=work.rate, cut=work.cut)
            engine.retry_seconds = work.retry
        elif work.kind == "avalanche":
            how["rate"] = work.rate
            engine.retry_seconds = work.retry
        elif work.kind == "connect":
            return
        if work.warmup > 0 and work.kind in {"rounds", "paced"}:
            engine.run(work.warmup, **how)
            engine.drain(work.drain)
            ledger.each.clear()
            ledger.last.clear()
        published, delivered, bytes_in = ledger.published, ledger.delivered, engine.bytes_in
        held = self._usage()
        used = self._timed(
            lambda: self._avalanche(how) if work.kind == "avalanche" else engine.run(work.seconds, **how)
        )
        seconds = used["seconds"]
        self._measured = {
            **used,
            "published": ledger.published - published,
            "delivered": ledger.delivered - delivered,
            "publications_per_second": (ledger.published - published) / seconds,
            "deliveries_per_second": (ledger.delivered - delivered) / seconds,
            "bytes_in_per_second": (engine.bytes_in - bytes_in) / seconds,
        }
        after = self._usage()
        if self._before is not None and held is not None and after is not None:
            self._measured["server_rss_before"] = self._before.rss
            self._measured["server_rss"] = after.rss
            self._measured["server_bytes_per_connection"] = (after.rss - self._before.rss) / work.connections
            self._measured["server_cpu_us_per_connection_second"] = (
                (after.cpu - held.cpu) / seconds / work.connections * 1e6
            )

    def _avalanche(self, how: dict[str, Any]) -> None:
        """Until all were lost and are back and nothing is missing, or the time is over."""
        engine, until = self.engine, time.monotonic() + self.work.seconds
        while (left := until - time.monotonic()) > 0:
            engine.run(min(0.5, left), **how)
            if engine.lost and engine.ready == self.work.connections:
                break
        if engine.lost:
            engine.drain(min(self.work.drain, max(until - time.monotonic(), 0.1)))

    def settle(self) -> None:
        """What is on its way may come, and who is on the way back."""
        if self.ledger.missing() > 0 or self.engine.ready < self.work.connections:
            self.engine.drain(self.work.drain)

    def report(self) -> Report:
        engine, ledger = self.engine, self.ledger
        missing = ledger.missing()
        found = {
            "missed": missing,
            "duplicates": ledger.duplicates,
            "late": ledger.late,
            "corrupt": ledger.corrupt,
            "stray": ledger.stray,
            "disordered_rooms": ledger.disordered() if missing == 0 else 0,
            "lost_connections": 0 if self.work.kind == "avalanche" else engine.lost,
            "errors": engine.errors,
            "stalled": engine.stalled,
        }
        work = asdict(self.work)
        work["secret"], work["token"] = bool(work["secret"]), bool(work["token"])
        report: Report = {
            "work": work,
            "connect": {
                **self._connect_usage,
                "connections_per_second": self.work.connections / self._connect_usage["seconds"],
                "opened_ms": engine.opened.summary(),
                "joined_ms": engine.joined.summary(),
            },
            "verified": found,
            "endings": engine.endings,
            "first_error": engine.first_error,
        }
        if self._comes_back:
            expected = ledger.published * self.work.members
            report["faults"] = {
                "cuts": engine.cuts,
                "lost": engine.lost,
                "not_back": self.work.connections - engine.ready,
                "delivered_share": ledger.delivered / expected if expected else 0.0,
                "delivered_in_order_share": (ledger.delivered - ledger.late) / expected if expected else 0.0,
                "all_back_seconds": max(engine.back_at - engine.left_at, 0) / 1e9 if engine.left_at else 0.0,
            }
            report["recovered_ms"] = engine.recovered.summary()
        if self._measured:
            report["measured"] = self._measured
            report["each_ms"] = ledger.each.summary()
            report["last_ms"] = ledger.last.summary()
        return report

    def close(self) -> None:
        self.engine.close()


def run(work: Work, tell: Callable[[str], object] | None = None) -> Report:
    """Does ``work`` and reports. ``tell`` hears a line each second. Raises WorkError."""
    one = Run(work, tell)
    try:
        one.open()
        one.measure()
        one.settle()
        return one.report()
    finally:
        one.close()
