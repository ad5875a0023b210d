"""The HTTP side: health, readiness, metrics, the demo page and the browser client.

Files are read and compressed once, when the node is made, and served from memory: no request touches the disk. All
answers carry the security headers; errors are JSON, ``{"error": {"code", "message"}}``.
"""

from __future__ import annotations

import gzip
import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Final, Protocol

from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ... import __version__
from ..config.schema import Config
from ..limits.refusals import Reason, Refusals
from ..net.addresses import Addresses, parse
from ..net.origins import Origins
from ..observe import metrics

log = logging.getLogger("syncline.http")


class Served(Protocol):
    """What HTTP needs of the node."""

    @property
    def config(self) -> Config: ...
    @property
    def origins(self) -> Origins: ...
    @property
    def addresses(self) -> Addresses: ...
    @property
    def refusals(self) -> Refusals: ...

    async def scrape(self) -> bytes:
        """The metrics, in the format ``metrics.CONTENT_TYPE`` names."""

    async def ready(self) -> dict[str, str]:
        """Failing checks, name -> what is wrong; empty: ready for traffic."""


# -- files -------------------------------------------------------------------------------------------------------------

_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".ts": "text/plain; charset=utf-8",  # for people; browsers take it for a video otherwise
    ".map": "application/json",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".webmanifest": "application/manifest+json",
}
_COMPRESSED: Final = frozenset({".html", ".js", ".map", ".ts", ".css", ".svg"})

_UNBUNDLED: Final = b"""<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Syncline</title>
<style>body{font:1rem/1.6 system-ui,sans-serif;max-width:40rem;margin:4rem auto;padding:0 1rem;color-scheme:light dark}
code{font-family:ui-monospace,monospace}</style>
<h1>The demo page was not built</h1>
<p>The server runs, but this installation lacks the demo's editor (<code>codemirror.js</code>).
In a checkout, <code>make setup</code> builds it. Then start the server again.</p>
<p>Clients can connect all the same. <a href="/health">/health</a>, <a href="/ready">/ready</a> and
<a href="/metrics">/metrics</a> work.</p>
"""


@dataclass(frozen=True, slots=True)
class _File:
    """One file in memory, and the same compressed where that makes it smaller."""

    media_type: str
    body: bytes
    etag: str
    compressed: bytes | None
    cross_origin: bool  # pages of other sites may load it

    @classmethod
    def make(cls, suffix: str, body: bytes, *, cross_origin: bool) -> _File:
        small = gzip.compress(body, 9, mtime=0) if suffix in _COMPRESSED else None
        digest = hashlib.sha256(body).hexdigest()[:32]
        return cls(_TYPES[suffix], body, digest, small if small and len(small) < len(body) else None, cross_origin)

    def answer(self, request: Request) -> Response:
        zipped = self.compressed is not None and _accepts_gzip(request.headers.get("accept-encoding", ""))
        # A strong validator names one representation (RFC 9110 section 8.8.3), so the compressed one has its own.
        etag = f'"{self.etag}-gzip"' if zipped else f'"{self.etag}"'
        # no-cache: may be kept, must be asked for again. So an update of the server is an update of its pages.
        headers = {"etag": etag, "cache-control": "no-cache", "content-type": self.media_type}
        if self.compressed is not None:
            headers["vary"] = "accept-encoding"
        if self.cross_origin:
            headers["access-control-allow-origin"] = "*"
        if _matches(request.headers.get("if-none-match", ""), etag):
            del headers["content-type"]
            return Response(status_code=304, headers=headers)
        body = self.compressed if zipped and self.compressed is not None else self.body
        if zipped:
            headers["content-encoding"] = "gzip"
        headers["content-length"] = str(len(body))
        return Response(b"" if request.method == "HEAD" else body, headers=headers)


def _accepts_gzip(accepted: str) -> bool:
    for item in accepted.lower().split(","):
        coding, _, weight = item.partition(";")
        if coding.strip() in ("gzip", "*"):
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


