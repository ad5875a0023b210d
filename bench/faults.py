"""Faults beside the peers: `make bench-faults`, or `python bench/faults.py --help`.

cut: 1,000 clients in one room lose their connections every 2 seconds and come back, while 50 messages a second are
published. What share of the deliveries is there in the end, in order and once, and how long is it until a client has
caught up? avalanche: 5,000 clients, the server is stopped and started again; how long until all are back and caught up?
Syncline runs with its store and broker on disk here, since a restart without one forgets. Nothing is left out because it
failed: what the generator found is what is told.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from typing import Final

import chart
import comparison
import fanout
import stands
from stands import RECOVERY, STANDS, BenchError, Report, Server, Stand

BEGIN, END = "<!-- faults: begin -->", "<!-- faults: end -->"

WHO: Final = tuple(
    stand
    for stand in (*STANDS, RECOVERY)
    if stand.name in {"syncline json", "syncline msgpack", "uws", "ws", "socketio", "socketio recovery"}
)

Figure = Callable[[Report], float]


def _fault(name: str, scale: float = 1.0) -> Figure:
    return lambda report: float(report["faults"][name]) * scale


def _found(name: str) -> Figure:
    return lambda report: float(report["verified"][name])


def _recovered(percentile: str) -> Figure:
    return lambda report: float(report["recovered_ms"][percentile])


_COMMON: Final[dict[str, Figure]] = {
    "delivered %": _fault("delivered_share", 100),
    "twice": _found("duplicates"),
    "out of order": _found("late"),
    **{f"{percentile} ms": _recovered(percentile) for percentile in ("p50", "p95", "p99", "max")},
}

FIGURES: Final[dict[str, dict[str, Figure]]] = {
    "cut": {**_COMMON, "cuts": _fault("cuts"), "not back": _fault("not_back")},
    "avalanche": {"all back s": _fault("all_back_seconds"), **_COMMON, "not back": _fault("not_back")},
}


def cut(stand: Stand, quick: bool) -> Report:
    with stands.serving(stand) as server:
        shape = ("--members", 200 if quick else 1000, "--rate", 50, "--cut", 2, "--seconds", 4 if quick else 20)
        return stands.result(stands.generator(server, "cut", *shape, "--drain", 3), 200)


def avalanche(stand: Stand, quick: bool) -> Report:
    members = 500 if quick else 5000
    with stands.serving(stand, drain=2.0, durable=True) as server:
        # Each waits up to a second before each attempt, so that refused attempts do not fill a core.
        shape = ("--members", members, "--rate", 10, "--retry", "0.05:1", "--drain", 3, "--timeout", 240)
        running = stands.generator(server, "avalanche", *shape, "--seconds", 30 if quick else 120, quiet=False)
        try:
            _wait_until_ready(running.stderr, f"{members:,} of {members:,} ready")
            time.sleep(2)
            _restart(server)
        except BaseException:
            running.kill()
            raise
        return stands.result(running, 200)


def _wait_until_ready(lines: object, wanted: str) -> None:
    """The generator says each second how many are ready. Raises BenchError when it ends instead."""
    for line in lines:  # type: ignore[attr-defined]
        if line.startswith(wanted):
            return
    raise BenchError("the generator ended before all were ready")


def _restart(server: Server) -> None:
    server.stop()
    server.start()


ROWS: Final[dict[str, Callable[[Stand, bool], Report]]] = {"cut": cut, "avalanche": avalanche}
#: uWebSockets cannot listen on its port again for a minute, while the connections that it closed are in TIME_WAIT.
WITHOUT: Final = {"avalanche": {"uws"}}
TITLES: Final = {
    "cut": "1,000 clients cut every 2 s, 50 messages a second",
    "avalanche": "5,000 clients, server restarted, 10 messages a second",
}
#: The figure that is drawn, and what it is.
CHARTS: Final = {
    "cut": ("p99 ms", "From the cut until caught up, 99th percentile"),
    "avalanche": ("all back s", "From the end of the server until all are back and caught up"),
}


def markdown(row: str, reports: dict[str, list[Report]], errors: dict[str, str]) -> str:
    figures = FIGURES[row]
    lines = [f"| {TITLES[row]} | {' | '.join(figures)} |", "| --- |" + " --- |" * len(figures)]
    for name, all_of in reports.items():
        if not all_of:
            lines.append(f"| {name} | failed: {errors.get(name, '')} |" + " - |" * (len(figures) - 1))
            continue
        values = []
        for what, figure in figures.items():
            value = statistics.median(figure(report) for report in all_of)
            values.append(f"{value:.2f}" if what == "delivered %" else comparison.figure(value))
        lines.append(f"| {name} | {' | '.join(values)} |")
    return "\n".join(lines)


def draw(row: str, reports: dict[str, list[Report]]) -> None:
    figure, title = CHARTS[row]
    bars = []
    for name, all_of in reports.items():
        if all_of:
            values = [FIGURES[row][figure](one) for one in all_of]
            delivered = statistics.median(FIGURES[row]["delivered %"](one) for one in all_of)
            told = f"{name} ({delivered:.4g} % delivered)"
            middle = statistics.median(values)
            bars.append(chart.Bar(told, middle, min(values), max(values), ours=name in fanout.OURS))
    if bars:
        chart.draw(f"faults-{row}", f"{TITLES[row]}: {title[0].lower()}{title[1:]}", figure, bars, False)


def main() -> int:
    names = [stand.name for stand in WHO]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=ROWS, help="one of the two")
    parser.add_argument("--peers", metavar="NAMES", help=f"some of {', '.join(names)}")
    parser.add_argument("--runs", type=int, default=0, metavar="N", help="of each (3; --quick: 1)")
    parser.add_argument("--quick", action="store_true", help="small and short, to see that it works")
    parser.add_argument("--write", action="store_true", help="into results.md although it is no full run")
    options = parser.parse_args()
    chosen = fanout.chosen(options.peers, names) if options.peers else names
    who = [stand for stand in WHO if stand.name in chosen]
    runs = options.runs or (1 if options.quick else 3)
    parts = [
        f"{comparison.circumstances()}. {'Quick figures, of little weight. ' if options.quick else ''}Medians of {runs}."
    ]
    broken = False
    found: dict[str, dict[str, list[Report]]] = {}
    for row, work in ROWS.items():
        if options.only not in {None, row}:
            continue
        here = [stand for stand in who if stand.name not in WITHOUT.get(row, ())]
        reports = found[row] = {stand.name: [] for stand in here}
        errors: dict[str, str] = {}
        for number in range(runs):
            for stand in here:
                started = time.monotonic()
                try:
                    reports[stand.name].append(work(stand, options.quick))
                    told = ", ".join(
                        f"{what} {comparison.figure(figure(reports[stand.name][-1]))}"
                        for what, figure in FIGURES[row].items()
                    )
                except BenchError as error:
                    told = errors[stand.name] = str(error)
                took = time.monotonic() - started
                print(f"{row:<10}{number + 1}/{runs} {stand.name:<18} {told}  ({took:.0f} s)", file=sys.stderr)
        broken = broken or bool(errors)
        parts += [markdown(row, reports, errors), f"![{CHARTS[row][1]}](charts/faults-{row}.svg)"]
    told = "\n\n".join(parts) + "\n"
    print(told)
    if options.write or (options.only is None and options.peers is None and not options.quick):
        fanout.write(told, BEGIN, END)
        for row, reports in found.items():
            draw(row, reports)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
