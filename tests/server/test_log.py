"""Log lines: both shapes, the libraries' loggers, and that no secret gets into one."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from syncline.server import log

TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJlc2lnbmF0dXJl"


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Logging is the process's: put back what the tests change."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name in (*log._QUIET, "uvicorn.access"):
        quiet = logging.getLogger(name)
        quiet.setLevel(logging.NOTSET)
        quiet.propagate, quiet.disabled = True, False
    structlog.reset_defaults()


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
