"""Log lines: both shapes, the libraries' loggers, and that no secret gets into one."""

from __future__ import annotations

import io
import json
import logging
import re
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from syncline.server.observe import log
from syncline.server.observe.log_repeats import ADDRESSES, FEW, KINDS, MOST, Repeated, Repeats
from tests.loglines import kept
from tests.waiting import wait_until

TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJlc2lnbmF0dXJl"


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    with kept():
        yield


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_json_line(stream: io.StringIO) -> None:
    log.configure("info", "json", stream)
    logging.getLogger("syncline.node").info("draining %d connections", 3, extra={"room": "a"})
    [line] = lines(stream)
    assert line.pop("timestamp").endswith("Z")
    assert line == {"message": "draining 3 connections", "logger": "syncline.node", "level": "info", "room": "a"}


def test_structlog_writes_the_same_lines(stream: io.StringIO) -> None:
    log.configure("info", "json", stream)
    logger = structlog.get_logger("syncline.node")
    logger.info("draining", connections=3)
    logger.debug("not this")
    [line] = lines(stream)
    assert (line["message"], line["connections"], line["logger"], line["level"]) == (
        "draining",
        3,
        "syncline.node",
        "info",
    )


def test_a_traceback_is_one_field_of_one_line(stream: io.StringIO) -> None:
    log.configure("info", "json", stream)
    try:
        raise ValueError(f"token {TOKEN}")
    except ValueError:
        logging.getLogger("syncline").exception("failed")
    [line] = lines(stream)
    assert line["exception"].endswith("ValueError: token [redacted]")
    assert "test_log.py" in line["exception"]


@pytest.mark.parametrize("kind", ["json", "console"])
def test_no_message_forges_a_line(stream: io.StringIO, kind: str) -> None:
    log.configure("info", kind, stream)
    logging.getLogger("syncline").warning(
        "room %s", "a\n2026-01-01 [error] forged\x1b[2J\u2028\ud800", extra={"x": "b\nc\x07"}
    )
    text = stream.getvalue()
    assert text.count("\n") == 1
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f]", text)


@pytest.mark.parametrize(
    "secret",
    [
        f"GET /ws?access_token={TOKEN}&x=1",
        "GET /ws?x=1&access_token=opaque-value HTTP/1.1",
        "url='/ws?token=opaque-value'",
        "Authorization: Bearer opaque-value",
        "Authorization: bearer opaque-value",
        f"a token {TOKEN} in a sentence",
        "password=opaque-value",
    ],
)
@pytest.mark.parametrize("kind", ["json", "console"])
def test_secrets_in_texts_are_redacted(stream: io.StringIO, kind: str, secret: str) -> None:
    log.configure("info", kind, stream)
    logger = logging.getLogger("syncline")
    logger.info(secret)
    logger.info("request %s", secret, extra={"nested": {"list": [secret, {"deep": secret}]}})
    logger.info("object", extra={"thing": ValueError(secret)})
    text = stream.getvalue()
    assert TOKEN not in text
    assert "opaque-value" not in text
    assert text.count("[redacted]") == 5
    assert len(text.splitlines()) == 3


@pytest.mark.parametrize(
    "key", ["token", "access_token", "password", "Authorization", "SECRET", "auth_secret", "cookie", "private_key"]
)
def test_secret_fields_are_redacted(stream: io.StringIO, key: str) -> None:
    log.configure("info", "json", stream)
    logging.getLogger("syncline").info("a", extra={key: "opaque", "data": {key: ["opaque"]}})
    structlog.get_logger("syncline").info("b", **{key: b"opaque"})
    assert "opaque" not in stream.getvalue()
    assert lines(stream)[0]["data"] == {key: "[redacted]"}


def test_what_is_no_secret_stays(stream: io.StringIO) -> None:
    log.configure("info", "json", stream)
    logging.getLogger("syncline").info(
        "token_expired: the token has expired", extra={"user": "ada", "n": 1.5, "t": (1, None)}
    )
    [line] = lines(stream)
    assert (line["message"], line["user"], line["n"], line["t"]) == (
        "token_expired: the token has expired",
        "ada",
        1.5,
        [1, None],
    )


def test_odd_values_do_no_harm(stream: io.StringIO) -> None:
    log.configure("info", "json", stream)
    loop: list[Any] = []
    loop.append(loop)
    logging.getLogger("syncline").info("odd", extra={"loop": loop, "bytes": b"x" * 10, "set": {1}, "object": object})
    [line] = lines(stream)
    assert line["bytes"] == "<10 bytes>"
    assert line["set"] == [1]


