"""A node as a service: signals, reloading, the way out, what systemd is told.

SIGTERM, SIGINT   drain and end; a second one ends at once
SIGHUP            reads the configuration again
SIGUSR1           says in the log how it is
SIGUSR2           drains and becomes a new process of the same id, which goes on with the same sockets
"""

from __future__ import annotations

import asyncio
import gc
import logging
import math
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Final

from . import app
from .config.keys import Key
from .config.load import ConfigError
from .config.schema import Config
from .observe import log as logs
from .process import signals, sockets
from .process.notify import Notifier
from .process.sockets import Listeners

log = logging.getLogger("syncline.app")

#: Between two words to systemd that it is starting, in seconds.
_START_SECONDS: Final = 10.0
#: Seconds for a look at whether it could start again, and characters of what is said when it could not.
_LOOK_SECONDS: Final = 30.0
_LOOK_TEXT: Final = 2000
#: When the garbage collector looks at what is new, at what has stayed, at all. The interpreter's own are for small programs: the
#: content of a large document, made for one who joins, is looked through a hundred times while it is made.
_GARBAGE: Final = (10_000, 20, 50)


class Service:
    """One run of a server, from its start to its end."""

    def __init__(self, config: Config, read: Callable[[], Config], announce: Callable[[str], object]) -> None:
        """``read``: reads the configuration again; raises ConfigError."""
        self._config = config
        self._read = read
        self._announce = announce
        self._notifier = Notifier(os.environ)
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._serving = False
        self._again: Listeners | None = None  # it is to start again, with these
        self._looking: asyncio.Task[None] | None = None
        self._reloading: asyncio.Task[None] | None = None
        self._reload_asked = False

    async def run(self) -> Listeners | None:
        """None: it has ended. Otherwise it is to go on in a new process, with these. Raises ConfigError, StartError, ListenError."""
        listeners = sockets.inherited(os.environ)
        self._watch()
        self._app = running = await app.create(self._config, listeners)
        await running.start()
        signals.take()
        signals.give(lambda number: self._loop.call_soon_threadsafe(self._signalled, number))
        for url in running.urls:
            self._announce(f"listening on {url}")
            log.info("listening on %s", url)
        for url in running.to_open if self._config.server.demo else ():
            self._announce(f"open {url}/")
        if listeners is not None and not listeners.own:
            log.info("who started this gave it these sockets: server.host and server.port have no say")
        gc.collect()
        gc.freeze()  # what is here now stays for as long as the process
        gc.set_threshold(*_GARBAGE)
        self._serving = True
        self._notifier.ready(self._status)
        await self._stop.wait()
        log.info("starting again" if self._again else "stopping")
        if self._again:
            self._notifier.reloading()
        else:
            self._notifier.stopping()
        try:
            await running.stop(self._again)
        finally:
            signals.give(None)
        return self._again

    @property
    def _status(self) -> str:
        return "listening on " + ", ".join(self._app.urls)

    def _watch(self) -> None:
        """While the loop turns: also while a large database is migrated or recovered."""
        limit = self._notifier.watchdog_seconds
        if not self._serving:
            self._notifier.starting(2 * _START_SECONDS)
        elif limit is None:
            return
        if limit is not None:
            self._notifier.alive()
        self._loop.call_later(min(_START_SECONDS, math.inf if limit is None else limit / 3), self._watch)

    # Signals -------------------------------------------------------------------------------------------------

    def _signalled(self, number: signal.Signals) -> None:
        if number in signals.ENDING:
            self._ended(number)
        else:
            {signal.SIGHUP: self._hang_up, signal.SIGUSR1: self._say, signal.SIGUSR2: self._start_again}[number]()

    def _ended(self, number: signal.Signals) -> None:
        if self._again:  # it was to start again, and is to end after all
            self._again.close()
            self._again = None
            return
        if self._stop.is_set():
            # Nothing acknowledged is lost: it is on the disk, as after a crash.
            log.warning("a second signal: ending at once")
            logging.shutdown()
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        self._stop.set()

    def _hang_up(self) -> None:
        if self._stop.is_set():
            return  # systemd would take it for ready again
        self._reload_asked = True  # also while one is under way: the file may be another one since that was read
        if self._reloading is None or self._reloading.done():
            self._reloading = self._loop.create_task(self._reload_while_asked())

    async def _reload_while_asked(self) -> None:
        while self._reload_asked:
            self._reload_asked = False
            await self._reload()

    async def _reload(self) -> None:
        self._notifier.reloading()
        counters = self._app.node.counters
        try:
            done = await self._app.reload(self._read())
        except (ConfigError, app.StartError) as error:
            counters.reloads["refused"] += 1
            log.error("the configuration was not reloaded, the old one holds: %s", error)
        except Exception:
            counters.reloads["refused"] += 1
            log.exception("reloading the configuration failed")
        else:
            counters.reloads["applied"] += 1
            if any(key.path == "log.level" for key in done.changed):
                logs.set_level(done.config.log.level)
            # In one line: of many, those that repeat others would be left out of the log.
            log.info(
                "the configuration was reloaded: from now on holds %s; needs a restart: %s; key files were read again",
                _names(done.changed),
                _names(done.waiting),
            )
        self._notifier.ready(self._status)

    def _say(self) -> None:
        node = self._app.node
        log.info(
            "%d connections, %d users, %d rooms, %d documents, %d tasks",
            len(node.sessions.connections),
            len(node.sessions.users),
            len(node.hub.rooms),
            len(node.documents.live),
            len(asyncio.all_tasks()),
        )

    def _start_again(self) -> None:
        if not self._stop.is_set() and (self._looking is None or self._looking.done()):
            self._looking = self._loop.create_task(self._start_again_if_it_can())

    async def _start_again_if_it_can(self) -> None:
        """What would keep the new process from serving is found while this one still does."""
        try:
            config = self._read()
            trouble = _needs_a_pause(self._config, config) or await self._failing() or await self._trouble()
            if not trouble and not self._stop.is_set():
                self._again = self._app.listeners_for(config)
                self._stop.set()
        except ConfigError as error:
            trouble = str(error)
        except sockets.ListenError as error:
            trouble = f"{error}; if this one has it, stop it and start it"
        except Exception:
            log.exception("not starting again")
            return
        if trouble:
            log.error("not starting again: %s", trouble)

    async def _failing(self) -> str:
        """What does not work in this process, which the next one would need; "": all does."""
        failing = await self._app.node.readiness.failing(now=True)
        return ", ".join(f"{part}: {what}" for part, what in failing.items())

    async def _trouble(self) -> str:
        """Why a new process of what is installed now could not start; "": it could."""
        pipe, nothing = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
        look = await asyncio.create_subprocess_exec(
            sys.executable, *sys.orig_argv[1:], "--check", stdin=nothing, stdout=nothing, stderr=pipe
        )
        try:
            async with asyncio.timeout(_LOOK_SECONDS):
                _, said = await look.communicate()
        except TimeoutError:
            look.kill()
            await look.wait()
            return f"`serve --check` has not ended within {_LOOK_SECONDS:g} s"
        if look.returncode == 0:
            return ""
        text = said.decode(errors="replace").strip()
        if "Traceback" in text:  # of an installation that is not whole: what counts is its end
            text = text.splitlines()[-1]
        return text[:_LOOK_TEXT] or f"`serve --check` ended with {look.returncode}"


def _needs_a_pause(now: Config, then: Config) -> str:
    """Why ``then`` cannot follow ``now`` without one; "": it can."""
    if now.store.path != then.store.path:
        return "another store.path is another server, which may not get the file: stop this one and start it"
    return ""


def _names(keys: Sequence[Key]) -> str:
    return ", ".join(key.path for key in keys) or "nothing new"
