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
from pathlib import Path

HERE = Path(__file__).resolve().parent
PARTS = ("fanout", "faults", "ot")


def _run(program: str, quick: bool, write: bool, runs: int) -> bool:
    command = [sys.executable, str(HERE / program), "--runs", str(runs)]
    command += ["--quick"] * quick + ["--write"] * write
    return subprocess.run(command, check=False).returncode == 0


def run_fanout(quick: bool, write: bool, runs: int) -> bool:
    return _run("fanout.py", quick, write, runs)


def run_faults(quick: bool, write: bool, runs: int) -> bool:
    return _run("faults.py", quick, write, runs)


def run_ot(quick: bool, write: bool, runs: int) -> bool:
    """bench_ot.py and bench_documents.py: medians of their own rounds."""
    command = [sys.executable, "-m", "pytest", "bench/bench_ot.py", "bench/bench_documents.py", "--timeout=0"]
    command += ["--override-ini=python_files=bench_*.py", "-p", "no:cacheprovider"]
    command += ["--write"] * write
    environment = dict(os.environ, BENCH_SECONDS="0.5") if quick else dict(os.environ)
    return subprocess.run(command, cwd=HERE.parent, env=environment, check=False).returncode == 0


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
