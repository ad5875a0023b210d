"""``syncline bench``: arguments to ``Work``, a report to text or JSON, limits to an exit code.

Exit codes: 0 done and every delivery verified, 1 a delivery or a limit was broken, or the work could not be done, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from typing import Final

from .dialects import DIALECTS
from .work import KINDS, Report, Work, WorkError, run

OK: Final = 0
BROKEN: Final = 1

_TEXT: Final = """\
A load generator for WebSocket servers: many connections on one thread, native, every delivery verified (each message
to each member once, in order, unchanged).

work:
  rounds   each publisher sends its next message when all members have the last one (--window keeps more on their way)
  paced    messages by schedule, --rate a second, whatever happens; latency counts from when a message was due
  connect  only connect: handshake, authentication, join
  idle     connect, then hold: memory and processor time of the server (--server-pid)
  cut      paced, while each member that does not publish loses its connection every --cut seconds and comes back
  avalanche  paced, until somebody else has restarted the server and all are back, --seconds at most
"""

_EXAMPLES: Final = """\
examples:
  syncline bench rounds ws://127.0.0.1:8000/ --members 1000
      one room of 1,000, one publisher that waits until all have it
  syncline bench rounds ws://127.0.0.1:8000/ --members 1000 --window 16 --dialect syncline-msgpack
  syncline bench rounds ws://127.0.0.1:8000/ --rooms 1000 --members 10 --publishers 0
      1,000 rooms of 10, everybody publishes
  syncline bench paced ws://127.0.0.1:8000/ --members 1000 --rate 50 --max-p99 50ms --json
  syncline bench connect ws://127.0.0.1:8000/ --members 10 --rooms 500 --concurrency 100
  syncline bench idle ws://127.0.0.1:8000/ --members 5000 --seconds 30 --server-pid 1234
  syncline bench cut ws://127.0.0.1:8000/ --members 1000 --rate 50 --cut 2 --seconds 20
  syncline bench rounds ws://127.0.0.1:9000/ --dialect plain
      another server, which publishes what it gets (the first message names the room and is answered "joined")

A server that asks for tokens: --secret signs one for each connection (HS256); --token is everybody's. Figures are worth
something when this process has a core of its own (`taskset -c 1 syncline bench ...`) and is not busy ("generator busy").
"""


def _milliseconds(text: str) -> float:
    """ "50ms", "0.5s", "800us" in milliseconds."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(us|ms|s)", text.strip())
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time; examples: 800us, 50ms, 0.5s")
    return float(match[1]) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[match[2]]


