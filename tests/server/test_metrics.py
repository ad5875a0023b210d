"""The metrics of a real node: what is counted, under which names, and that the documentation lists exactly these."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets

from syncline.core.errors import DISCONNECTS, ErrorCode
from syncline.server import app as app_module
from syncline.server.app import App
from syncline.server.backends import sqlite
from syncline.server.config.load import load
from syncline.server.config.schema import Config
from syncline.server.limits.refusals import Reason
from syncline.server.node import Node
from syncline.server.observe.counters import Counters, Histogram
from syncline.server.observe.metrics import CONTENT_TYPE, WriteQueue
from tests.serving import Serve, samples
from tests.waiting import until

from .wsclient import dial

OPERATIONS = Path(__file__).resolve().parent.parent.parent / "docs" / "operations.md"


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return load(None, {}, {"store.path": str(tmp_path / "test.db"), "server.demo": False, "server.port": 0})


@pytest.fixture
async def node(config: Config) -> AsyncIterator[Node]:
    async with app_module.running(config) as running:
        yield running.node


def test_buckets_are_cumulative_and_inclusive() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (0.0, 1.0, 1.5, 2.0, 3.0, 1e9):
        histogram.observe(value)
    assert histogram.cumulative() == [("1.0", 2), ("2.0", 4), ("+Inf", 6)]
    assert histogram.count == 6
    assert histogram.total == pytest.approx(1e9 + 7.5)


def test_counters_take_no_other_names() -> None:
    counters = Counters()
    with pytest.raises(AttributeError):
        counters.frames_inn = 1  # type: ignore[attr-defined]


async def test_the_documentation_lists_every_metric_and_no_other(node: Node) -> None:
    rows = re.findall(r"^\| `(syncline_\w+)` \| (\w+) \| ([^|]*)\|", OPERATIONS.read_text("utf-8"), re.MULTILINE)
    documented = {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}
    found = {}
    for family in node.metrics.registry.collect():
        if family.name.startswith("syncline_"):
            name = family.name + ("_total" if family.type == "counter" else "")
            labels = {label for sample in family.samples for label in sample.labels} - {"le"}
            found[name] = (family.type, labels)
    assert found == documented


async def test_every_metric_has_a_text_and_the_names_follow_the_rules(node: Node) -> None:
    for family in node.metrics.registry.collect():
        if family.name.startswith("syncline_"):
            assert family.documentation.endswith("."), family.name
            assert re.fullmatch(r"syncline(_[a-z]+)+", family.name)
            assert not re.search(r"milliseconds|_ms$|kilobytes|_count$", family.name)


async def test_what_is_counted_is_shown(node: Node) -> None:
    counters = node.counters
    counters.frames_in += 2
    counters.bytes_in += 300
    counters.connection_opened("json")
    counters.connection_opened("json")
    counters.connection_opened("none", "http")
    counters.connection_closed("json")
    counters.request("room:join")
    counters.request("room:join")
    counters.error("forbidden")
    counters.disconnect("slow_consumer")
    counters.operations_accepted += 5
    counters.operations_transformed += 3
    counters.commits.observe(0.003)
    counters.publishes["client"].observe(0.2)
    counters.publishes["client"].observe(0.00002)
    counters.publishes["api"].observe(20.0)
    found = samples(node)
    expected = {
        "syncline_frames_received_total": 2,
        "syncline_received_bytes_total": 300,
        'syncline_connections{codec="json",transport="ws"}': 1,
        'syncline_connections{codec="none",transport="http"}': 1,
        'syncline_connections_opened_total{codec="json",transport="ws"}': 2,
        'syncline_requests_total{event="room:join"}': 2,
        'syncline_errors_total{code="forbidden"}': 1,
        'syncline_disconnects_total{reason="slow_consumer"}': 1,
        'syncline_operations_total{outcome="accepted"}': 5,
        'syncline_operations_total{outcome="refused"}': 0,
        "syncline_operations_transformed_total": 3,
        'syncline_commit_seconds_bucket{le="0.0025"}': 0,
        'syncline_commit_seconds_bucket{le="0.005"}': 1,
        "syncline_commit_seconds_count": 1,
        'syncline_publish_seconds_sum{source="client"}': 0.20002,
        'syncline_publish_seconds_bucket{le="1e-05",source="client"}': 0,
        'syncline_publish_seconds_bucket{le="2.5e-05",source="client"}': 1,
        'syncline_publish_seconds_bucket{le="0.25",source="client"}': 2,
        'syncline_publish_seconds_bucket{le="10.0",source="api"}': 0,
        'syncline_publish_seconds_bucket{le="+Inf",source="api"}': 1,
        'syncline_event_seconds_count{source="client"}': 0,
        "syncline_operation_seconds_count": 0,
        "syncline_connections_limit": node.arrivals.places,
    }
    assert {name: found.get(name) for name in expected} == expected


async def test_a_closed_connection_leaves_a_zero(node: Node) -> None:
    """A series that vanished would look like a node that vanished."""
    node.counters.connection_opened("json")
    node.counters.connection_closed("json")
    assert samples(node)['syncline_connections{codec="json",transport="ws"}'] == 0


async def test_what_clients_do_is_counted(app: App) -> None:
    """Two people chat and edit; every number is what they did, and nothing is left when they have gone."""
    async with dial(app.url, name="Ada") as ada, dial(app.url, name="Bob", codec="msgpack") as bob:
        for client in (ada, bob):
            await client.call("room:join", room="r")
            await client.call("document:join", document="d", client=client.user[-8:])
        await ada.call("message:send", room="r", data="hello")
        assert await bob.error("message:send", room="elsewhere", data=1) == "not_a_member"
        both = {"document": "d", "revision": 0, "seq": 1}
        await ada.call("document:operation", **both, operation=["A"])
        await bob.call("document:operation", **both, operation=["B"])  # concurrent
        await bob.call("document:operation", **both, operation=["B"])  # again
        assert (
            await ada.error("document:operation", document="d", revision=9, seq=2, operation=["x"])
            == "revision_unknown"
        )
        async with dial(app.url) as stranger:
            assert await stranger.error("auth", token="x.y.z") == "token_invalid"
            during = samples(app.node)
        await ada.call("ping")
    await until(lambda: not app.node.sessions.connections)
    after = samples(app.node)
    assert {name: during.get(name) for name in DURING} == DURING
    assert {name: after.get(name) for name in AFTER} == AFTER
    assert after["syncline_sent_bytes_total"] > after["syncline_frames_sent_total"] > 10
    assert after["syncline_received_bytes_total"] > after["syncline_frames_received_total"] > 10


DURING: dict[str, float] = {
    'syncline_connections{codec="json",transport="ws"}': 2,  # the stranger speaks JSON too
    'syncline_connections{codec="msgpack",transport="ws"}': 1,
    'syncline_sessions{state="open"}': 2,
    'syncline_sessions{state="connecting"}': 1,
    "syncline_users": 2,
    "syncline_rooms": 1,
    "syncline_members": 2,
    "syncline_presence_entries": 2,
    "syncline_documents": 1,
    "syncline_collaborators": 2,
    "syncline_pending_requests": 0,
    "syncline_pending_operations": 0,
    "syncline_publications_total": 1,
    'syncline_publish_seconds_count{source="client"}': 1,
    "syncline_operation_seconds_count": 3,
    'syncline_requests_total{event="message:send"}': 2,
    'syncline_errors_total{code="not_a_member"}': 1,
    'syncline_errors_total{code="revision_unknown"}': 1,
    'syncline_errors_total{code="token_invalid"}': 1,
    "syncline_auth_failures_total": 1,
    'syncline_operations_total{outcome="accepted"}': 2,
    'syncline_operations_total{outcome="duplicate"}': 1,
    'syncline_operations_total{outcome="refused"}': 1,
    "syncline_operations_transformed_total": 1,
    "syncline_commit_seconds_count": 2,
}
AFTER: dict[str, float] = {
    'syncline_connections{codec="json",transport="ws"}': 0,
    'syncline_connections{codec="msgpack",transport="ws"}': 0,
    'syncline_connections_opened_total{codec="json",transport="ws"}': 2,
    "syncline_users": 0,
    "syncline_rooms": 0,
    "syncline_members": 0,
    "syncline_collaborators": 0,
    "syncline_commit_failures_total": 0,
}


async def test_draining_is_shown(node: Node) -> None:
    assert samples(node)["syncline_draining"] == 0
    node.draining = True
    assert samples(node)["syncline_draining"] == 1


async def test_the_process_and_the_collector_are_shown(node: Node) -> None:
    found = samples(node)
    assert found["process_resident_memory_bytes"] > 1_000_000
    assert found["process_open_fds"] > 3
    assert 'python_gc_collections_total{generation="2"}' in found


async def test_the_store_is_counted_once_though_several_backends_use_it(node: Node) -> None:
    before = samples(node)
    assert await node.store.setting("test", lambda: "x") == "x"
    after = samples(node)
    assert after["syncline_store_writes_total"] == before["syncline_store_writes_total"] + 1
    assert after["syncline_store_transactions_total"] == before["syncline_store_transactions_total"] + 1
    assert after["syncline_store_pending_writes"] == 0


async def test_memory_backends_have_no_queue(config: Config) -> None:
    memory = replace(
        config, store=replace(config.store, backend="memory"), broker=replace(config.broker, backend="memory")
    )
    async with app_module.running(memory) as running:
        assert not [name for name in samples(running.node) if name.startswith("syncline_store_")]


async def test_two_nodes_do_not_share_counts(config: Config, node: Node, tmp_path: Path) -> None:
    other = replace(config, store=replace(config.store, path=str(tmp_path / "other.db")))
    async with app_module.running(other) as running:
        running.node.counters.frames_in += 7
        assert samples(running.node)["syncline_frames_received_total"] == 7
        assert samples(node)["syncline_frames_received_total"] == 0


async def test_a_peak_is_shown_to_every_scraper(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 600.0
    monkeypatch.setattr(node.clock, "monotonic", lambda: now)
    waiting = {"take_queue_bytes_max": 0, "take_queue_messages_max": 0}

    class Flusher:
        def __getattr__(self, name: str) -> Any:
            return (
                (lambda: waiting.pop(name, 0))
                if name in ("take_queue_bytes_max", "take_queue_messages_max")
                else getattr(flusher, name)
            )

    flusher = node.flusher
    monkeypatch.setattr(node, "flusher", Flusher())

    def shown() -> tuple[float, float]:
        found = samples(node)
        return found["syncline_queue_bytes_max"], found["syncline_queue_messages_max"]

    assert shown() == (0, 0)
    waiting.update(take_queue_bytes_max=5000, take_queue_messages_max=7)
    assert shown() == (5000, 7)
    assert shown() == (5000, 7)  # the other scraper
    now += 59
    waiting.update(take_queue_bytes_max=3000)
    assert shown() == (5000, 7)
    now += 59
    assert shown() == (5000, 7)
    now += 59
    assert shown() == (0, 0)


async def test_each_traceback_is_a_fault(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a request, of a task, of HTTP, of the event loop; what is only said at that level is none."""

    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("broken")

    async def breaks() -> None:
        broken()

    def faults() -> float:
        return samples(app.node)["syncline_faults_total"]

    before = faults()
    logging.getLogger("syncline.documents").error("commit of document %s failed", "d")
    assert faults() == before
    async with dial(app.url, name="Ada") as ada:
        monkeypatch.setattr(app.node.store, "room", broken)
        assert await ada.error("room:join", room="r") == "internal"
    assert faults() == before + 1
    app.node.spawn(breaks())
    await until(lambda: faults() == before + 2)
    monkeypatch.setattr(app.node, "ready", broken)
    async with httpx.AsyncClient(base_url=app.url, trust_env=False) as client:
        assert (await client.get("/ready")).status_code == 500
    await until(lambda: faults() == before + 3)
    app.node.loop.call_soon(broken)
    await until(lambda: faults() == before + 4)


