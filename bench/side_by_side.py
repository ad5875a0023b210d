#!/usr/bin/env python3
"""Everything beside its peers, one after the other: `make bench-peers`. Hours in full, some minutes with --quick.

Fan-out (fanout.py), cut connections and restarts (faults.py), collaboration (bench_ot.py): each has its peers take turns
on pinned cores and checks what they deliver; see there. A full run writes the sections of results.md and the charts in
charts/; --quick writes nothing unless told to.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import chart
import fanout
import report
import stands

HERE = Path(__file__).resolve().parent
CHARTS = HERE / "charts"
PARTS = ("fanout", "faults", "ot")

#: file, row of fanout.py, figure of it, title.
DRAWN = (
    ("throughput-rounds", "rounds", "deliveries/s", "One room of 1,000: the publisher waits for each round"),
    ("throughput-window", "window", "deliveries/s", "One room of 1,000: 16 messages in flight"),
    ("throughput-rooms", "rooms", "deliveries/s", "1,000 rooms of 10, all publishing"),
    ("latency-p50", "paced", "last member p50 ms", "From publish to the last of 1,000 members, median"),
    ("latency-p99", "paced", "last member p99 ms", "From publish to the last of 1,000 members, 99th percentile"),
    ("memory", "memory", "kB a connection", "Memory of an idle connection"),
    ("connects", "connect", "connections/s", "Handshake, authentication and join"),
)

Table = dict[str, dict[str, fanout.Cell]]


def draw(table: Table) -> list[tuple[str, str, str]]:
    """(file name, title, SVG) of each chart for which there are figures; the best contender first."""
    drawn = []
    rows = {row.key: row for row in fanout.ROWS}
    for name, key, unit, title in DRAWN:
        measured = [(who, cell) for who, cell in table.get(key, {}).items() if cell.reports]
        if not measured:
            continue
        figure: Callable[[stands.Report], float] = rows[key].figures[unit]
        bars = [
            chart.Bar(who, cell.median(figure), *cell.spread(figure), ours=who in fanout.OURS) for who, cell in measured
        ]
        better = unit in ("deliveries/s", "connections/s")
        bars.sort(key=lambda bar: bar.value, reverse=better)
        said = f"{unit}, {'more' if better else 'less'} is better; median, least and most of the runs"
        drawn.append((f"{name}.svg", title, chart.bars(title, said, bars)))
    return drawn


def run_fanout(quick: bool, write: bool, runs: int) -> bool:
    table = fanout.run(fanout.ROWS, stands.STANDS, runs, quick)
    told = fanout.markdown(fanout.ROWS, table, runs, quick)
    print(told)
    if write:
        fanout.write(told)
        CHARTS.mkdir(exist_ok=True)
        drawn = draw(table)
        for name, _, picture in drawn:
            (CHARTS / name).write_text(picture, "utf-8")
        report.write("charts", "Charts", "\n\n".join(f"![{title}](charts/{name})" for name, title, _ in drawn))
    return not any(cell.error for cells in table.values() for cell in cells.values())


def run_faults(quick: bool, write: bool, runs: int) -> bool:
    command = [sys.executable, str(HERE / "faults.py"), "--runs", str(runs)]
    command += ["--quick"] * quick + ["--write"] * write
    return subprocess.run(command, check=False).returncode == 0


def run_ot(quick: bool, write: bool, runs: int) -> bool:
    """bench_ot.py: medians of its own rounds. Its section of results.md has prose by hand: the rows go beside it."""
    rows = HERE / "charts" / "rows-ot.md"
    rows.parent.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "pytest", "bench_ot.py", "bench_documents.py", "--timeout=0", "--rootdir", ".."]
    command += ["--override-ini=python_files=bench_*.py", "-c", "../pyproject.toml", "-p", "no:cacheprovider"]
    environment = dict(os.environ, BENCH_SECONDS="0.5") if quick else dict(os.environ)
    return (
        subprocess.run(
            [*command, *(("--rows", str(rows)) if write else ())], cwd=HERE, env=environment, check=False
        ).returncode
        == 0
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=PARTS, action="append", help="one part; may be repeated")
    parser.add_argument("--runs", type=int, default=0, metavar="N", help="of each contender (3; --quick: 1)")
    parser.add_argument("--quick", action="store_true", help="small and short, to see that it works")
    parser.add_argument("--write", action="store_true", help="write although it is quick")
    options = parser.parse_args()
    runs = options.runs or (1 if options.quick else 3)
    write = options.write or not options.quick
    work = {"fanout": run_fanout, "faults": run_faults, "ot": run_ot}
    failed = []
    for part in PARTS:
        if options.only is None or part in options.only:
            print(f"==> {part}", file=sys.stderr, flush=True)
            if not work[part](options.quick, write, runs):
                failed.append(part)
    if failed:
        print(f"not all of it could be measured: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
