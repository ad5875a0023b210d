#!/usr/bin/env python3
"""Guards the core against getting slower, by counting instructions: time is noisy, counts are not. `make guard`.

    python bench/instructions.py [NAME ...]        counts, compares with instructions.json; exit code 1 when slower
    python bench/instructions.py --update          stores the counts of this platform
    python bench/instructions.py --against REV     builds that commit with this machine's tools and compares with it

A process under valgrind (callgrind) runs every workload of workloads.py, with counting switched on only around the
work itself. Each runs with n and with 2n units; the difference divided by n is what one unit costs, start and end of
counting left out. The collector is off, every code path is warm, and three such processes have three seeds for hashes.

Counts depend on the interpreter, the compilers and the libraries, but not on the machine's load, and hardly on its
processor: valgrind shows the program one and the same (a Haswell, where the real one has AVX2). So they are stored for
each platform, and only those of the same one are compared. See CONTRIBUTING.md, "Instructions".
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
STORED = HERE / "instructions.json"

#: In percent. A workload may cost so much more before it is an error. Two builds of one commit differ by up to 3.
TOLERANCE = 5.0

#: Counted once with each of these seeds for hashes, and the least is taken. The same build and seed give the same counts
#: each time; but with another seed, as with other code, objects lie elsewhere, and where two names collide in the
#: interpreter's cache of methods a workload costs up to 5 % more.
SEEDS = ("0", "1", "2")

#: What decides how many instructions the same source takes, beside what `platform_key` names: told, not compared.
LIBRARIES = ("msgspec",)

REQUESTS = """
#include <valgrind/callgrind.h>
void start(void) { CALLGRIND_START_INSTRUMENTATION; }
void stop(void) { CALLGRIND_STOP_INSTRUMENTATION; }
void zero(void) { CALLGRIND_ZERO_STATS; }
void told(const char *name) { CALLGRIND_DUMP_STATS_AT(name); }
"""

# -- inside valgrind --------------------------------------------------------------------------------------------------


def count_all(workloads: Path, requests: str, names: list[str]) -> None:
    """Prints the names of what was run; callgrind writes a file for each (workload, units)."""
    spec = importlib.util.spec_from_file_location("workloads", workloads)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["workloads"] = module
    spec.loader.exec_module(module)
    library = ctypes.CDLL(requests)
    library.start.argtypes, library.start.restype = [], None
    library.stop.argtypes, library.stop.restype = [], None
    library.zero.argtypes, library.zero.restype = [], None
    library.told.argtypes, library.told.restype = [ctypes.c_char_p], None
    chosen = [
        (index, work) for index, work in enumerate(module.WORKLOADS) if not names or any(n in work.name for n in names)
    ]
    prepared: list[tuple[bytes, Any, Any]] = []
    for index, work in chosen:
        run, check = work.prepare(work.count)
        check(run())  # warm: the interpreter has specialised its instructions, freelists are filled
        for times in (1, 2):
            prepared.append((f"{index}x{times}".encode(), *work.prepare(times * work.count)))
        print(json.dumps([index, work.name, work.count]), flush=True)
    gc.collect()
    gc.disable()
    # Once for all: each switch throws away what valgrind has translated. What is counted is fifty times slower than
    # what is not, so nothing else is done between.
    results = []
    library.start()
    for label, run, _ in prepared:
        library.zero()
        result = run()
        library.told(label)
        results.append(result)
    library.stop()
    for result, (_, _, check) in zip(results, prepared, strict=True):
        check(result)


# -- outside ----------------------------------------------------------------------------------------------------------


class Unable(Exception):
    """Counting is not possible here; the text says why."""


def native_tools(package: Path) -> tuple[str, str]:
    """(C compiler, Cython) that made the native modules, as they say themselves."""
    built = sorted((package / "core" / "ot").glob("ot.*.so"))
    if not built:
        raise Unable(f"no native modules in {package}")
    data = built[0].read_bytes()
    compiler = re.search(rb"GCC: \([^)]*\) ([\d.]+)|(clang version [\d.]+)", data)
    cython = re.search(rb"_cython_(\d+(?:_\d+)+)", data)
    return (
        "unknown compiler" if compiler is None else f"GCC {compiler[1].decode()}" if compiler[1] else compiler[2].decode(),
        "Cython" if cython is None else "Cython " + cython[1].decode().replace("_", "."),
    )  # fmt: skip


def platform_key(package: Path) -> str:
    """What the counts depend on, as one line."""
    compiler, cython = native_tools(package)
    optimised = "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or "")
    return "; ".join(
        (
            platform.machine(),
            f"{platform.python_implementation()} {platform.python_version()} by {platform.python_compiler()}"
            + (", optimised" if optimised else ""),
            f"natives by {compiler}, {cython}",
            " ".join(platform.libc_ver()),
        )
    )


def build_requests(folder: Path) -> Path:
    source, library = folder / "requests.c", folder / "requests.so"
    source.write_text(REQUESTS, "ascii")
    compiler = os.environ.get("CC") or "cc"
    done = subprocess.run(
        [*compiler.split(), "-O1", "-shared", "-fPIC", "-o", str(library), str(source)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise Unable(f"the headers of valgrind or a C compiler are missing: {done.stderr.strip()[-500:]}")
    return library


def count(workloads: Path, typing: Path, names: list[str], requests: Path, seed: str) -> dict[str, float]:
    """One process under valgrind. Raises Unable."""
    folder = requests.parent / seed
    folder.mkdir()
    command = [
        "valgrind",
        "--tool=callgrind",
        "--instr-atstart=no",
        "--dump-line=no",
        f"--callgrind-out-file={folder}/out",
        sys.executable,
        str(Path(__file__).resolve()),
        "--inside",
        str(requests),
        "--workloads",
        str(workloads),
        *names,
    ]
    kept = ("PATH", "HOME", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
    environment = {key: os.environ[key] for key in kept if key in os.environ}
    environment |= {
        "PYTHONPATH": str(typing),
        "PYTHONHASHSEED": seed,
        "PYTHONNOUSERSITE": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "LC_ALL": "C.UTF-8",
    }
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=folder)
    if done.returncode:
        raise Unable(f"the workloads failed under valgrind:\n{done.stderr[-3000:]}")
    totals = {}
    for path in folder.glob("out.*"):
        text = path.read_text("utf-8")
        label = re.search(r"^desc: Trigger: Client Request: (\S+)$", text, re.MULTILINE)
        total = re.search(r"^totals: (\d+)", text, re.MULTILINE)
        if label and total:
            totals[label[1]] = int(total[1])
    counts = {}
    for line in done.stdout.splitlines():
        index, work, units = json.loads(line)
        counts[work] = (totals[f"{index}x2"] - totals[f"{index}x1"]) / units
    return counts


def measure(workloads: Path, typing: Path, names: list[str]) -> dict[str, float]:
    """Workload -> instructions per unit. ``typing``: the folder in which `syncline` is found. Raises Unable."""
    if shutil.which("valgrind") is None:
        raise Unable("no valgrind here (tools/setup.sh valgrind installs it)")
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(os.cpu_count()) as threads:
        requests = build_requests(Path(folder))
        every = list(threads.map(lambda seed: count(workloads, typing, names, requests, seed), SEEDS))
    return {work: min(counts[work] for counts in every) for work in every[0]}


def package_of(typing: Path) -> Path:
    return (typing / "syncline").resolve()


def here() -> Path:
    """The folder in which this checkout's own package is importable; setup.py makes it."""
    return ROOT / "build" / "typing"