def test_levels(stream: io.StringIO) -> None:
    log.configure("warning", "json", stream)
    for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
        logging.getLogger("syncline.x").log(level, "%d", level)
    assert [line["level"] for line in lines(stream)] == ["warning", "error"]


def test_libraries_are_heard_when_they_warn(stream: io.StringIO) -> None:
    log.configure("debug", "json", stream)
    for name in ("uvicorn.error", "picows", "asyncio"):
        logging.getLogger(name).info("chatter")
        logging.getLogger(name).warning("trouble")
    assert [(line["logger"], line["message"]) for line in lines(stream)] == [
        ("uvicorn.error", "trouble"),
        ("picows", "trouble"),
        ("asyncio", "trouble"),
    ]


def test_requests_are_not_logged(stream: io.StringIO, capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("debug", "json", stream)
    logging.getLogger("uvicorn.access").error("GET /ws?access_token=x")
    assert stream.getvalue() + capsys.readouterr().err == ""


def test_configuring_again_replaces(stream: io.StringIO) -> None:
    log.configure("info", "json", io.StringIO())
    logger = structlog.get_logger("syncline")
    logger.info("to the first")
    log.configure("info", "json", stream)
    logger.info("to the second")
    logging.getLogger("syncline").info("to the second too")
    assert len(lines(stream)) == 2


def test_auto_is_json_unless_on_a_terminal() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for stream, is_json in ((io.StringIO(), True), (Terminal(), False)):
        log.configure("info", "auto", stream)
        logging.getLogger("syncline").info("hello")
        assert stream.getvalue().startswith("{") is is_json


def test_a_closed_stream_does_not_stop_the_server(stream: io.StringIO) -> None:
    log.configure("info", "json", stream)
    stream.close()
    logging.getLogger("syncline").info("nobody reads this")


# -- repeated lines ----------------------------------------------------------------------------------------------------


class Time:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def repeats(time: Time) -> Repeats:
    return Repeats(10.0, time)


def record(
    message: Any = "publish to %s failed", *values: object, level: int = logging.WARNING, name: str = "a", **more: Any
) -> logging.LogRecord:
    made = logging.LogRecord(name, level, __file__, 1, message, values, None)
    made.__dict__.update(more)
    return made


def passing(repeats: Repeats, count: int, message: Any = "publish to %s failed", *values: object, **more: Any) -> int:
    """How many of so many lines are written."""
    return sum(repeats.passes(record(message, *values, **more)) for _ in range(count))


def test_of_a_kind_a_few_pass_and_the_rest_is_told(repeats: Repeats, time: Time) -> None:
    assert [repeats.passes(record("publish to %s failed", str(number))) for number in range(8)] == [True] * FEW + [
        False
    ] * (8 - FEW)
    assert repeats.waiting and repeats.left_out == 3 and repeats.over() == []
    time.now += 10.0
    assert repeats.over() == [Repeated("a", logging.WARNING, "publish to 5 failed", 3, 10.0, 0, "")]
    assert not repeats.waiting and repeats.over() == []
    assert passing(repeats, 8) == FEW, "another period"


def test_a_period_that_is_over_is_told_though_nobody_looked(repeats: Repeats, time: Time) -> None:
    assert passing(repeats, FEW + 2) == FEW
    time.now += 12.0
    assert passing(repeats, FEW + 1) == FEW
    assert [(told.lines, told.seconds) for told in repeats.over()] == [(2, 12.0)]
    assert [told.lines for told in repeats.end()] == [1]
    assert not repeats.waiting and repeats.left_out == 3


def test_what_does_not_repeat_is_never_told(repeats: Repeats, time: Time) -> None:
    assert passing(repeats, FEW) == FEW
    assert not repeats.waiting
    time.now += 60.0
    assert repeats.over() == [] == repeats.end()


def test_the_first_line_of_every_kind_passes(repeats: Repeats) -> None:
    assert passing(repeats, 50) == FEW
    for other in (record("another"), record(level=logging.ERROR), record(name="b"), record({"event": "structlog's"})):
        assert repeats.passes(other)

    def fails(kind: type[Exception], place: int) -> logging.LogRecord:
        failed = record("failed", level=logging.ERROR)
        try:
            if place == 1:
                raise kind("1")
            raise kind("2")
        except Exception:
            failed.exc_info = sys.exc_info()
        return failed

    for kind in (ValueError, KeyError):
        for place in (1, 2):
            assert sum(repeats.passes(fails(kind, place)) for _ in range(50)) == FEW
    # asyncio's messages: the rest of it has the addresses of objects.
    assert sum(repeats.passes(record(f"Task exception was never retrieved\nfuture: <{n}>")) for n in range(50)) == FEW


def test_lines_at_debug_all_pass(repeats: Repeats) -> None:
    assert passing(repeats, 1000, level=logging.DEBUG) == 1000


def test_one_address_does_not_keep_anothers_lines_out(repeats: Repeats) -> None:
    assert passing(repeats, 1000, address="192.0.2.1") == FEW
    assert passing(repeats, 1000, address="2001:db8::1") == FEW
    assert passing(repeats, 1000, address="2001:db8::2") == 0, "the same network"
    assert passing(repeats, 1, address="192.0.2.2") == 1
    assert passing(repeats, 1, {"event": "publish to %s failed", "address": "192.0.2.3"}) == 1
    [told] = repeats.end()
    assert (told.lines, told.addresses, told.most_of) == (3000 - 2 * FEW, 2, "2001:db8::/64")


def test_many_addresses_do_not_drive_the_log(repeats: Repeats) -> None:
    addresses = [f"198.51.{number // 250}.{number % 250}" for number in range(5000)]
    assert sum(passing(repeats, 10, address=address) for address in addresses[:3]) == MOST // 2
    assert sum(passing(repeats, 10, address=address) for address in addresses[3:]) == MOST - MOST // 2
    assert all(len(kind.by) <= ADDRESSES for kind in repeats._kinds.values())
    assert repeats.end()[0].lines == 50_000 - MOST


def test_more_kinds_than_are_kept_lose_no_line_and_no_count(repeats: Repeats) -> None:
    told = []
    for number in range(3 * KINDS):
        assert passing(repeats, FEW + 1, f"message {number}") == FEW
        assert len(repeats._kinds) <= KINDS
        told += repeats.over()
    assert len(told) == 2 * KINDS
    assert sum(one.lines for one in [*told, *repeats.end()]) == 3 * KINDS == repeats.left_out


@pytest.mark.parametrize("kind", ["json", "console"])
def test_repeated_lines_are_told_at_the_end(stream: io.StringIO, kind: str) -> None:
    log.configure("info", kind, stream, waiting=100_000, repeat_seconds=3600.0)
    logger = logging.getLogger("syncline.messages")
    for number in range(1000):
        logger.warning("publish to %s failed: %s", f"room-{number}", "full", extra={"address": "192.0.2.1"})
        try:
            raise OSError(number)
        except OSError:
            logger.exception("a task failed")
    assert log.left_out() == 2 * (1000 - FEW)
    handler = logging.getLogger().handlers[-1]
    assert handler.lock is not None
    with handler.lock:  # as logging.shutdown does
        handler.close()
    text = stream.getvalue()
    assert len([line for line in text.splitlines() if "publish to" in line]) == FEW + 1 == text.count("a task failed")
    assert re.search(rf"{1000 - FEW} more in \d+ s, such as: publish to room-{FEW} failed: full", text)
    if kind == "json":
        for line in lines(stream)[-2:]:
            assert line["repeated"] == 1000 - FEW and line["seconds"] >= 0.0 and line["logger"] == "syncline.messages"
        assert lines(stream)[-2]["most_of"] == "192.0.2.1" and lines(stream)[-2]["addresses"] == 1


def test_repeated_lines_are_told_when_nothing_else_is_logged(stream: io.StringIO, time: Time) -> None:
    log.configure("info", "json", stream, waiting=100, repeat_seconds=10.0)
    [handler] = [one for one in logging.getLogger().handlers if isinstance(one, log._Background)]
    handler.repeats = Repeats(10.0, time)
    for _ in range(FEW):
        logging.getLogger("syncline").error("again")
    wait_until(lambda: len(stream.getvalue().splitlines()) == FEW)  # the thread waits for the next one
    for _ in range(7):
        logging.getLogger("syncline").error("again")
    time.now += 10.0
    wait_until(lambda: '"repeated": 7' in stream.getvalue())
    assert len(lines(stream)) == FEW + 1 and lines(stream)[-1]["level"] == "error"


def test_all_lines_are_written_where_that_is_wanted(stream: io.StringIO) -> None:
    log.configure("info", "json", stream, waiting=10_000, repeat_seconds=0.0)
    for _ in range(100):
        logging.getLogger("syncline").error("again")
    logging.getLogger().handlers[-1].close()
    assert len(lines(stream)) == 100 and log.left_out() == 0
