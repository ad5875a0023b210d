"""The parts of the load tests that need no server: a broken instrument must not measure."""

from __future__ import annotations

import json
import random
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests import frames, measure, options
from loadtests.documents import STAMP_LENGTH, Editor, stamp, stamps
from loadtests.measure import Histogram, Measures
from loadtests.rooms import RoomWatch

# -- histograms -------------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(0, 100), min_size=1, max_size=200), st.sampled_from([0.5, 0.9, 0.99, 0.999, 1.0]))
def test_percentiles_are_those_of_the_sorted_values(values: list[float], share: float) -> None:
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    rank = max(1, -int(-len(values) * share // 1))
    exact = sorted(values)[rank - 1]
    assert histogram.percentile(share) == pytest.approx(exact, rel=1 / 64, abs=2e-6)
    assert histogram.maximum == max(values)
    assert histogram.count == len(values)


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1)), max_size=100))
def test_workers_add_up_to_what_one_process_would_have_measured(values: list[tuple[bool, float]]) -> None:
    alone, total, workers = Measures(), Measures(), (Measures(), Measures())
    for number, (first, value) in enumerate(values):
        for measures in (alone, workers[first]):
            measures.time("delivery", "chat", value)
            measures.counts[measure.MISSED] += number % 3 - 1
        if number % 7 == 0:
            total.add(Measures.unpack(json.loads(json.dumps(workers[first].take()))))
    for worker in workers:
        total.add(Measures.unpack(json.loads(json.dumps(worker.take()))))
    assert total.counts == alone.counts
    assert total.deliveries == alone.deliveries == len(values)
    if values:
        assert total.times["delivery", "chat"].buckets == alone.times["delivery", "chat"].buckets


# -- WebSocket --------------------------------------------------------------------------------------------------------