def _matches(condition: str, etag: str) -> bool:
    """RFC 9110 section 13.1.2; weak comparison."""
    return any(candidate.strip().removeprefix("W/") in (etag, "*") for candidate in condition.split(","))


def _read(folder: Traversable, wanted: Callable[[str], bool], *, cross_origin: bool) -> dict[str, _File]:
    """The files of a package's folder by name, those that are ``wanted``; none when it was not installed."""
    files = {}
    if folder.is_dir():
        for entry in folder.iterdir():
            suffix = entry.name[entry.name.rfind(".") :]
            if wanted(entry.name) and entry.is_file() and suffix in _TYPES:
                files[entry.name] = _File.make(suffix, entry.read_bytes(), cross_origin=cross_origin)
    return files


#: The browser client in one file, and where its lines come from.
_BUNDLED: Final = ("syncline.js", "syncline.js.map")


def _client(sources: Traversable, pages: Traversable) -> dict[str, _File]:
    """The browser client and its types: bundled, or else its sources, which import each other."""
    bundled = _read(pages, lambda name: name in _BUNDLED, cross_origin=True)
    whole = len(bundled) == len(_BUNDLED)
    files = _read(sources, lambda name: not (whole and name.endswith(".js")), cross_origin=True)
    return files | bundled if whole else files


def _files(config: Config) -> dict[str, _File]:
    """URL path -> file. The browser client is always there, the demo's pages where the configuration wants them."""
    package = resources.files(__package__.partition(".")[0])
    # Any page may import the client: it holds nothing but code, and what it may connect to is decided elsewhere.
    folder = package / "server" / "web" / "pages"
    found = {f"/{name}": file for name, file in _client(package / "client" / "browser", folder).items()}
    if config.server.demo:
        pages = _read(folder, lambda name: name not in _BUNDLED, cross_origin=False)
        if "codemirror.js" not in pages or "index.html" not in pages:
            log.warning("the demo page was not built: / says how to do it")
            pages = {"index.html": _File.make(".html", _UNBUNDLED, cross_origin=False)}
        found.update((f"/{name}", file) for name, file in pages.items())
        found["/"] = pages["index.html"]
    return found


class Refusal(HTTPException):
    """An answer that refuses a request with a code of its own; ``more``: further fields of its error."""

    def __init__(self, status: HTTPStatus, code: str, message: str, **more: str | None) -> None:
        super().__init__(status, message)
        self.code = code
        self.more = more


# -- answers -----------------------------------------------------------------------------------------------------------

_POLICY: Final = "; ".join(
    (
        "default-src 'self'",
        "connect-src 'self' ws: wss:",
        "style-src 'self' 'unsafe-inline'",  # CodeMirror puts its styles into <style> elements
        "img-src 'self' data:",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'self'",
    )
)
_HEADERS: Final = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}


class _SecurityHeaders:
    """Adds the headers to every answer, those of errors included."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, with_headers)


class _OwnHost:
    """Refuses requests for another server's name; but not whether this one lives, which is asked by whatever name."""

    def __init__(self, app: ASGIApp, node: Served) -> None:
        self._app = app
        self._node = node

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exempt = scope["path"] in ("/health", "/ready") or scope["path"].startswith("/api/")  # the API has its key
        if not exempt and (refused := self._node.origins.misdirected(Headers(scope=scope), _peer(scope))):
            await _error(Request(scope), HTTPStatus.MISDIRECTED_REQUEST, refused)(scope, receive, send)
        else:
            await self._app(scope, receive, send)


#: Why a request is refused, by the status of the answer. 503 is what /ready says of the node, to whoever asks.
_REASONS: Final = {
    400: Reason.BODY,
    401: Reason.API_KEY,
    404: Reason.NOT_FOUND,
    405: Reason.METHOD,
    413: Reason.TOO_LARGE,
    421: Reason.HOST,
    426: Reason.UPGRADE_REQUIRED,
}


