"""The OT core beside its peers: `make bench-ot` (ARGS='-k replay' for one row).

Each bench asserts that its result is right before anything is timed; so do the peers. Rows and targets are those of
results.md, which also says what a row means.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from comparison import ROWS, Row, keystrokes, median_ms, optional, ours_ms, peers
from histories import read, recorded

from syncline.core.documents.document import Document
from syncline.core.documents.text_type import TextType
from syncline.core.ot import ot
from syncline.core.ot.ot import Operation
from syncline.core.storage import commits as documents
from syncline.core.storage.commits import Entry, decode_snapshot, merge_bodies
from syncline.core.storage.log_body import pack_entries
from syncline.core.storage.replay import replay_text
from syncline.core.text.text import Text, set_limits
from tests.oracle.text import pack

Edit = tuple[int, int, str]
PAPER = "automerge-paper"  # the rows are about this one, recorded; without it they are skipped


def not_yet(module: Any, name: str) -> Any:
    found = getattr(module, name, None)
    if found is None:
        pytest.skip(f"{module.__name__}.{name} is not there")
    return found


# -- text -------------------------------------------------------------------------------------------------------------


def python_peers(history: list[Edit], end: str) -> dict[str, float]:
    """The whole history, one call per edit, in one transaction where there are any."""
    figures: dict[str, float] = {}
    result: list[str] = []

    def plain() -> None:
        text = ""
        for position, deleted, inserted in history:
            text = text[:position] + inserted + text[position + deleted :]
        result.append(text)

    figures["str slices"] = median_ms(plain, rounds=1)
    assert result.pop() == end
    loro = optional("loro")
    if loro is not None:

        def in_loro() -> None:
            text = loro.LoroDoc().get_text("t")
            for position, deleted, inserted in history:
                if deleted:
                    text.delete(position, deleted)
                if inserted:
                    text.insert(position, inserted)
            result.append(text.to_string())

        figures["loro (PyPI)"] = median_ms(in_loro, rounds=1)
        assert result.pop() == end
    return figures


@pytest.mark.parametrize(("store", "target"), [("flat", 6), ("chunked", 10)])
def test_replay_in_one_call(benchmark: Any, store: str, target: float) -> None:
    path = recorded(PAPER)
    history, end = read(path)
    body = pack(history)

    def replay() -> Text:
        text = Text()
        text.replay(body)
        return text

    before = set_limits(4096, 1024, 64)
    if store == "flat":
        set_limits(*before)
    try:
        text = replay()
        assert str(text) == end and text.chunked is (store == "chunked")
        benchmark.pedantic(replay, rounds=15, warmup_rounds=1)
    finally:
        set_limits(*before)
    found = peers("replay", str(path)) if store == "flat" else {}
    ROWS.append(Row(f"automerge-paper replay, one batch call, {store}", "ms", ours_ms(benchmark), target, found))


def test_replay_one_call_per_edit(benchmark: Any) -> None:
    history, end = read(recorded(PAPER))

    def replay() -> Text:
        text = Text()
        splice = text.splice
        for position, deleted, inserted in history:
            splice(position, deleted, inserted)
        return text

    assert str(replay()) == end
    benchmark.pedantic(replay, rounds=5, warmup_rounds=1)
    row = Row("the same, one Python call per edit", "ms", ours_ms(benchmark), 45, python_peers(history, end))
    ROWS.append(row)


# -- plain text, operations -------------------------------------------------------------------------------------------

WRITERS = 100


def behind(count: int, turns: int) -> tuple[Document, list[list[tuple[Any, ...]]]]:
    """A document and turns of operations from writers of whom each is ``count`` revisions behind when it is served."""
    document = TextType().open("bench", "1")
    document.receive("first", "eve", 1, 0, ["x" * 1000], "utf-16", 0.0)
    for seq in range(2, count + 2):
        document.receive("first", "eve", seq, seq - 1, [seq % 900 + 1, "y"], "utf-16", 0.0)
    revision = document.revision
    work = []
    for turn in range(turns):
        part = []
        for index in range(WRITERS):
            # As many clients as make each one's operations further apart than it is behind.
            client = f"c{(turn * WRITERS + index) % (count + WRITERS)}"
            seq = (turn * WRITERS + index) // (count + WRITERS) + 1
            part.append((client, "ada", seq, revision - count, [(index * 37) % 900 + 1, "z"], "utf-16"))
            revision += 1
        work.append(part)
    return document, work


@pytest.mark.parametrize(("count", "target"), [(100, 2_000_000), (1000, 500_000)])
def test_submit(benchmark: Any, count: int, target: int) -> None:
    turns = 20
    many = not_yet(Document, "receive_many")

    def prepare() -> tuple[tuple[Document, list[list[tuple[Any, ...]]]], dict[str, Any]]:
        return behind(count, turns), {}

    def one_by_one(document: Document, work: list[list[tuple[Any, ...]]]) -> Document:
        receive = document.receive
        for part in work:
            for one in part:
                receive(*one)
        return document

    def by_turns(document: Document, work: list[list[tuple[Any, ...]]]) -> Document:
        for part in work:
            many(document, part)
        return document

    (document, work), _ = prepare()
    right = one_by_one(document, work)
    assert right.revision == 1 + count + turns * WRITERS
    assert right.length() == 1000 + count + turns * WRITERS
    (document, work), _ = prepare()
    assert by_turns(document, work).content() == right.content()
    benchmark.pedantic(by_turns, setup=prepare, rounds=15, warmup_rounds=1)
    rate = turns * WRITERS / ours_ms(benchmark) * 1000
    measured = peers("transform")
    found = {"ot-text-unicode, transform alone": measured[f"ot-text-unicode rate {count}"]} if measured else {}
    work_name = f"submit + transform + apply, k = {count:,}, from Python"
    ROWS.append(Row(work_name, "operations/s", rate, target, found, more_is_better=True, note="turns of 100"))


def spelled(history: list[Edit]) -> list[Operation]:
    return [
        Operation([part for part in (position, inserted, -deleted) if part]) for position, deleted, inserted in history
    ]


def test_offline_burst_over_a_long_history(benchmark: Any) -> None:
    """2,000 keystrokes made offline, composed, over 130,000 operations that others made meanwhile."""
    histories = pytest.importorskip("syncline.core.ot.position_map")
    history, _ = read(recorded(PAPER))
    half = len(history) // 2
    base = Text()
    for position, deleted, inserted in history[:half]:
        base.splice(position, deleted, inserted)
    start = str(base)
    meanwhile = spelled(history[half:])
    burst = histories.compose_all(spelled(keystrokes(2000, len(start), 9, "q")))

    def cold() -> Any:
        folded = histories.PositionMap(meanwhile, max_bytes=2**30)
        return folded, folded.transform(burst)

    folded, moved = cold()
    # One operation against the others in turn, which is what the map stands for; each is the arriving one: left.
    slow = burst
    for other in meanwhile[:2000]:
        slow = ot.transform(slow, other, "left")
    assert histories.PositionMap(meanwhile[:2000]).transform(burst) == slow
    for position, deleted, inserted in history[half:]:
        base.splice(position, deleted, inserted)
    assert len(ot.apply(str(base), moved)) == len(base) + moved.delta
    benchmark.pedantic(cold, rounds=5, warmup_rounds=1)
    warm = median_ms(lambda: folded.transform(burst), rounds=31)
    work = "2,000 offline keystrokes over 130,000 operations"
    ROWS.append(Row(work + ", map built", "ms", ours_ms(benchmark), 60))
    ROWS.append(Row(work + ", map cached", "us", warm * 1000, 100))


def test_merge_two_branches(benchmark: Any) -> None:
    """Tree-compose both, then transform the one pair: what client and server do with two long branches."""
    histories = pytest.importorskip("syncline.core.ot.position_map")
    compose_all: Callable[[list[Operation]], Operation] = not_yet(histories, "compose_all")
    start = "0123456789" * 100
    ours = spelled(keystrokes(10_000, len(start), 2, "a"))
    theirs = spelled(keystrokes(10_000, len(start), 3, "b"))

    def merge() -> tuple[Operation, Operation, Operation, Operation]:
        a, b = compose_all(ours), compose_all(theirs)
        return a, b, ot.transform(a, b, "left"), ot.transform(b, a, "right")

    def play(history: list[Operation]) -> str:
        text = Text(start)
        for operation in history:
            text.apply(operation)
        return str(text)

    a, b, left, right = merge()
    assert ot.apply(play(theirs), left) == ot.apply(play(ours), right)
    assert ot.apply(start, a) == play(ours) and ot.apply(start, b) == play(theirs)
    benchmark.pedantic(merge, rounds=9, warmup_rounds=1)
    found = peers("branches")
    squared = {name: value for name, value in found.items() if "list x list" in name}
    note = ", ".join(f"{name}: {value:.0f} ms" for name, value in squared.items())
    whole = {name: value for name, value in found.items() if name not in squared}
    ROWS.append(Row("2 x 10,000 keystroke branches merged", "ms", ours_ms(benchmark), 15, whole, note=note))


# -- other types ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["transform", "compose"])
def test_rich(benchmark: Any, verb: str) -> None:
    """The two deltas of peers/core.mjs, from Python, one call each."""
    rich = pytest.importorskip("syncline.core.rich.rich")
    bold, italic, red = {"bold": True}, {"italic": True}, {"color": "red"}
    a = rich.Delta(
        [{"retain": 10}, {"insert": "abc", "attributes": bold}, {"retain": 30, "attributes": italic}, {"delete": 4}]
    )
    b = rich.Delta([{"retain": 12}, {"delete": 5}, {"insert": "xyz"}, {"retain": 20, "attributes": red}])
    text = rich.Delta([{"insert": "0123456789" * 10}])
    left, right = a.transform(b, True), b.transform(a, False)
    assert text.compose(a).compose(left) == text.compose(b).compose(right)
    assert text.compose(a).compose(b) == text.compose(a.compose(b))
    if verb == "transform":
        benchmark(a.transform, b, True)
    else:
        benchmark(a.compose, b)
    found = {name: value for name, value in peers("rich").items() if name.endswith(verb)}
    rate = 1000 / ours_ms(benchmark)
    ROWS.append(Row(f"rich text {verb}", "operations/s", rate, 1_000_000, found, more_is_better=True))


# -- loading ----------------------------------------------------------------------------------------------------------


def test_open_cold(benchmark: Any) -> None:
    """A snapshot of 10,000 characters and 10,000 operations after it, as read from the store."""
    start = "0123456789" * 1000
    whole = TextType().open("bench", "1", window_operations=20_000, window_bytes=2**30)
    snapshot = documents.new_text_snapshot(start)
    whole.restore(0, snapshot)
    for seq, operation in enumerate(spelled(keystrokes(10_000, len(start), 5, "z")), 1):
        whole.receive("c1", "ada", seq, seq - 1, operation, "utf-16", 0.0)
    entries = whole.since(0)
    bodies = [documents.encode_entries(entries[at : at + 100]) for at in range(0, len(entries), 100)]

    def load() -> Document:
        document = TextType().open("bench", "1")
        document.restore(0, snapshot)
        for index, body in enumerate(bodies):
            document.replay(100 * index, documents.decode_entries(body))
        return document

    loaded = load()
    assert loaded.content() == whole.content() and loaded.revision == 10_000
    benchmark.pedantic(load, rounds=15, warmup_rounds=2)
    found = peers("open")
    found.update(pycrdt_open(start))
    ROWS.append(Row("open cold (snapshot + 10,000 operations)", "ms", ours_ms(benchmark), 2, found))


BLOCK = 65_536  # operations: what one of 128 KiB holds before it is packed


def stored_history(history: list[Edit], *, pause: float = 0.2) -> tuple[list[bytes], list[bytes], list[str]]:
    """The history as the server's compaction stores it, ``pause`` seconds between keystrokes: packed blocks of log bodies with
    times in seconds, the snapshots before each (checkpoints), and the text after each."""
    entries = [
        Entry("k3j9x0q2", "ada", seq, operation, time=1_700_000_000 + seq * pause)
        for seq, operation in enumerate(spelled(history), 1)
    ]
    text, blocks, checkpoints, after = Text(), [], [], []
    for at in range(0, len(entries), BLOCK):
        part = entries[at : at + BLOCK]
        checkpoints.append(documents.new_text_snapshot(str(text)))
        for entry in part:
            text.apply(entry.operation)
        blocks.append(pack_entries(merge_bodies([documents.encode_entries(part)], 1000)))
        after.append(str(text))
    return blocks, checkpoints, after


def test_history_on_disk() -> None:
    path = recorded(PAPER)
    history, end = read(path)
    blocks, _, after = stored_history(history)
    assert after[-1] == end
    assert sum(len(documents.decode_entries(block)) for block in blocks) == len(history)
    size = sum(map(len, blocks)) / 1000
    timeless = sum(map(len, stored_history(history, pause=0.0)[0])) / 1000
    found = {name: value / 1000 for name, value in peers("history", str(path)).items()}
    ROWS.append(Row("automerge-paper with its whole history on disk, times to the second", "kB", size, 75, found))
    ROWS.append(Row("the same without times, as the peers store it", "kB", timeless, 75, found))


def test_text_at_any_revision(benchmark: Any) -> None:
    """The worst case of a block: the last revision before the next checkpoint, from stored bytes."""
    history, _ = read(recorded(PAPER))
    blocks, checkpoints, after = stored_history(history)

    def look(index: int, count: int) -> Text:
        text = Text(decode_snapshot(checkpoints[index])[0])
        replay_text(text, blocks[index], 0, count)
        return text

    for index, text in enumerate(after):
        assert str(look(index, BLOCK)) == text
    middle = len(blocks) // 2
    benchmark.pedantic(look, args=(middle, BLOCK), rounds=31, warmup_rounds=3)
    ROWS.append(Row("text at any revision of it, at worst", "ms", ours_ms(benchmark), 1))
    half = median_ms(lambda: look(middle, BLOCK // 2), rounds=31)
    ROWS.append(Row("text at any revision of it, halfway", "ms", half, 1))


MEMORY = """
import sys
from syncline.core.storage.commits import new_text_snapshot
from syncline.core.documents.text_type import TextType

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