def server_frame(first: int, payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        return bytes((first, size)) + payload
    if size < 65536:
        return bytes((first, 126)) + size.to_bytes(2, "big") + payload
    return bytes((first, 127)) + size.to_bytes(8, "big") + payload


@given(
    st.lists(st.tuples(st.sampled_from([0x81, 0x82]), st.sampled_from([0, 1, 125, 126, 127, 70_000]), st.booleans())),
    st.randoms(use_true_random=False),
)
def test_frames_come_whole_however_they_are_cut(kinds: list[tuple[int, int, bool]], chance: random.Random) -> None:
    wire, expected = bytearray(), []
    for first, size, fragmented in kinds:
        payload = chance.randbytes(size)
        if fragmented:
            half = size // 2
            wire += server_frame(first & 0x0F, payload[:half])
            wire += server_frame(0x89, b"ping")
            wire += server_frame(0x80, payload[half:])
            expected.append((frames.PING, b"ping"))
        else:
            wire += server_frame(first, payload)
        expected.append((first & 0x0F, payload))
    parser, found, position = frames.Parser(), [], 0
    while position < len(wire):
        step = chance.choice([1, 2, 3, 100, 40_000])
        if len(wire) > 10_000 and step < 100:
            step = 5_000
        found += parser.feed(bytes(wire[position : position + step]))
        position += step
    assert found == expected


@pytest.mark.parametrize(
    "wire",
    [
        bytes((0x81, 0x81, 0, 0, 0, 0, 0)),
        server_frame(0x80, b"x"),
        server_frame(0x01, b"x") + server_frame(0x81, b"y"),
        server_frame(0xC1, b"x"),
        server_frame(0x09, b"x"),
        server_frame(0x83, b"x"),
    ],
    ids=["masked", "continuation of nothing", "inside a fragmented one", "reserved bit", "fragmented ping", "opcode 3"],
)
def test_what_is_not_websocket_is_refused(wire: bytes) -> None:
    with pytest.raises(frames.Broken):
        frames.Parser().feed(wire)


def test_a_refused_handshake_tells_when_to_come_back() -> None:
    with pytest.raises(frames.Refused) as refused:
        frames.read_upgraded(b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 7", "key", "syncline.v1.json")
    assert (refused.value.status, refused.value.retry_after) == (503, 7.0)


# -- rooms ------------------------------------------------------------------------------------------------------------


def joined(
    offset: int, recovered: bool | None = None, offsets: tuple[int, ...] = (), epoch: str = "e"
) -> dict[str, Any]:
    publications = [{"offset": each, "epoch": epoch} for each in offsets]
    position = {"offset": offset, "epoch": epoch}
    return {"position": position, "recovered": recovered, "publications": publications, "class": "history"}


def watched(offset: int = 10) -> tuple[RoomWatch, Counter[str]]:
    counts: Counter[str] = Counter()
    watch = RoomWatch("room", counts)
    watch.joined(joined(offset))
    return watch, counts


def push(watch: RoomWatch, *offsets: int, epoch: str = "e") -> list[bool]:
    return [watch.received({"offset": offset, "epoch": epoch}) for offset in offsets]


def counted(counts: Counter[str]) -> dict[str, int]:
    return {name: count for name, count in counts.items() if count}


@pytest.mark.parametrize(
    ("offsets", "expected"),
    [
        ((11, 12, 13), {}),
        ((11, 13), {measure.MISSED: 1}),
        ((11, 11), {measure.DUPLICATE: 1}),
        ((10,), {measure.DUPLICATE: 1}),
        ((12, 11), {measure.REORDERED: 1}),
        ((14, 12, 12), {measure.MISSED: 2, measure.REORDERED: 1, measure.DUPLICATE: 1}),
    ],
)
def test_gaps_duplicates_and_disorder_are_told_apart(offsets: tuple[int, ...], expected: dict[str, int]) -> None:
    watch, counts = watched()
    push(watch, *offsets)
    assert counted(counts) == expected


def test_a_loss_at_the_end_is_found_by_the_audit() -> None:
    watch, counts = watched()
    push(watch, 11)
    assert watch.audit(joined(11)) == 0
    assert watch.audit(joined(13)) == 2
    assert counted(counts) == {measure.AUDITED: 2, measure.MISSED: 2}


def test_recovering_fills_the_hole_of_a_lost_connection() -> None:
    watch, counts = watched()
    watch.join_data()
    push(watch, 14)  # the answer will hold it
    assert [each["offset"] for each in watch.joined(joined(14, True, (11, 12, 13, 14)))] == [11, 12, 13, 14]
    push(watch, 15)
    assert counted(counts) == {measure.RECOVERED: 4}


def test_recovering_less_than_all_is_a_loss_unless_the_server_says_so() -> None:
    watch, counts = watched()
    watch.joined(joined(14, True, (11, 13)))
    assert counted(counts) == {measure.RECOVERED: 2, measure.MISSED: 2}
    watch, counts = watched()
    watch.joined(joined(14, False))
    assert counted(counts) == {measure.UNRECOVERED: 4}
    watch, counts = watched()
    watch.joined(joined(3, False, epoch="other"))
    assert counted(counts) == {measure.UNRECOVERED: 3}


def test_holes_in_rooms_that_may_have_them_are_no_loss() -> None:
    watch, counts = watched()
    watch.room_class = "latest"
    push(watch, 15)
    assert watch.audit(joined(20)) == 0
    assert counted(counts) == {measure.CONFLATED: 4, measure.AUDITED: 1}


def test_a_history_that_begins_anew_unannounced_is_a_loss() -> None:
    watch, counts = watched()
    push(watch, 1, epoch="other")
    assert counted(counts) == {measure.MISSED: 1}


# -- documents --------------------------------------------------------------------------------------------------------


@given(st.floats(1.7e9, 2.0e9))
def test_a_stamp_says_its_time(seconds: float) -> None:
    text = f"before{stamp(seconds)}behind"
    assert len(stamp(seconds)) == STAMP_LENGTH
    assert stamps(text) == [pytest.approx(seconds, abs=2e-6)]


@given(st.floats(1.7e9, 2.0e9), st.integers(0, 10), st.integers(1, 10))
def test_what_is_left_of_a_stamp_says_nothing(seconds: float, start: int, length: int) -> None:
    text = stamp(seconds)
    assert stamps(text[:start] + text[start + length :]) == []


class Relay:
    """A server for editors that agree on an order by luck: each operation in turn is the next revision, transformed here."""

    def __init__(self) -> None:
        self.posted: list[dict[str, Any]] = []

    def post(self, event: str, data: Any) -> None:
        self.posted.append(data)


def state_of(text: str, revision: int) -> dict[str, Any]:
    return {"text": text, "operations": None, "generation": "g", "revision": revision, "seq": 0}


def test_an_editor_keeps_one_operation_in_flight_and_tells_how_old_it_was() -> None:
    relay, counts = Relay(), Counter[str]()
    acks: list[float] = []
    editor = Editor("d", relay.post, counts, rejoin=lambda: None)
    editor.on_ack = lambda due, now: acks.append(now - due)
    editor.join_data()
    editor.joined(state_of("", 0), 0.0)
    for due in (100.0, 101.0, 102.0):
        editor.type(due, 4000)
    [first] = relay.posted
    entry = {"client": editor.state.client, "seq": first["seq"], "operation": first["operation"]}
    editor.on_operation({"document": "d", "revision": 1, "operations": [entry]}, 105.0)
    _, second = relay.posted
    entry = {"client": editor.state.client, "seq": second["seq"], "operation": second["operation"]}
    editor.on_operation({"document": "d", "revision": 2, "operations": [entry]}, 107.0)
    assert len(relay.posted) == 2
    assert acks == [5.0, 6.0]  # the second one's oldest key was due at 101
    assert editor.state.settled and len(stamps(editor.state.content)) >= 1
    assert not counted(counts)


def test_an_editor_notices_a_revision_that_never_came_and_a_text_that_differs() -> None:
    for change in (
        {"revision": 2, "operations": [{"client": "o", "seq": 1, "operation": ["x"]}]},
        {"revision": 1, "operations": [{"client": "o", "seq": 1, "operation": ["x"]}], "hash": 1},
    ):
        again: list[bool] = []
        counts = Counter[str]()
        editor = Editor("d", Relay().post, counts, rejoin=lambda again=again: again.append(True))  # type: ignore[misc]
        editor.join_data()
        editor.joined(state_of("", 0), 0.0)
        editor.on_operation({"document": "d", **change}, 1.0)
        assert again and counts[measure.DIVERGED] == 1 and editor.whole


# -- options ----------------------------------------------------------------------------------------------------------


def settings(**values: Any) -> options.Settings:
    return options.Settings(SimpleNamespace(**values))


def test_limits() -> None:
    measures = Measures()
    for _ in range(99):
        measures.time("delivery", "chat", 0.001)
    assert options.broken(measures, settings()) == []
    assert options.broken(measures, settings(max_p99_delivery_ms="0.5")) == ["--max-p99-delivery-ms 0.5: it is 1 ms"]
    assert options.broken(measures, settings(min_deliveries=100.0)) == ["--min-deliveries 100: it is 99"]
    measures.counts.update({measure.MISSED: 2, measure.REQUESTS: 10, measure.FAILURES: 1})
    assert options.broken(measures, settings()) == ["--max-missed 0: it is 2", "--max-failure-ratio 0: it is 0.1"]
    assert options.broken(measures, settings(max_missed=-1, max_failure_ratio=0.1)) == []


def test_source_addresses() -> None:
    assert options.addresses("") == ()
    assert options.addresses("3") == ("127.0.0.1", "127.0.0.2", "127.0.0.3")
    assert options.addresses("10.0.0.1, 10.0.0.2") == ("10.0.0.1", "10.0.0.2")
    with pytest.raises(ValueError, match="0"):
        options.addresses("0")
