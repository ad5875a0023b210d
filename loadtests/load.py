"""A run in one process: its users and numbers, how it ends, and how the numbers of workers come together.

The end has an order, since what is on its way when everybody leaves at once can be neither counted nor called lost: first all
users stop publishing, then what is in flight is waited for, then each user holds what it was given against what the server
has (``LoadUser.audit``), and only then do they leave. A master asks its workers for this and waits for their numbers.
"""

from __future__ import annotations

import itertools
import logging
import secrets
import time
import weakref
from collections.abc import Callable
from typing import Any, ClassVar, Protocol, TypeVar

import gevent
from gevent.pool import Pool
from locust import events
from locust import log as locust_log
from locust.runners import MasterRunner, WorkerRunner

from . import measure, options
from .client import Failure, Target
from .measure import Measures
from .options import Settings

log = logging.getLogger("loadtests")
AUDITS_AT_ONCE = 50
Listener = TypeVar("Listener", bound=Callable[..., Any])
FINISH, FINISHED = "syncline:finish", "syncline:finished"


class Audited(Protocol):
    """A user (``users.LoadUser``), as the end of a run sees it."""

    @property
    def quiet(self) -> bool: ...
    def finish(self) -> None: ...


class Load:
    """``Load.of(environment)``: one for each."""

    _all: ClassVar[weakref.WeakKeyDictionary[Any, Load]] = weakref.WeakKeyDictionary()

    def __init__(self, environment: Any) -> None:
        self.environment = environment
        self.settings = Settings(environment.parsed_options)
        self.measures = Measures()  # of this process; a worker gives them away with each report
        self.users: set[Audited] = set()
        self.finishing = False
        self.problems: list[str] = []
        self._numbers = itertools.count()
        self._awaited: set[str] = set()
        self._finished = False
        self._deliveries = 0
        self._target: Target | None = None

    @classmethod
    def of(cls, environment: Any) -> Load:
        load = cls._all.get(environment)
        if load is None:
            load = cls._all[environment] = cls(environment)
        return load

    # For users -------------------------------------------------------------------------------------------------------
    def number(self) -> int:
        """Of a user, within this process."""
        return next(self._numbers)

    @property
    def worker(self) -> int:
        return max(0, getattr(self.environment.runner, "worker_index", 0))

    @property
    def target(self) -> Target:
        if self._target is None:
            settings = self.settings
            self._target = Target(
                address(self.environment.host or ""),
                settings.codec,
                options.addresses(settings.sources),
                settings.connect_timeout,
                settings.insecure != "yes",
            )
        return self._target

    def succeeded(self, kind: str, name: str, seconds: float, size: int = 0) -> None:
        """A request of ours that was answered."""
        self.measures.time(kind, name, seconds)
        self.measures.counts[measure.REQUESTS] += 1
        self._fire(kind, name, seconds, size, None)

    def failed(self, kind: str, name: str, seconds: float, failure: Failure) -> None:
        self.measures.counts[measure.REQUESTS] += 1
        self.measures.counts[measure.FAILURES] += 1
        self.measures.errors[f"{kind} {name}: {failure}"] += 1
        self._fire(kind, name, seconds, 0, failure)

    def arrived(self, kind: str, name: str, stamped: float, now: float, size: int = 0) -> None:
        """Something that another user sent at ``stamped``."""
        seconds = now - stamped
        if seconds < -0.001:
            self.measures.counts[measure.SKEW] += 1
        self.measures.time(kind, name, seconds)
        self._deliveries += 1
        if self._deliveries % max(1, self.sample) == 0:
            self._fire(kind, name, max(0.0, seconds), size, None)

    @property
    def sample(self) -> int:
        return int(getattr(self.environment.parsed_options, "delivery_sample", 1) or 1)

    def fault(self, kind: str, name: str, what: str) -> None:
        """Something that the server did wrong; the limits decide about the counters, locust shows it as a failure."""
        self._fire(kind, name, 0.0, 0, Failure(what))

    def _fire(self, kind: str, name: str, seconds: float, size: int, failure: Failure | None) -> None:
        self.environment.events.request.fire(
            request_type=kind,
            name=name,
            response_time=1000 * seconds,
            response_length=size,
            exception=failure,
            context={},
        )

    # The run ---------------------------------------------------------------------------------------------------------
    def start(self) -> None:
        self.measures.clear()
        self.finishing = self._finished = False
        self.problems = []
        self._target = None
        self._numbers = itertools.count()
        if not isinstance(self.environment.runner, WorkerRunner) and not self.settings.prefix:
            # The master's options go to its workers with the start.
            self.environment.parsed_options.prefix = f"load-{secrets.token_hex(3)}"

    def stop_in_time(self) -> None:
        """``--stop-after``; not on workers."""
        wanted, environment = self.settings.stop_after, self.environment
        while wanted and not self._finished:
            gevent.sleep(0.2)
            if self.measures.deliveries >= wanted:
                log.info("%d deliveries: the run ends", self.measures.deliveries)
                if environment.parsed_options.headless:
                    environment.runner.quit()
                else:
                    environment.runner.stop()
                return

    def finish(self) -> None:
        """The end of the users' work; see above. Idempotent within a run; on a master it waits for all workers."""
        if self._finished:
            return
        self._finished = True
        runner = self.environment.runner
        if isinstance(runner, MasterRunner):
            self._finish_workers(runner)
            return
        self.finishing = True
        deadline = time.monotonic() + self.settings.settle_seconds
        while time.monotonic() < deadline and any(not user.quiet for user in self.users):
            gevent.sleep(0.05)
        pool = Pool(AUDITS_AT_ONCE)
        for user in [*self.users]:
            pool.spawn(user.finish)
        pool.join(timeout=max(1.0, deadline - time.monotonic()))
        unfinished = len(pool)
        pool.kill(block=False)
        if unfinished:
            self.failed("audit", "all", 0.0, Failure("timeout", f"{unfinished} users at least were not checked"))
        if isinstance(runner, WorkerRunner):
            runner.send_message(FINISHED, {"measures": self.measures.take()})

    def _finish_workers(self, runner: MasterRunner) -> None:
        self._awaited = {client.id for client in runner.clients.running}
        for client in [*self._awaited]:
            runner.send_message(FINISH, {}, client)
        deadline = time.monotonic() + self.settings.settle_seconds + 10
        while self._awaited and time.monotonic() < deadline:
            # Who is missing by now will not answer.
            self._awaited &= {client.id for client in runner.clients.running}
            gevent.sleep(0.05)
        if self._awaited:
            self.failed("audit", "all", 0.0, Failure("timeout", f"{len(self._awaited)} workers did not finish"))

    def worker_finished(self, worker: str, packed: dict[str, Any]) -> None:
        self.measures.add(Measures.unpack(packed))
        self._awaited.discard(worker)

    def judge(self) -> None:
        """Holds the numbers against the limits, and decides on the exit code."""
        self.problems = options.broken(self.measures, self.settings)
        runner = self.environment.runner
        if self.problems:
            self.environment.process_exit_code = 1
        elif not runner.exceptions and not locust_log.unhandled_greenlet_exception:
            self.environment.process_exit_code = 0

    def summary(self) -> str:
        return options.summary(self.measures, self.problems)


