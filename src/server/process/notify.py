"""Tells systemd how the service is: sd_notify(3), and its watchdog, sd_watchdog_enabled(3). Without systemd it is silent."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress


class Notifier:
    """``watchdog_seconds``: ``alive`` must be said within so long, or systemd kills the process; None: it need not."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        self.watchdog_seconds: float | None = None
        limit, process = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
        if self._address and limit.isdecimal() and int(limit) and process in ("", str(os.getpid())):
            self.watchdog_seconds = int(limit) / 1_000_000

    def starting(self, seconds: float) -> None:
        """It takes so long still, or longer: systemd's TimeoutStartSec is for what says nothing."""
        self._send(f"EXTEND_TIMEOUT_USEC={seconds * 1_000_000:.0f}")

    def ready(self, status: str) -> None:
        self._send("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """``ready`` follows."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        self._send("STOPPING=1", "STATUS=handing the clients over")

    def alive(self) -> None:
        self._send("WATCHDOG=1")

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as one:
            one.setblocking(False)  # a stuck systemd must not hold up the loop
            one.sendto("\n".join(lines).encode(), address)