def _range(text: str) -> tuple[float, float]:
    """ "0.1:2" """
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?):([0-9]+(?:\.[0-9]+)?)", text.strip())
    if match is None or float(match[1]) > float(match[2]):
        raise argparse.ArgumentTypeError(f"{text!r} is not a range of seconds; example: 0.1:2")
    return float(match[1]), float(match[2])


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="syncline bench",
        description=_TEXT,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("kind", choices=KINDS, metavar="WORK", help=f"one of {', '.join(KINDS)}")
    made.add_argument("url", metavar="URL", help="ws://HOST[:PORT][/PATH]; the path is the dialect's when left out")
    who = made.add_argument_group("who")
    who.add_argument("--dialect", choices=DIALECTS, default="syncline-json", help="what is spoken (%(default)s)")
    who.add_argument("--rooms", type=int, default=1, metavar="N", help="rooms (%(default)s)")
    who.add_argument("--members", type=int, default=100, metavar="N", help="connections in each (%(default)s)")
    who.add_argument("--publishers", type=int, default=1, metavar="N", help="of them publish; 0: all (%(default)s)")
    who.add_argument("--room", default="bench", metavar="NAME", help="rooms are called NAME-0, ... (%(default)s)")
    who.add_argument("--secret", default="", help="sign a token for each connection: HS256, as auth.secret")
    who.add_argument("--token", default="", help="one token for all; without either they are guests")
    what = made.add_argument_group("what")
    what.add_argument("--payload", type=int, default=128, metavar="BYTES", help="of a message (%(default)s)")
    what.add_argument("--window", type=int, default=1, metavar="N", help="rounds: messages on their way (%(default)s)")
    what.add_argument("--rate", type=float, default=50.0, metavar="N", help="paced: messages a second (%(default)s)")
    what.add_argument(
        "--cut", type=float, default=2.0, metavar="S", help="cut: how long a connection lives (%(default)s)"
    )
    what.add_argument(
        "--retry", type=_range, default=(0.0, 0.2), metavar="A:B", help="seconds until it comes back (0:0.2)"
    )
    what.add_argument("--seconds", type=float, default=5.0, metavar="S", help="how long it is measured (%(default)s)")
    what.add_argument("--warmup", type=float, default=1.0, metavar="S", help="and not, before that (%(default)s)")
    how = made.add_argument_group("how")
    how.add_argument("--concurrency", type=int, default=64, metavar="N", help="connecting at a time (%(default)s)")
    how.add_argument("--timeout", type=float, default=60.0, metavar="S", help="until all are in (%(default)s)")
    how.add_argument("--drain", type=float, default=5.0, metavar="S", help="patience when nothing moves (%(default)s)")
    how.add_argument("--sources", type=int, default=50, metavar="N", help="loopback addresses (%(default)s; 0: one)")
    how.add_argument("--stepwise", action="store_true", help="wait for each answer of the greeting")
    how.add_argument("--no-mask", action="store_true", help="mask with zeros, which costs nothing")
    how.add_argument("--server-pid", type=int, default=0, metavar="PID", help="also measure that process")
    limits = made.add_argument_group("limits (exit code 1 when broken)")
    limits.add_argument("--max-missed", type=int, default=0, metavar="N", help="deliveries missed (%(default)s)")
    limits.add_argument("--max-p50", type=_milliseconds, metavar="TIME", help="of publish to delivery, e.g. 5ms")
    limits.add_argument("--max-p99", type=_milliseconds, metavar="TIME", help="of publish to delivery")
    limits.add_argument("--max-last-p99", type=_milliseconds, metavar="TIME", help="of publish to the last member")
    limits.add_argument("--min-rate", type=float, metavar="N", help="deliveries a second")
    limits.add_argument("--min-connects", type=float, metavar="N", help="connections made ready a second")
    made.add_argument("--json", action="store_true", help="the report as JSON")
    made.add_argument("--quiet", action="store_true", help="no progress on standard error")
    return made


def failures(report: Report, limits: argparse.Namespace) -> list[str]:
    """What was not as it must be, and which limits are broken."""
    found, verified = [], report["verified"]
    if verified["missed"] > limits.max_missed:
        found.append(f"{verified['missed']:,} deliveries missed, {limits.max_missed:,} allowed")
    faults = report.get("faults", {"not_back": 0})
    if faults["not_back"]:
        found.append(f"{faults['not_back']:,} connections did not come back")
    if verified["missed"] < 0:
        found.append("more was delivered than published")
    for name in ("duplicates", "late", "corrupt", "stray", "disordered_rooms", "lost_connections", "errors"):
        if verified[name]:
            found.append(f"{verified[name]:,} {name.replace('_', ' ')}")
    if verified["stalled"]:
        found.append("nothing moved any more before the time was over")
    latencies = (
        ("each_ms", "p50", limits.max_p50),
        ("each_ms", "p99", limits.max_p99),
        ("last_ms", "p99", limits.max_last_p99),
    )
    for kind, percentile, limit in latencies:
        if limit is not None and not (kind in report and report[kind]["count"] and report[kind][percentile] <= limit):
            seen = f"{report[kind][percentile]:.2f} ms" if kind in report else "not measured"
            found.append(f"{percentile} to {kind.partition('_')[0]} member {seen}, limit {limit:g} ms")
    rate = report.get("measured", {}).get("deliveries_per_second", 0.0)
    if limits.min_rate is not None and rate < limits.min_rate:
        found.append(f"{rate:,.0f} deliveries a second, {limits.min_rate:,.0f} wanted")
    connects = report["connect"]["connections_per_second"]
    if limits.min_connects is not None and connects < limits.min_connects:
        found.append(f"{connects:,.0f} connections a second, {limits.min_connects:,.0f} wanted")
    return found