class _Told:
    """Counts the answers that refuse a request, and tells of them."""

    def __init__(self, app: ASGIApp, node: Served) -> None:
        self._app = app
        self._node = node

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] in _REASONS:
                _tell(self._node, scope, _REASONS[message["status"]])
            await send(message)

        await self._app(scope, receive, watched)


def _tell(node: Served, scope: Scope, reason: Reason) -> None:
    address = node.addresses.client(_peer(scope), Headers(scope=scope).getlist("x-forwarded-for"))
    node.refusals.refused(reason, address, path=scope["path"], method=scope["method"])


def _peer(scope: Scope) -> str:
    client = scope.get("client")
    return (parse(client[0]) or "") if client else ""


def _json(request: Request, content: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    answer = JSONResponse(content, status, {"cache-control": "no-store", **(headers or {})})
    if request.method == "HEAD":
        answer.body = b""  # content-length stays that of GET
    return answer


def _error(request: Request, status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    code = HTTPStatus(status).name.lower()
    return _json(request, {"error": {"code": code, "message": message}}, status, headers)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if isinstance(error, Refusal):
        told = {"code": error.code, "message": error.detail, **error.more}
        return _json(request, {"error": told}, error.status_code)
    texts = {404: "nothing is at this path", 405: "this path does not take this method"}
    headers = dict(error.headers) if error.headers else None
    return _error(request, error.status_code, texts.get(error.status_code, error.detail), headers)


def create(node: Served, more: Sequence[Route] = ()) -> Starlette:
    """The ASGI application; ``more``: the routes of api.py. Reads its files now, so that a broken installation shows at start."""
    config = node.config
    files = _files(config)

    async def failed(request: Request, error: Exception) -> Response:
        # Starlette raises it again after this answer, and uvicorn logs it; its text stays here.
        # It is made outside of the middleware, so it brings the headers along.
        _tell(node, request.scope, Reason.INTERNAL)
        return _error(request, 500, "a fault of the server; it is in its log", _HEADERS)

    async def gone(request: Request, error: Exception) -> Response:
        return Response(status_code=499)  # nobody gets it; front.py has told why

    async def file(request: Request) -> Response:
        return files[request.scope["path"]].answer(request)

    async def health(request: Request) -> Response:
        """The process is alive and its event loop turns. Says nothing of the store: a restart would not mend that."""
        return _json(request, {"status": "ok", "version": __version__})

    async def ready(request: Request) -> Response:
        """Whether a load balancer should send clients here."""
        failing = await node.ready()
        if failing:
            return _json(request, {"status": "not ready", "failing": failing}, 503, {"retry-after": "5"})
        return _json(request, {"status": "ready"})

    async def render(request: Request) -> Response:
        body = await node.scrape()
        headers = {
            "content-type": metrics.CONTENT_TYPE,
            "cache-control": "no-store",
            "content-length": str(len(body)),
        }
        return Response(b"" if request.method == "HEAD" else body, headers=headers)

    async def websocket(request: Request) -> Response:
        headers = {"upgrade": "websocket", "connection": "upgrade", "sec-websocket-version": "13"}
        return _error(request, 426, "this is the WebSocket endpoint; connect with a WebSocket client", headers)

    routes = [*more, Route("/health", health), Route("/ready", ready), Route(config.server.path, websocket)]
    if config.metrics.enabled:
        routes.append(Route("/metrics", render))
    routes += [Route(path, file) for path in files]
    app = Starlette(
        routes=routes,
        middleware=[
            Middleware(_SecurityHeaders),
            Middleware(_Told, node=node),
            Middleware(_OwnHost, node=node),
        ],
        exception_handlers={HTTPException: _refused, ClientDisconnect: gone, Exception: failed},
    )
    # A redirect would send the client to whatever its Host header said.
    app.router.redirect_slashes = False
    return app