def test_the_content_type_is_prometheus() -> None:
    assert CONTENT_TYPE.startswith("text/plain; version=")


def write_queue_of(database: sqlite.Database) -> WriteQueue:
    return database  # mypy holds the two together


async def scraped(app: App) -> set[str]:
    """The series of ours that a scrape over HTTP gives."""
    async with httpx.AsyncClient(base_url=app.url, trust_env=False) as client:
        text = (await client.get("/metrics")).text
    return {line.rpartition(" ")[0] for line in text.splitlines() if line.startswith("syncline_")}


async def test_every_series_is_there_from_the_first_scrape(serve: Serve) -> None:
    """``rate`` misses the first increment of a series that begins with it; and no client makes a series."""
    async with serve(api={"key": "0123456789abcdef"}, limits={"bad_requests_per_minute": 20}) as app:
        first = await scraped(app)
        for codec in ("json", "msgpack"):
            async with dial(app.url, name="Ada", codec=codec) as ada:
                await ada.call("room:join", room="r")
                await ada.call("message:send", room="r", data=1)
                await ada.call("document:join", document="d", client=codec)
                await ada.call("document:operation", document="d", seq=1, revision=0, operation=["x"])
                assert await ada.error("no:such:event") == "unknown_event"
                assert await ada.error("message:send", room="elsewhere", data=1) == "not_a_member"
                assert await ada.error("room:join", room="\0") == "invalid_data"
                with contextlib.suppress(websockets.ConnectionClosed):
                    for number in range(30):
                        await ada.raw(b"\xc1" if codec == "msgpack" else f"no event {number}")
                assert (await ada.closed())[1] == "misbehaving"
        async with dial(app.url) as broken:
            broken.socket.transport.write(b"\xff" * 8)
            assert (await broken.closed())[1] == "protocol_error"
        async with httpx.AsyncClient(base_url=app.url, trust_env=False) as client:
            for path, status in (("/nothing", 404), ("/" + "x" * 9000, 414), ("/api/messages", 405)):
                assert (await client.get(path)).status_code == status
        async with httpx.AsyncClient(base_url=app.url, trust_env=False) as client:
            assert (await client.get("/", headers={"x": "y" * 20_000})).status_code == 431
        assert await scraped(app) == first
        found = samples(app.node)
        for series in (
            'syncline_disconnects_total{reason="misbehaving"}',
            'syncline_disconnects_total{reason="protocol_error"}',
            'syncline_errors_total{code="unknown_event"}',
            'syncline_http_refused_total{status="414"}',
            'syncline_http_refused_total{status="431"}',
        ):
            assert found[series] > 0, series


async def test_labels_have_the_names_of_the_documents(node: Node) -> None:
    """Closed sets, each a table somewhere else: codes of errors, reasons of disconnects, events, states."""
    by_label: dict[str, set[str]] = {}
    for family in node.metrics.registry.collect():
        if family.name.startswith("syncline_") and family.name != "syncline_build_info":
            for sample in family.samples:
                for label, value in sample.labels.items():
                    by_label.setdefault(label, set()).add(value)
    by_label.pop("le")
    documented = OPERATIONS.read_text("utf-8")
    for label in ("part", "thread", "outcome", "state", "source", "status", "transport", "codec"):
        rows = [
            line for line in documented.splitlines() if re.match(rf"\| `syncline_\w+` \|[^|]*\|[^|]*`{label}`", line)
        ]
        missing = {value for value in by_label.pop(label) if not any(re.search(rf"\b{value}\b", row) for row in rows)}
        assert not missing, (label, missing)
    assert by_label.pop("event") == set(node.handlers)
    assert by_label.pop("code") == {code.value for code in ErrorCode}
    assert by_label.pop("reason") == {one.reason for one in DISCONNECTS} | {one.value for one in Reason}
    assert by_label.pop("class") == {"history"}
    assert not by_label