snapshot = new_text_snapshot(open(sys.argv[1], encoding="utf-8").read())
kept = []
def load():
    document = TextType().open("bench", "1")
    document.restore(1, snapshot)
    kept.append(document)
load()
before = resident()
for _ in range(50):
    load()
print((resident() - before) / 50)
"""


def test_memory_of_an_idle_document(tmp_path: Path) -> None:
    """What a process grows by for each document that is loaded from its snapshot. Linux only."""
    _, end = read(recorded(PAPER))
    if not Path("/proc/self/statm").exists():
        pytest.skip("needs /proc")
    (tmp_path / "text").write_text(end, "utf-8")
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, str(tmp_path / "text")], capture_output=True, text=True, check=True
    )
    ROWS.append(Row("memory of automerge-paper, loaded and idle", "MB", float(done.stdout) / 1e6, 0.25))


def pycrdt_open(start: str) -> dict[str, float]:
    pycrdt = optional("pycrdt")
    if pycrdt is None:
        return {}
    source = pycrdt.Doc()
    text = source.get("t", type=pycrdt.Text)
    text += start
    updates = [source.get_update()]
    keep = source.observe(lambda event: updates.append(event.update))
    for position, deleted, inserted in keystrokes(10_000, len(start), 5, "z"):
        if deleted:
            del text[position : position + deleted]
        else:
            text.insert(position, inserted)
    source.unobserve(keep)

    def load() -> Any:
        document = pycrdt.Doc()
        with document.transaction():
            for update in updates:
                document.apply_update(update)
        return document

    assert str(load().get("t", type=pycrdt.Text)) == str(text)
    return {"pycrdt": median_ms(load, rounds=3)}