def text(report: Report) -> str:
    """The report for people."""
    work, connect, verified = report["work"], report["connect"], report["verified"]
    lines = []

    def line(name: str, value: str) -> None:
        lines.append(f"{name:<22}{value}")

    def times(name: str, one: dict[str, float]) -> None:
        said = "  ".join(f"{key} {one[key]:.3f}" for key in ("p50", "p90", "p99", "p99.9", "max"))
        line(name, f"{said}  ms ({one['count']:,.0f})")

    def busy(used: Report) -> str:
        told = f"generator {used['generator_busy']:.0%}"
        if "server_busy" in used:
            told += f", server {used['server_busy']:.0%}"
        return told

    shape = f"{work['rooms']:,} x {work['members']:,} members, {work['publishers'] or 'all'} publishing"
    line("work", f"{work['kind']} over {work['dialect']}: {shape}, {work['payload']} bytes")
    line("connected", f"{connect['connections_per_second']:,.0f} a second in {connect['seconds']:.2f} s")
    times("  upgraded after", connect["opened_ms"])
    times("  joined after", connect["joined_ms"])
    line("  busy", busy(connect))
    if "measured" in report:
        one = report["measured"]
        if work["kind"] != "idle":
            line("published", f"{one['publications_per_second']:,.0f} a second ({one['published']:,})")
            line("delivered", f"{one['deliveries_per_second']:,.0f} a second ({one['delivered']:,})")
            times("  to each member", report["each_ms"])
            times("  to the last one", report["last_ms"])
        line("  busy", busy(one))
        if "server_rss" in one:
            line(
                "server memory",
                f"{one['server_rss'] / 1e6:.1f} MB, before connecting {one['server_rss_before'] / 1e6:.1f}",
            )
            line("  for a connection", f"{one['server_bytes_per_connection'] / 1000:.2f} kB")
            line("  processor time", f"{one['server_cpu_us_per_connection_second']:.2f} us a connection and second")
    if "faults" in report:
        faults = report["faults"]
        line("connections cut", f"{faults['cuts']:,}, ended by the server {faults['lost']:,}")
        line("delivered", f"{faults['delivered_share']:.4%}, in order {faults['delivered_in_order_share']:.4%}")
        times("  caught up after", report["recovered_ms"])
        if work["kind"] == "avalanche":
            line("all back after", f"{faults['all_back_seconds']:.2f} s")
    told = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in verified.items())
    line("verified", told)
    for why, count in report["endings"].items():
        line("  ended", f"{count:,} x {why}")
    if report["first_error"]:
        line("  first error", report["first_error"])
    return "\n".join(lines)


def main(argv: Sequence[str]) -> int:
    """Runs one piece of work; returns the exit code. argparse exits by itself on wrong usage (2) and --help (0)."""
    options = parser().parse_args(argv)
    given = {name: value for name, value in vars(options).items() if name in Work.__dataclass_fields__}
    quiet = options.quiet
    try:
        report = run(
            Work(**given, mask=not options.no_mask), None if quiet else lambda told: print(told, file=sys.stderr)
        )
    except WorkError as error:
        print(f"syncline bench: {error}", file=sys.stderr)
        return BROKEN
    broken = failures(report, options)
    report["failures"] = broken
    print(json.dumps(report, indent=2) if options.json else text(report), flush=True)
    for what in broken:
        print(f"syncline bench: {what}", file=sys.stderr)
    return BROKEN if broken else OK
