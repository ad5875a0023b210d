"""The options that the scenarios add to locust's (``--help``, the web UI, loadtests/locust.conf, LOCUST_...), and limits."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from . import measure
from .measure import Measures


@dataclass(frozen=True, slots=True)
class Option:
    """``kind``: int, float or str; of a limit None means: not checked."""

    name: str
    kind: type
    default: Any
    help: str
    choices: tuple[str, ...] = ()

    @property
    def dest(self) -> str:
        return self.name.replace("-", "_")


LOAD = (
    Option("codec", str, "json", "encoding on the wire", ("json", "msgpack")),
    Option("prefix", str, "", "what names of rooms and documents begin with; empty: another one for each run"),
    Option("rate", float, 0.5, "messages a second of each user who talks (open loop, at random moments)"),
    Option("payload", int, 64, "bytes of filling in each message"),
    Option("rooms", int, 10, "rooms that the users of chat, storm and mixed are spread over"),
    Option("speak-rate", float, 5.0, "messages a second of each speaker in the huge room and beside slow readers"),
    Option("edit-rate", float, 1.0, "edits a second of each editor"),
    Option("document-size", int, 4000, "characters from which on editors delete as well"),
    Option("editors-per-document", int, 3, "of the scenario with many documents"),
    Option("presence-rate", float, 0.5, "presence updates and cursor moves a second of each user"),
    Option("storm-seconds", float, 10.0, "time between two reconnect storms"),
    Option("storm-jitter", float, 0.5, "seconds over which the users of a storm come back"),
    Option("slow-seconds", float, 3.0, "how long a slow reader stops reading, and then reads again"),
    Option("sources", str, "", "local addresses to connect from: a number of loopback ones, or a list with commas"),
    Option("connect-timeout", float, 10.0, "seconds for connecting, and for the answer to a request"),
    Option("settle-seconds", float, 20.0, "seconds at the end of a run for acks and for checking what was delivered"),
    Option("stop-after", int, 0, "end the run after so many deliveries, if -t does not end it before; 0: never"),
    Option("delivery-sample", int, 1, "one in so many deliveries becomes a locust event (the limits see all of them)"),
    Option("jwt-key-file", str, "", "HS256 key: users come with tokens instead of as guests"),
    Option("insecure", str, "", "'yes': do not check the certificate of wss://"),
    Option("summary-json", str, "", "file for the summary"),
)


class Check(NamedTuple):
    option: Option
    value: Callable[[Measures], float]
    unit: str
    least: bool = False


def _p99(kind: str) -> Callable[[Measures], float]:
    return lambda measures: 1000 * measures.of_kind(kind).percentile(0.99)


def _count(name: str) -> Callable[[Measures], float]:
    return lambda measures: measures.counts[name]


LIMITS = (
    Check(Option("max-p99-delivery-ms", float, None, "publish to delivery"), _p99("delivery"), "ms"),
    Check(Option("max-p99-ack-ms", float, None, "publish to ack"), _p99("ack"), "ms"),
    Check(Option("max-p99-edit-ms", float, None, "edit to delivery"), _p99("edit"), "ms"),
    Check(Option("max-p99-connect-ms", float, None, "TCP, TLS and upgrade"), _p99("connect"), "ms"),
    Check(Option("max-p99-join-ms", float, None, "joining a room or document"), _p99("join"), "ms"),
    Check(Option("max-p99-reconnect-ms", float, None, "a lost connection until caught up"), _p99("reconnect"), "ms"),
    Check(Option("max-missed", float, 0, "deliveries that never came"), _count(measure.MISSED), ""),
    Check(Option("max-duplicates", float, 0, "deliveries that came twice"), _count(measure.DUPLICATE), ""),
    Check(Option("max-reordered", float, 0, "deliveries out of order"), _count(measure.REORDERED), ""),
    Check(Option("max-diverged", float, 0, "documents unlike the server's"), _count(measure.DIVERGED), ""),
    Check(
        Option("max-unrecovered", float, None, "deliveries the server no longer had"), _count(measure.UNRECOVERED), ""
    ),
    Check(Option("max-failure-ratio", float, 0, "of requests, 0 to 1"), lambda measures: measures.failure_ratio, ""),
    Check(Option("min-deliveries", float, 1, "of all kinds"), lambda measures: measures.deliveries, "", least=True),
)


def add_to(parser: Any) -> None:
    load = parser.add_argument_group("Syncline: load")
    limits = parser.add_argument_group("Syncline: limits", "broken ones make the exit code 1; -1 switches one off")
    for option in LOAD:
        kinds = {"choices": list(option.choices)} if option.choices else {"type": option.kind}
        action = load.add_argument(
            f"--{option.name}",
            default=option.default,
            env_var=f"LOCUST_{option.dest.upper()}",
            help=f"{option.help}. Defaults to {option.default!r}.",
            **kinds,
        )
        # What locust's own add_argument does, which a group does not have: so it is in the web UI's form.
        action.include_in_web_ui = option.name not in ("jwt-key-file", "summary-json")
    for check in LIMITS:
        option = check.option
        action = limits.add_argument(
            f"--{option.name}",
            type=option.kind,
            default=option.default,
            env_var=f"LOCUST_{option.dest.upper()}",
            help=f"{option.help}. {'Not checked by default.' if option.default is None else f'Default {option.default}.'}",
        )
        action.include_in_web_ui = True


class Settings:
    """The options of a run by name, as their types; the web UI gives strings."""

    def __init__(self, parsed: Any) -> None:
        self._parsed = parsed

    def __getattr__(self, dest: str) -> Any:
        option = BY_DEST[dest]
        value = getattr(self._parsed, dest, option.default)
        if value is None or (value == "" and option.kind is not str):
            return option.default
        return option.kind(value)

    def limit(self, check: Check) -> float | None:
        value = getattr(self, check.option.dest)
        return None if value is None or value < 0 else value


BY_DEST = {option.dest: option for option in (*LOAD, *(check.option for check in LIMITS))}


def addresses(text: str) -> tuple[str, ...]:
    """``--sources``: "3" is 127.0.0.1 to 127.0.0.3. Raises ValueError."""
    if not text.strip():
        return ()
    if not text.strip().isdigit():
        return tuple(part.strip() for part in text.split(",") if part.strip())
    count = int(text)
    if not 1 <= count <= 65_000:
        raise ValueError(f"--sources: 1 to 65000 loopback addresses, not {count}")
    return tuple(f"127.0.{number >> 8}.{number & 255}" for number in range(1, count + 1))


def broken(measures: Measures, settings: Settings) -> list[str]:
    """A sentence for each limit that does not hold."""
    found = []
    for check in LIMITS:
        limit = settings.limit(check)
        if limit is None:
            continue
        value = check.value(measures)
        if value < limit if check.least else value > limit:
            shown = f"{value:.4g}{' ' + check.unit if check.unit else ''}"
            found.append(f"--{check.option.name} {limit:g}: it is {shown}")
    return found


def summary(measures: Measures, problems: list[str]) -> str:
    """For people: times in milliseconds, counts that are not zero, broken limits."""
    lines = [f"{'milliseconds':32}{'count':>10}{'mean':>10}{'p50':>10}{'p90':>10}{'p99':>10}{'p99.9':>10}{'max':>10}"]
    for (kind, name), histogram in sorted(measures.times.items()):
        shares = (histogram.percentile(share) for share in (0.5, 0.9, 0.99, 0.999))
        values = (histogram.mean, *shares, histogram.maximum)
        lines.append(
            f"{f'{kind} {name}'[:31]:32}{histogram.count:>10}" + "".join(f"{1000 * value:>10.2f}" for value in values)
        )
    counts = [f"{name} {measures.counts[name]}" for name in measure.COUNTERS if measures.counts[name]]
    must = [f"{name} 0" for name in (measure.MISSED, measure.DUPLICATE, measure.REORDERED) if not measures.counts[name]]
    lines += ["", "; ".join(counts + must)]
    lines += [f"error x{count}: {text}" for text, count in measures.errors.most_common(20)]
    lines += [f"LIMIT BROKEN {problem}" for problem in problems] or ["all limits hold"]
    return "\n".join(lines)


def write_json(path: str, measures: Measures, problems: list[str]) -> None:
    times = [
        {
            "kind": kind,
            "name": name,
            "count": histogram.count,
            "mean_ms": 1000 * histogram.mean,
            **{f"p{100 * share:g}_ms": 1000 * histogram.percentile(share) for share in (0.5, 0.9, 0.99, 0.999)},
            "max_ms": 1000 * histogram.maximum,
        }
        for (kind, name), histogram in sorted(measures.times.items())
    ]
    counts = {name: measures.counts[name] for name in measure.COUNTERS}
    content = {"times": times, "counts": counts, "errors": dict(measures.errors), "broken": problems}
    Path(path).write_text(json.dumps(content, indent=2) + "\n", "utf-8")
