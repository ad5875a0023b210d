"""Metrics in Prometheus' text format, from a registry of our own.

Hot code increments plain integers (counters.py, and ``Flusher`` natively); only a scrape turns them into metrics.
What can be counted by looking (sessions, rooms, documents) is looked at then: O(sessions + documents), a few
milliseconds for 10,000 of them. Labels come from closed sets (our events, codes, states): no client makes a new series.

docs/operations.md explains each metric; a test holds the two together.
"""

from __future__ import annotations

import logging
import platform
from collections.abc import Iterator, Mapping
from enum import IntEnum
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from ... import __version__
from . import log as logs
from .counters import Counters, Histogram, Source
from .observed import Observed, WriteQueue

__all__ = ["CONTENT_TYPE", "Counters", "Metrics", "Observed", "WriteQueue"]

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
#: Seconds for which a peak is shown at least.
PEAK_SECONDS: Final = 60.0


class _Faults(logging.Handler):
    """Counts what is logged with a traceback, whoever logs it: requests, tasks, the event loop, uvicorn. One for the process."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.count += bool(record.exc_info and record.exc_info[0])


_faults = _Faults()


class _Peak:
    """The highest of a minute, up to two, for any number of scrapers: none takes it away from another one."""

    def __init__(self) -> None:
        self._began = 0.0
        self._highest = self._before = 0  # since then, and in the minute before

    def of(self, seen: int, now: float) -> int:
        """``seen``: since the last call."""
        minutes = (now - self._began) // PEAK_SECONDS
        if minutes >= 1:
            self._before = self._highest if minutes < 2 else 0
            self._began, self._highest = self._began + minutes * PEAK_SECONDS, 0
        self._highest = max(self._highest, seen)
        return max(self._highest, self._before)


class _NodeCollector(Collector):
    """Reads a node. Each method yields the metrics of one noun."""

    def __init__(self, node: Observed, states: type[IntEnum]) -> None:
        self._node = node
        self._states = states
        self._queue_bytes, self._queue_messages = _Peak(), _Peak()

    def collect(self) -> Iterator[Metric]:
        yield from self._node_state()
        yield from self._connections()
        yield from self._threads()
        yield from self._memory()
        yield from self._sessions()
        yield from self._rooms()
        yield from self._documents()
        yield from self._store()

    def _node_state(self) -> Iterator[Metric]:
        info = GaugeMetricFamily("syncline_build_info", "1, labelled by version.", labels=["version", "python"])
        info.add_metric([__version__, platform.python_version()], 1)
        yield info
        yield _gauge("syncline_draining", "1 while the node drains.", int(self._node.draining))
        yield _by("syncline_ready", "1 when it works.", "part", self._node.readiness.works, kind=GaugeMetricFamily)

    def _connections(self) -> Iterator[Metric]:
        node, counters, flusher = self._node, self._node.counters, self._node.flusher
        labels = ["transport", "codec"]
        now = GaugeMetricFamily("syncline_connections", "Open connections.", labels=labels)
        opened = CounterMetricFamily("syncline_connections_opened", "Connections accepted.", labels=labels)
        for (transport, codec), count in counters.connections_opened.items():
            opened.add_metric([transport, codec], count)
            now.add_metric([transport, codec], counters.connections[transport, codec])
        yield now
        yield opened
        yield _gauge(
            "syncline_connections_limit", "limits.connections, or what descriptors allow.", node.arrivals.places
        )
        yield _gauge(
            "syncline_connections_unidentified", "Those without a user, HTTP included.", node.arrivals.strangers
        )
        yield _counter("syncline_connections_dropped", "Unidentified ones that made room.", node.arrivals.dropped)
        yield _by(
            "syncline_config_reloads", "Times that the configuration was read again.", "outcome", counters.reloads
        )
        yield _by("syncline_refused", "Connections, handshakes, HTTP requests refused.", "reason", node.refusals.counts)
        yield _counter("syncline_descriptors_missing", "Looks that found no free descriptor.", node.descriptors.missing)
        yield _by("syncline_http_refused", "HTTP requests beyond the bounds of one.", "status", counters.http_refused)
        yield _counter("syncline_auth_failures", "Tokens refused.", counters.auth_failures)
        yield _counter("syncline_address_refused", "Handshakes of addresses with too many.", counters.address_refused)
        yield _counter("syncline_wrong_passwords", "Wrong passwords of rooms.", counters.wrong_passwords)
        yield _by("syncline_disconnects", "Connections ended by the server.", "reason", counters.disconnects)
        yield _counter("syncline_frames_received", "Messages received on WebSockets.", counters.frames_in)
        yield _counter("syncline_received_bytes", "Bytes received on WebSockets.", counters.bytes_in)
        yield _counter("syncline_frames_sent", "Frames written.", flusher.frames)
        yield _counter("syncline_sent_bytes", "Bytes of frames written.", flusher.bytes_out)
        yield _counter("syncline_flushes", "Turns of the event loop that wrote to connections.", flusher.flushes)
        yield _counter("syncline_pings", "Pings sent.", node.pings.sent)
        yield _counter("syncline_slow_conflated", "Queued frames that a newer one replaced.", flusher.conflated)
        yield _counter("syncline_slow_dropped", "Volatile frames that were dropped.", flusher.dropped)
        yield _counter("syncline_slow_behind", "Times that a reader fell behind in a room or document.", flusher.behind)
        yield _counter("syncline_slow_consumers", "Connections whose write queue overflowed.", flusher.slow_consumers)
        yield _counter("syncline_handshakes_refused", "Handshakes above the rate.", node.admission.refused)
        yield _gauge(
            "syncline_queue_bytes_max",
            "The fullest write queue of the last minute or two; the bound is limits.queue_bytes.",
            self._queue_bytes.of(flusher.take_queue_bytes_max(), node.clock.monotonic()),
        )
        yield _gauge(
            "syncline_queue_messages_max",
            "The longest write queue of the last minute or two; the bound is twice limits.queue_messages.",
            self._queue_messages.of(flusher.take_queue_messages_max(), node.clock.monotonic()),
        )

    def _threads(self) -> Iterator[Metric]:
        ours = self._node.threads
        threads = {
            "history": ours.history,
            "moves": ours.moves,
            "loads": ours.loads,
            "passwords": self._node.hashing,
        }
        waiting = {name: thread.waiting for name, thread in threads.items()}
        yield _by("syncline_work_waiting", "Work that waits for a thread.", "thread", waiting, kind=GaugeMetricFamily)
        refused = {name: thread.refused for name, thread in threads.items()}
        yield _by("syncline_work_refused", "Work refused because too much waited.", "thread", refused)

    def _memory(self) -> Iterator[Metric]:
        memory = self._node.memory
        yield _by(
            "syncline_memory_bytes", "About what is held for others.", "part", memory.held, kind=GaugeMetricFamily
        )
        yield _gauge("syncline_memory_limit_bytes", "limits.memory_bytes.", memory.limit)
        yield _by("syncline_memory_released", "What was let go of because of that bound.", "part", memory.released)

    def _sessions(self) -> Iterator[Metric]:
        hub, counters = self._node.hub, self._node.counters
        # Indexed by number: a name or a hash of an enum's member costs more than all the rest of this loop.
        states = [0] * len(self._states)
        members = pending = 0
        for session in self._node.sessions.connections.values():
            states[session.state] += 1
            members += len(session.rooms)
            pending += session.pending
        by_name = {state.name.lower(): states[state] for state in self._states}
        yield _by("syncline_sessions", "Sessions by state.", "state", by_name, kind=GaugeMetricFamily)
        yield _gauge("syncline_users", "Users with a connection.", len(self._node.sessions.users))
        yield _gauge("syncline_rooms", "Rooms with members on this node.", len(hub.rooms))
        yield _gauge("syncline_members", "Connections in rooms, counted per room.", members)
        yield _gauge("syncline_pending_requests", "Requests waiting in sessions' inboxes.", pending)
        yield _gauge("syncline_presence_entries", "Users present, counted per room.", len(self._node.presence))
        writes = self._node.presence.writes
        yield _gauge("syncline_presence_unwritten", "Changes of presence that the backend may not have.", len(writes))
        yield _counter("syncline_presence_dropped", "Changes of presence that it never got.", writes.dropped)
        yield _gauge("syncline_rooms_counted", "Rooms whose members are told counts only.", self._node.presence.counted)
        yield _gauge("syncline_roles_remembered", "Roles of users who are away, in memory.", hub.remembered)
        yield _by("syncline_requests", "Requests by event.", "event", counters.requests)
        yield _by("syncline_errors", "Error answers by code.", "code", counters.errors)

    def _rooms(self) -> Iterator[Metric]:
        counters = self._node.counters
        yield _counter("syncline_publications", "Publications that reached this node.", counters.publications)
        yield _counter("syncline_deliveries", "Frames queued for members of rooms.", counters.deliveries)
        for name, text, found in (
            ("proven", "Deliveries that a digest proved complete.", counters.deliveries_proven),
            ("unproven", "Deliveries that a digest did not prove.", counters.deliveries_unproven),
        ):
            yield _by(f"syncline_deliveries_{name}", text, "class", found)
        yield _counter("syncline_faults", "Tracebacks in the log.", _faults.count)
        yield _counter("syncline_log_lines_dropped", "Lines of the log that nobody took.", logs.dropped())
        yield _counter(
            "syncline_log_lines_repeated", "Lines of the log that stand in another as a count.", logs.left_out()
        )
        yield _counter("syncline_events_lost", "Messages that the event log did not take.", counters.events_lost)
        yield _counter("syncline_publish_failures", "Messages that the broker did not take.", counters.publish_failures)
        yield _counter(
            "syncline_publish_duplicates", "Messages that were published before.", counters.publish_duplicates
        )
        broker = self._node.broker
        yield _gauge(
            "syncline_idempotency_keys", "Keys remembered; bound: rooms.idempotency_keys.", broker.idempotency_keys
        )
        yield _counter("syncline_idempotency_dropped", "Keys forgotten before their time.", broker.idempotency_dropped)
        yield _histograms("syncline_publish_seconds", "Time until a message's fate was known.", counters.publishes)
        yield _histograms("syncline_event_seconds", "Time until an event was handed over.", counters.custom_events)

    def _documents(self) -> Iterator[Metric]:
        counters, live = self._node.counters, self._node.documents.live
        collaborators = pending = window = ladder = undo = 0
        for document in live.values():
            collaborators += len(document.collaborators)
            pending += document.pending
            window += document.core.window_bytes
            ladder += document.core.ladder_bytes
            undo += document.core.undo_bytes
        yield _gauge("syncline_documents", "Documents in memory.", len(live))
        yield _gauge("syncline_collaborators", "Connections in documents, counted per document.", collaborators)
        yield _gauge("syncline_pending_operations", "Operations waiting for a commit in progress.", pending)
        outcomes = {
            "accepted": counters.operations_accepted,
            "duplicate": counters.operations_duplicate,
            "refused": counters.operations_refused,
        }
        yield _by("syncline_operations", "Operations by outcome.", "outcome", outcomes)
        yield _counter(
            "syncline_operations_transformed",
            "Of the accepted, those with concurrent ones.",
            counters.operations_transformed,
        )
        yield _histogram("syncline_operation_seconds", "Time until an operation's fate was known.", counters.operations)
        yield _histogram("syncline_commit_seconds", "Time until the store had a turn's operations.", counters.commits)
        yield _counter("syncline_commit_failures", "Turns that the store did not take.", counters.commit_failures)
        yield _counter(
            "syncline_document_divergences",
            "Documents in memory that were not what their log gives.",
            counters.divergences,
        )
        yield _counter(
            "syncline_document_divergence_claims", "Clients' reports of another text.", counters.divergence_claims
        )
        yield _gauge("syncline_document_window_bytes", "Bytes of operations in memory.", window)
        yield _gauge("syncline_document_ladder_bytes", "Bytes of what speeds up transforms.", ladder)
        yield _gauge("syncline_document_undo_bytes", "Bytes kept to undo.", undo)
        yield _counter(
            "syncline_document_undo_dropped", "Groups of edits that can no longer be undone.", counters.undo_dropped
        )
        yield _counter("syncline_document_load_failures", "Documents that could not be loaded.", counters.load_failures)
        yield _counter("syncline_snapshots", "Snapshots stored.", counters.snapshots)
        yield _counter("syncline_blocks", "Blocks of merged turns stored.", counters.blocks)
        yield _counter("syncline_block_operations", "Operations in those blocks.", counters.block_operations)
        yield _counter("syncline_block_bytes", "Bytes of those blocks, packed.", counters.block_bytes)
        yield _counter("syncline_checkpoints", "Checkpoints stored.", counters.checkpoints)
        yield _counter("syncline_operations_pruned", "Operations deleted for good.", counters.operations_pruned)
        yield _counter(
            "syncline_history_failures", "Compactions, checkpoints and prunings that failed.", counters.history_failures
        )
        yield _gauge(
            "syncline_history_waiting",
            "Documents whose history waits for compaction.",
            self._node.documents.compaction.waiting,
        )

    def _store(self) -> Iterator[Metric]:
        # Several backends may write through one queue.
        found = (getattr(backend, "write_queue", None) for backend in self._node.backends().values())
        queues: list[WriteQueue] = list({id(queue): queue for queue in found if queue is not None}.values())
        if not queues:  # nothing waits for a disk
            return

        def total(name: str) -> float:
            return float(sum(getattr(queue, name) for queue in queues))

        yield _gauge("syncline_store_pending_writes", "Writes waiting; bound: store.queue_size.", total("queue_depth"))
        yield _gauge("syncline_store_pending_reads", "Reads under way or waiting.", total("reading"))
        yield _counter("syncline_store_reads", "Reads done.", total("reads"))
        yield _counter("syncline_store_read_failures", "Reads that failed as unavailable.", total("read_failures"))
        yield _counter("syncline_store_writes", "Writes committed.", total("units"))
        yield _counter("syncline_store_write_failures", "Writes that failed as unavailable.", total("failures"))
        yield _counter("syncline_store_transactions", "Transactions committed.", total("commits"))
        yield _counter("syncline_store_transaction_seconds", "Time spent in transactions.", total("commit_seconds"))


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(name, text, value=value)


def _by(
    name: str,
    text: str,
    label: str,
    values: Mapping[str, int] | Mapping[int, int],
    kind: type[CounterMetricFamily] | type[GaugeMetricFamily] = CounterMetricFamily,
) -> Metric:
    family = kind(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([str(key)], value)
    return family


def _histogram(name: str, text: str, histogram: Histogram) -> Metric:
    family = HistogramMetricFamily(name, text)
    family.add_metric([], histogram.cumulative(), histogram.total)
    return family


def _histograms(name: str, text: str, by_source: Mapping[Source, Histogram]) -> Metric:
    family = HistogramMetricFamily(name, text, labels=["source"])
    for source, histogram in by_source.items():
        family.add_metric([source], histogram.cumulative(), histogram.total)
    return family


class Metrics:
    """The node's registry: its own metrics, and those of the process (CPU, memory, file descriptors, collector)."""

    def __init__(self, node: Observed, states: type[IntEnum]) -> None:
        """``states``: those of sessions, numbered from 0."""
        logging.getLogger().addHandler(_faults)  # once, however often
        self.registry = CollectorRegistry(auto_describe=False)
        self.registry.register(_NodeCollector(node, states))
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)

    def render(self) -> bytes:
        """All metrics in the format ``CONTENT_TYPE`` names. Call it on the event loop's thread."""
        return generate_latest(self.registry)
