"""Fan-out beside uWebSockets, ws and Socket.IO: `make bench-fanout`, or `python bench/fanout.py --help`.

Every figure is the median of several runs, with the least and the most; the contenders take turns within one session. For
each run a fresh server is started on one core, the generator (`syncline bench`) on another. A run counts only when
every delivery of it was verified: each message to each member once, in order, unchanged. Writes its rows into results.md
(the others stay), unless --quick or --peers without --write.
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import chart
import comparison
import stands
from stands import STANDS, BenchError, Report, Server, Stand

BEGIN, END = "<!-- fan-out: begin -->", "<!-- fan-out: end -->"

#: "syncline" stands for both codecs.
OURS = ("syncline json", "syncline msgpack")


@dataclass(frozen=True)
class Target:
    """The figure of ours must be ``times`` that of ``peer`` (more is better), or within ``most`` (less is better)."""

    peer: str = ""
    times: float = 1.0
    most: float | None = None


@dataclass(frozen=True)
class Row:
    """``figures``: name and unit of each number -> where it is in a report. The first one is judged by ``targets``."""

    key: str
    title: str
    work: Callable[[Server, bool], Report]
    figures: dict[str, Callable[[Report], float]]
    targets: tuple[Target, ...] = ()
    more_is_better: bool = True
    #: Contenders for which it means something; empty: all.
    who: tuple[str, ...] = ()
    #: Title of the chart of the first figure; empty: none.
    chart: str = ""
    #: About how long one run takes, in seconds, quickly and in full.
    costs: tuple[float, float] = (5.0, 10.0)


@dataclass
class Cell:
    """What one contender reached in one row, over the runs."""

    reports: list[Report] = field(default_factory=list)
    error: str = ""

    def median(self, figure: Callable[[Report], float]) -> float:
        return statistics.median(figure(report) for report in self.reports)

    def spread(self, figure: Callable[[Report], float]) -> tuple[float, float]:
        values = [figure(report) for report in self.reports]
        return min(values), max(values)


# -- the work ----------------------------------------------------------------------------------------------------------


def _rounds(window: int) -> Callable[[Server, bool], Report]:
    def work(server: Server, quick: bool) -> Report:
        seconds = (1, 0.3) if quick else (5, 1.5)
        return stands.load(
            server, "rounds", "--members", 1000, "--window", window, "--seconds", seconds[0], "--warmup", seconds[1]
        )

    return work


def _rooms(server: Server, quick: bool) -> Report:
    shape = ("--rooms", 100 if quick else 1000, "--members", 10, "--publishers", 0)
    return stands.load(server, "rounds", *shape, "--seconds", 1 if quick else 5, "--warmup", 0.3 if quick else 1.5)


def _paced(server: Server, quick: bool) -> Report:
    return stands.load(server, "paced", "--members", 1000, "--rate", 50, "--seconds", 2 if quick else 20)


def _large(server: Server, quick: bool) -> Report:
    shape = ("--members", 2000 if quick else 10_000, "--rate", 2, "--timeout", 240)
    return stands.load(server, "paced", *shape, "--seconds", 2 if quick else 15, timeout=400)


def _memory(server: Server, quick: bool) -> Report:
    return stands.load(server, "idle", "--members", 1000 if quick else 5000, "--seconds", 1 if quick else 5)


def _processor(server: Server, quick: bool) -> Report:
    # Two rounds of pings, so that it does not matter when the clock began.
    return stands.load(server, "idle", "--members", 1000 if quick else 5000, "--seconds", 5 if quick else 50)


def _connect(server: Server, quick: bool) -> Report:
    return stands.load(server, "connect", "--rooms", 50 if quick else 400, "--members", 10)


def _growth(members: int) -> Callable[[Server, bool], Report]:
    def work(server: Server, quick: bool) -> Report:
        size = members // 10 if quick else members
        idle = stands.load(server, "idle", "--members", size, "--seconds", 1, "--room", "held", timeout=500)
        rounds = stands.load(server, "rounds", "--members", size, "--seconds", 1 if quick else 5, timeout=500)
        return {**rounds, "idle": idle}

    return work


# -- the figures -------------------------------------------------------------------------------------------------------


def _measured(name: str, scale: float = 1.0) -> Callable[[Report], float]:
    return lambda report: float(report["measured"][name]) * scale


def _latency(kind: str, percentile: str) -> Callable[[Report], float]:
    return lambda report: float(report[kind][percentile])


def _growing(members: int) -> Row:
    return Row(
        f"growth-{members}",
        f"{members:,} connections in one room",
        _growth(members),
        {
            "kB a connection": lambda report: report["idle"]["measured"]["server_bytes_per_connection"] / 1000,
            "deliveries/s": _measured("deliveries_per_second"),
            "connects/s": lambda report: report["idle"]["connect"]["connections_per_second"],
        },
        more_is_better=False,
        who=(*OURS, "uws", "ws", "socketio"),
        costs=(8, 20 + members / 300),
    )


_RATES: dict[str, Callable[[Report], float]] = {
    "deliveries/s": _measured("deliveries_per_second"),
    "p50 ms": _latency("last_ms", "p50"),
    "p99 ms": _latency("last_ms", "p99"),
    # Hardly depends on what else the machine does.
    "server us/delivery": lambda report: (
        report["measured"]["server_cpu_seconds"] / max(report["measured"]["delivered"], 1) * 1e6
    ),
}
_LAST: dict[str, Callable[[Report], float]] = {
    "last member p99 ms": _latency("last_ms", "p99"),
    "last member p50 ms": _latency("last_ms", "p50"),
    "each member p99 ms": _latency("each_ms", "p99"),
}

ROWS = (
    Row(
        "rounds",
        "one room of 1,000, 128 bytes, the publisher waits for each round",
        _rounds(1),
        _RATES,
        (Target("uws"), Target("ws", 1.5), Target("socketio", 3)),
        chart="One room of 1,000: the publisher waits for each round",
        costs=(6, 12),
    ),
    Row(
        "window",
        "the same, 16 in flight",
        _rounds(16),
        _RATES,
        (Target("uws"), Target("ws", 15), Target("socketio", 30)),
        chart="One room of 1,000: 16 messages in flight",
        costs=(6, 12),
    ),
    Row(
        "rooms",
        "1,000 rooms of 10, all publishing",
        _rooms,
        _RATES,
        (Target("ws envelope", 1.5),),
        chart="1,000 rooms of 10, all publishing",
        costs=(6, 20),
    ),
    Row(
        "paced",
        "publish to the last of 1,000 members, 50 a second by schedule",
        _paced,
        _LAST,
        (Target("uws"),),
        more_is_better=False,
        chart="From publish to the last of 1,000 members, 50 a second by schedule",
        costs=(8, 30),
    ),
    Row(
        "large",
        "10,000 members, 2 a second by schedule",
        _large,
        {"each member p99 ms": _latency("each_ms", "p99"), **_LAST},
        (Target(most=100),),
        more_is_better=False,
        who=(*OURS, "uws", "ws", "socketio"),
        chart="From publish to each of 10,000 members, 2 a second by schedule",
        costs=(12, 60),
    ),
    Row(
        "memory",
        "memory of an idle connection, 5,000 in one room",
        _memory,
        {"kB a connection": _measured("server_bytes_per_connection", 0.001)},
        (Target(most=10),),
        more_is_better=False,
        who=(*OURS, "uws", "ws", "socketio"),
        chart="Memory of an idle connection",
        costs=(8, 20),
    ),
    Row(
        "processor",
        "processor time of an idle connection, pings each 25 s (ws: none)",
        _processor,
        {"us a connection and second": _measured("server_cpu_us_per_connection_second")},
        (Target(most=2),),
        more_is_better=False,
        who=("syncline json", "uws", "socketio"),
        costs=(12, 65),
    ),
    Row(
        "connect",
        "handshake, authentication and join",
        _connect,
        {
            "connections/s": lambda report: report["connect"]["connections_per_second"],
            "joined p50 ms": lambda report: report["connect"]["joined_ms"]["p50"],
            "joined p99 ms": lambda report: report["connect"]["joined_ms"]["p99"],
        },
        (Target("socketio", 1.5),),
        who=(*OURS, "uws", "ws", "socketio"),
        chart="Handshake, authentication and join",
        costs=(4, 8),
    ),
    _growing(1000),
    _growing(5000),
    _growing(18_000),
)

# -- running -----------------------------------------------------------------------------------------------------------


def run(rows: Sequence[Row], contenders: Sequence[Stand], runs: int, quick: bool) -> dict[str, dict[str, Cell]]:
    """Rows one after the other; within a row the contenders take turns, ``runs`` times."""
    table: dict[str, dict[str, Cell]] = {}
    for row in rows:
        who = [stand for stand in contenders if not row.who or stand.name in row.who]
        cells = table[row.key] = {stand.name: Cell() for stand in who}
        for number in range(runs):
            for stand in who:
                cell = cells[stand.name]
                if cell.error:
                    continue
                started = time.monotonic()
                try:
                    with stands.serving(stand) as server:
                        cell.reports.append(row.work(server, quick))
                except BenchError as error:
                    cell.error = str(error)
                    cell.reports.clear()
                told = cell.error or ", ".join(
                    f"{name} {comparison.figure(figure(cell.reports[-1]))}" for name, figure in row.figures.items()
                )
                took = time.monotonic() - started
                print(f"{row.key:<13}{number + 1}/{runs} {stand.name:<17} {told}  ({took:.0f} s)", file=sys.stderr)
    return table


# -- telling -----------------------------------------------------------------------------------------------------------


def _bound(cell: Cell) -> str:
    """Who was busy: a figure is bounded by the core that had nothing left."""
    busy = {}
    for name in ("server_busy", "generator_busy"):
        values = [float((report.get("measured") or report["connect"]).get(name, 0.0)) for report in cell.reports]
        busy[name] = statistics.median(values)
    return f"{busy['server_busy']:.0%} / {busy['generator_busy']:.0%}"


def _ratio(row: Row, mine: float, other: float) -> str:
    if not mine or not other:
        return "-"
    return comparison.figure(mine / other if row.more_is_better else other / mine)


def row_markdown(row: Row, cells: dict[str, Cell]) -> str:
    """``times X``: how many times better than X by the first figure."""
    first = next(iter(row.figures.values()))
    against = [name for name in ("uws", "ws", "socketio") if name in cells and cells[name].reports]
    head = [*row.figures, *(f"times {name}" for name in against), "server / generator busy"]
    lines = [f"| {row.title} | {' | '.join(head)} |", "| --- |" + " --- |" * len(head)]
    for name, cell in cells.items():
        if not cell.reports:
            lines.append(f"| {name} | {'failed: ' + cell.error if cell.error else '-'} |" + " - |" * (len(head) - 1))
            continue
        values = []
        for figure in row.figures.values():
            low, high = cell.spread(figure)
            told = comparison.figure(cell.median(figure))
            values.append(
                told if len(cell.reports) < 2 else f"{told} ({comparison.figure(low)} - {comparison.figure(high)})"
            )
        ratios = [_ratio(row, cell.median(first), cells[other].median(first)) for other in against]
        lines.append(f"| {name} | {' | '.join([*values, *ratios, _bound(cell)])} |")
    return "\n".join(lines)


def targets_text(row: Row, cells: dict[str, Cell]) -> str:
    """Where the first figure stands beside the row's targets; empty when it has none."""
    unit, first = next(iter(row.figures.items()))
    told = []
    for target in row.targets:
        peer = cells.get(target.peer)
        wanted = (
            f"{unit} at most {target.most:g}" if target.most is not None else f"{target.times:g} times {target.peer}"
        )
        said = []
        for name in OURS:
            mine = cells.get(name)
            if mine is None or not mine.reports or (target.peer and (peer is None or not peer.reports)):
                continue
            value = mine.median(first)
            if target.most is not None:
                reached, shown = value <= target.most, comparison.figure(value)
            else:
                assert peer is not None
                other = peer.median(first)
                ratio = value / other if row.more_is_better else other / value
                reached, shown = ratio >= target.times, comparison.figure(ratio)
            said.append(f"{name.removeprefix('syncline ')} {shown}{'' if reached else ' (missed)'}")
        if said:
            told.append(f"Target: {wanted}; {', '.join(said)}.")
    return " ".join(told)