def build(revision: str) -> Path:
    """A worktree of that commit with its natives built; kept in build/guard for the next time. Returns its `here`."""
    asked = ["git", "rev-parse", "--short=12", "--verify", revision + "^{commit}"]
    try:
        found = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise Unable("git is needed to build another commit") from None
    if found.returncode:
        raise Unable(f"no commit {revision!r}: {found.stderr.strip()}")
    tree = ROOT / "build" / "guard" / found.stdout.strip()
    if not tree.exists():
        subprocess.run(["git", "worktree", "prune"], cwd=ROOT, check=True)
        subprocess.run(["git", "worktree", "add", "--quiet", "--detach", str(tree), revision], cwd=ROOT, check=True)
    print(f"building {revision} in {tree.relative_to(ROOT)} (minutes, the first time)", file=sys.stderr, flush=True)
    subprocess.run([sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"], cwd=tree, check=True)
    return tree / "build" / "typing"


# -- comparing --------------------------------------------------------------------------------------------------------


def compare(
    before: dict[str, float], now: dict[str, float], tolerance: float
) -> tuple[list[str], list[str], list[str]]:
    """(lines to show, workloads that got slower, those that got faster); beyond ``tolerance`` percent."""
    lines, slower, faster = [], [], []
    for name, count in now.items():
        old = before.get(name)
        if old is None:
            lines.append(f"  {name:<62} {count:>13,.0f}            new")
            continue
        change = (count / old - 1) * 100
        mark = ""
        if change > tolerance:
            mark = "  SLOWER"
            slower.append(name)
        elif change < -tolerance:
            mark = "  faster"
            faster.append(name)
        lines.append(f"  {name:<62} {count:>13,.0f} {change:>+8.1f} %{mark}")
    return lines, slower, faster


def load(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {"platforms": {}}
    stored: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return stored


def circumstances() -> dict[str, Any]:
    return {
        "libraries": {name: importlib.metadata.version(name) for name in LIBRARIES},
        "processor": next(
            (
                line.partition(":")[2].strip()
                for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines()
                if line.startswith("model name")
            ),
            "",
        ),
    }


def judge(now: dict[str, float], stored: dict[str, Any], key: str, tolerance: float, *, partial: bool) -> int:
    """Shows how the counts stand to the stored ones; the exit code."""
    known = stored["platforms"].get(key)
    if known is None:
        print("\n".join(compare({}, now, tolerance)[0]))
        print(
            f"\nNOTHING WAS COMPARED: there are no stored counts for this platform,\n  {key}\n"
            + "".join(f"but for\n  {other}\n" for other in stored["platforms"])
            + "Counts of another interpreter or compiler say nothing here. `make guard ARGS=--update` stores those of this\n"
            "platform beside the others; `make guard ARGS='--against main'` compares with a build of main on this one."
        )
        return 0
    lines, slower, faster = compare(known["counts"], now, tolerance)
    print("\n".join(lines))
    for name, version in known["libraries"].items():
        if circumstances()["libraries"].get(name) != version:
            print(f"note: the counts were stored with {name} {version}")
    gone = set() if partial else known["counts"].keys() - now.keys()
    new = now.keys() - known["counts"].keys()
    if faster:
        print(f"\nfaster, to be stored with `make guard ARGS=--update`: {', '.join(faster)}")
    if new or gone:
        print(f"\nworkloads without stored counts: {sorted(new)}; stored, but no more there: {sorted(gone)}")
        print("store them with `make guard ARGS=--update`")
    if slower:
        print(f"\nSLOWER by more than {tolerance:g} %: {', '.join(slower)}")
        print("Make it faster again; or, when it is worth its price, store the new counts and say why in the commit:")
        print("  make guard ARGS=--update")
    return 1 if slower or new or gone else 0


def main() -> int:
    parser = argparse.ArgumentParser(description="Instructions of the core's workloads, beside the stored counts.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="only workloads with this in their name")
    parser.add_argument("--update", action="store_true", help="store the counts")
    parser.add_argument("--against", metavar="REV", help="compare with a build of this commit instead")
    parser.add_argument("--tolerance", type=float, default=TOLERANCE, help="percent (default %(default)s)")
    parser.add_argument("--stored", type=Path, default=STORED, help=argparse.SUPPRESS)
    parser.add_argument("--workloads", type=Path, default=HERE / "workloads.py", help=argparse.SUPPRESS)
    parser.add_argument("--inside", metavar="LIBRARY", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        count_all(options.workloads, options.inside, options.names)
        return 0
    try:
        now = measure(options.workloads, here(), options.names)
        key = platform_key(package_of(here()))
        print(f"instructions per unit on {key}")
        if options.against:
            lines, slower, _ = compare(
                measure(options.workloads, build(options.against), options.names), now, options.tolerance
            )
            print("\n".join(lines))
            return 1 if slower else 0
    except Unable as error:
        print(f"the guard cannot count here: {error}", file=sys.stderr)
        return 2
    stored = load(options.stored)
    if options.update:
        counts = {name: round(count, 1) for name, count in now.items()}
        if options.names:
            counts = stored["platforms"].get(key, {}).get("counts", {}) | counts
        before = stored["platforms"].get(key, {}).get("counts", {})
        print("\n".join(compare(before, now, options.tolerance)[0]))
        stored["platforms"][key] = {**circumstances(), "counts": counts}
        options.stored.write_text(json.dumps(stored, indent=1, sort_keys=False) + "\n", "utf-8")
        print(f"stored in {options.stored.name}")
        return 0
    return judge(now, stored, key, options.tolerance, partial=bool(options.names))


if __name__ == "__main__":
    sys.exit(main())