def address(host: str) -> str:
    """``--host`` as a WebSocket URL; http is ws, and without a path it is /ws."""
    url = host if "://" in host else f"ws://{host or '127.0.0.1:8000'}"
    url = url.replace("http://", "ws://", 1).replace("https://", "wss://", 1)
    scheme, _, rest = url.partition("://")
    return url if "/" in rest.rstrip("/") else f"{scheme}://{rest.rstrip('/')}/ws"


def _raise_descriptor_limit() -> None:
    """One descriptor for each user: as many as the system lets us have."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


# -- locust's events --------------------------------------------------------------------------------------------------


def on(event: str) -> Callable[[Listener], Listener]:
    """As ``@events.name.add_listener``, which has no types."""

    def add(listener: Listener) -> Listener:
        getattr(events, event).add_listener(listener)
        return listener

    return add


@on("init_command_line_parser")
def _add_options(parser: Any, **_: Any) -> None:
    options.add_to(parser)


@on("init")
def _init(environment: Any, runner: Any, web_ui: Any = None, **_: Any) -> None:
    load = Load.of(environment)
    options.addresses(load.settings.sources)  # raises here rather than in each user
    if not isinstance(runner, WorkerRunner):  # workers are told
        environment.user_classes[:] = chosen(environment.user_classes, environment.parsed_options)
    if isinstance(runner, MasterRunner):
        runner.register_message(
            FINISHED, lambda environment, msg, **_: load.worker_finished(msg.node_id, msg.data["measures"])
        )
    else:
        _raise_descriptor_limit()
    if isinstance(runner, WorkerRunner):
        # A worker keeps all classes, most of which the master's --tags leave without tasks: locust warns of each.
        logging.getLogger().addFilter(lambda record: "no tasks left after filtering" not in record.getMessage())
        runner.register_message(FINISH, lambda environment, msg, **_: load.finish(), concurrent=True)
    # gevent counts from when its loop last woke up: what starting took would be taken off --run-time.
    gevent.get_hub().loop.update_now()
    if web_ui is not None:
        web_ui.app.add_url_rule("/syncline", "syncline", lambda: (load.summary(), {"Content-Type": "text/plain"}))


def chosen(classes: list[Any], parsed: Any) -> list[Any]:
    """The classes that were asked for, by name or by ``--tags``; when none was, the mixed one, or else (in a file of one's own) all."""
    wanted, unwanted = set(parsed.tags or ()), set(parsed.exclude_tags or ())

    def tags(user_class: Any) -> set[str]:
        return {tag for task in user_class.tasks for tag in getattr(task, "locust_tag_set", ())}

    known = set().union(*map(tags, classes))
    if "mixed" in known and not wanted and not unwanted and not parsed.user_classes and not parsed.class_picker:
        wanted = {"mixed"}
    kept = [each for each in classes if (not wanted or tags(each) & wanted) and not tags(each) & unwanted]
    if not kept:
        raise SystemExit(f"no scenario is left with these tags; there are {', '.join(sorted(known))}")
    return kept


@on("test_start")
def _test_start(environment: Any, **_: Any) -> None:
    load = Load.of(environment)
    load.start()
    if not isinstance(environment.runner, WorkerRunner):
        gevent.spawn(load.stop_in_time)


@on("test_stopping")
def _test_stopping(environment: Any, **_: Any) -> None:
    Load.of(environment).finish()


@on("test_stop")
def _test_stop(environment: Any, **_: Any) -> None:
    if not isinstance(environment.runner, WorkerRunner):
        Load.of(environment).judge()


@on("report_to_master")
def _report(client_id: str, data: dict[str, Any], **_: Any) -> None:
    for load in Load._all.values():
        data["syncline"] = load.measures.take()


@on("worker_report")
def _worker_report(client_id: str, data: dict[str, Any], **_: Any) -> None:
    if "syncline" in data:
        for load in Load._all.values():
            load.measures.add(Measures.unpack(data["syncline"]))


@on("reset_stats")
def _reset(**_: Any) -> None:
    for load in Load._all.values():
        load.measures.clear()


@on("quitting")
def _quitting(environment: Any, **_: Any) -> None:
    if environment.runner is None or isinstance(environment.runner, WorkerRunner):
        return
    load = Load.of(environment)
    if environment.runner.state not in ("ready", "stopped"):
        load.finish()  # Ctrl-C: locust stops the users only after this
    load.judge()
    path = load.settings.summary_json
    if path:
        options.write_json(path, load.measures, load.problems)


@on("quit")
def _quit(**_: Any) -> None:
    for load in Load._all.values():
        if not isinstance(load.environment.runner, WorkerRunner):
            print(f"\nSyncline\n{load.summary()}", flush=True)
