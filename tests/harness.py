"""A real server in a process of its own: started on a free port, stopped, killed, started again on the same port and data."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from tests.waiting import PATIENCE

#: As in tests/waiting.py: only bounds, nobody waits longer than it takes.
START_SECONDS = STOP_SECONDS = PATIENCE

Setting = str | int | float | bool
Settings = dict[str, dict[str, Setting]]


class ServerProcess:
    """Blocking calls; inside a running event loop use ``asyncio.to_thread``.

    ``settings``: sections of the configuration, over an SQLite store in ``directory`` and a free port. ``files``: how many the
    process may open. ``listener``: handed over as systemd does it. ``environ``: beside ours.
    """

    def __init__(
        self,
        directory: Path,
        settings: Settings | None = None,
        files: int | None = None,
        *,
        listener: socket.socket | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.directory = directory
        self.log_path = directory / "server.log"
        self.port = 0
        self.starts = 0
        self._limit = ["/bin/sh", "-c", f'ulimit -n {files} && exec "$0" "$@"'] if files else []
        self._listener = listener
        self._environ = dict(environ or {})
        if listener is not None:
            # As sd_listen_fds(3) says: descriptor 3, for the process that it is when it has become the server.
            handed = (
                "import os, sys; os.dup2(int(sys.argv[1]), 3); os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1'); "
                "os.execvp(sys.argv[2], sys.argv[2:])"
            )
            self._limit = [sys.executable, "-c", handed, str(listener.fileno()), *self._limit]
        self._settings: Settings = {
            "server": {"port": 0, "drain_seconds": 2},
            "store": {"path": str(directory / "syncline.db")},
            "log": {"format": "json"},
        }
        for section, values in (settings or {}).items():
            self._settings.setdefault(section, {}).update(values)
        self._process: subprocess.Popen[bytes] | None = None
        self._pump: threading.Thread | None = None
        self._listening = threading.Event()  # it listens, or has ended
        self._announced = False  # it has said that it listens

    def __enter__(self) -> ServerProcess:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws"

    @property
    def pid(self) -> int:
        assert self._process is not None, "the server is not running"
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        return self.log_path.read_text("utf-8", "replace") if self.log_path.exists() else ""

    @property
    def config_path(self) -> Path:
        return self.directory / "syncline.toml"

    def configure(self, settings: Settings) -> None:
        """Writes the file anew, with these over what it had."""
        for section, values in settings.items():
            self._settings.setdefault(section, {}).update(values)
        self.config_path.write_text(_toml(self._settings), "utf-8")

    def signal(self, number: int) -> None:
        assert self._process is not None, "the server is not running"
        self._process.send_signal(number)

    def ended(self) -> int:
        """Waits for its end by itself, or by a signal that was sent; the exit code."""
        return self._end(0)

    def start(self, signals: Sequence[int] = ()) -> None:
        """Returns when it listens. The first start finds a free port; the later ones take the same.

        ``signals``: sent before it is there, and kept by the kernel until it takes them, as on the way through execv."""
        assert self._process is None, "the server is running"
        self._settings["server"]["port"] = self.port
        self.configure({})
        self._listening.clear()
        self._announced = False
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, signals)  # what is started inherits it
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._limit, sys.executable, "-m", "syncline", "serve", "--config", str(self.config_path)],
                cwd=self.directory,
                env={name: value for name, value in os.environ.items() if not name.startswith("SYNCLINE_")}
                | self._environ,
                pass_fds=[] if self._listener is None else [self._listener.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        for number in signals:
            self._process.send_signal(number)
        self._pump = threading.Thread(target=self._read_output, args=(self._process,), daemon=True)
        self._pump.start()
        self._listening.wait(START_SECONDS)
        if not self._announced or not self.running:
            code = self._end(signal.SIGKILL)
            raise RuntimeError(f"the server did not start (exit code {code}):\n{self.log[-4000:]}")
        self.starts += 1

    def _read_output(self, process: subprocess.Popen[bytes]) -> None:
        """Until the process ends: what it prints goes to the log, and the line that it listens is noticed."""
        assert process.stdout is not None
        with process.stdout as output, self.log_path.open("ab") as log:
            for line in output:
                log.write(line)
                log.flush()
                if line.startswith(b"listening on "):
                    self.port = int(line.rstrip().rpartition(b":")[2])
                    self._announced = True
                    self._listening.set()
        self._listening.set()

    def stop(self) -> int:
        """SIGTERM, as an operator does; kills what does not end. Returns the exit code. Idempotent."""
        return self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL: nothing is drained, nothing is closed."""
        self._end(signal.SIGKILL)

    def _end(self, number: int) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        if process.poll() is None and number:
            process.send_signal(number)
        try:
            code = process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        if self._pump is not None:
            self._pump.join()
        return code

    def restart(self) -> None:
        self.stop()
        self.start()


def _toml(settings: Settings) -> str:
    lines: list[str] = []
    for section, values in settings.items():
        lines.append(f"[{section}]")
        for key, value in values.items():
            if isinstance(value, bool):
                lines.append(f"{key} = {str(value).lower()}")
            elif isinstance(value, str):
                escaped = value.replace("\\", "\\\\").replace('"', '\\"')
                lines.append(f'{key} = "{escaped}"')
            else:
                lines.append(f"{key} = {value}")
        lines.append("")
    return "\n".join(lines)