def draw(row: Row, cells: dict[str, Cell]) -> None:
    """The first figure."""
    unit, first = next(iter(row.figures.items()))
    bars = [
        chart.Bar(name, cell.median(first), *cell.spread(first), ours=name in OURS)
        for name, cell in cells.items()
        if cell.reports
    ]
    if row.chart and bars:
        chart.draw(f"fanout-{row.key}", row.chart, f"{unit}: median, least, most", bars, row.more_is_better)


def block(row: Row, cells: dict[str, Cell], runs: int, quick: bool) -> str:
    """What results.md holds of one row."""
    pinned = stands.cores()
    how = (
        f"{comparison.circumstances()}. {'Quick figures, of little weight. ' if quick else ''}"
        f"{'Median of ' + str(runs) + ' runs (least - most)' if runs > 1 else 'One run'}; "
        + (f"server on core {pinned[0]}, generator on core {pinned[1]}." if pinned else "nothing was pinned.")
    )
    parts = [f"<!-- row: {row.key} -->", row_markdown(row, cells), targets_text(row, cells), how]
    if row.chart:
        parts.append(f"![{row.chart}](charts/fanout-{row.key}.svg)")
    return "\n\n".join(part for part in parts if part) + "\n"


def merged(blocks: dict[str, str]) -> str:
    """The section with these rows new and the others as they were, in the order of ``ROWS``."""
    page = (comparison.HERE / "results.md").read_text("utf-8")
    section = page.partition(BEGIN)[2].partition(END)[0]
    pieces = re.split(r"<!-- row: ([\w-]+) -->\n", section)[1:]
    kept = {key: f"<!-- row: {key} -->\n{text.rstrip()}\n" for key, text in zip(pieces[::2], pieces[1::2], strict=True)}
    kept.update(blocks)
    return "\n".join(kept[row.key] for row in ROWS if row.key in kept)


def write(told: str, begin: str = BEGIN, end: str = END) -> None:
    """Into results.md, between the marks."""
    path = comparison.HERE / "results.md"
    page = path.read_text("utf-8")
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    if not pattern.search(page):
        raise BenchError(f"{path.name} has no {begin}")
    path.write_text(pattern.sub(lambda _: f"{begin}\n\n{told}\n{end}", page), "utf-8")


def chosen(text: str, known: Sequence[str]) -> list[str]:
    """Of ``known``, what ``text`` says: names, or beginnings of names, separated by commas."""
    found = [name for name in known if any(name == part or name.startswith(f"{part} ") for part in text.split(","))]
    found = found or [name for name in known if any(name.startswith(part) for part in text.split(","))]
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r}: there are {', '.join(known)}")
    return found


def main() -> int:
    names, keys = [stand.name for stand in STANDS], [row.key for row in ROWS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="ROWS", type=lambda text: chosen(text, keys), help=", ".join(keys))
    parser.add_argument("--peers", metavar="NAMES", type=lambda text: chosen(text, names), help=", ".join(names))
    parser.add_argument("--runs", type=int, metavar="N", help="of each contender in each row (3; --quick: 1)")
    parser.add_argument("--quick", action="store_true", help="small and short, to see that it works")
    parser.add_argument("--write", action="store_true", help="into results.md although peers are left out, or quick")
    options = parser.parse_args()
    rows = [row for row in ROWS if options.only is None or row.key in options.only]
    contenders = [stand for stand in STANDS if stand.ours or options.peers is None or stand.name in options.peers]
    if options.peers is not None and not set(options.peers).isdisjoint(OURS):
        contenders = [stand for stand in STANDS if stand.name in options.peers]
    runs = options.runs or (1 if options.quick else 3)
    expected = sum(
        row.costs[0 if options.quick else 1]
        * runs
        * len([one for one in contenders if not row.who or one.name in row.who])
        for row in rows
    )
    print(f"about {expected / 60:.0f} minutes", file=sys.stderr)
    started = time.monotonic()
    table = run(rows, contenders, runs, options.quick)
    blocks = {row.key: block(row, table[row.key], runs, options.quick) for row in rows}
    print("\n".join(blocks.values()))
    print(f"took {(time.monotonic() - started) / 60:.1f} minutes", file=sys.stderr)
    if options.write or (options.peers is None and not options.quick):
        write(merged(blocks))
        for row in rows:
            draw(row, table[row.key])
    return 1 if any(cell.error for cells in table.values() for cell in cells.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
