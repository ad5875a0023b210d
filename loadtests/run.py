"""``python -m loadtests.run [locust's options]``: locust on a server of its own, or on ``HOST=ws://...``; what `make load` is.

The server keeps its state in a temporary directory and is stopped at the end. ``--web`` opens locust's web UI instead of
running headless. The exit code is locust's: 1 when a limit was broken.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STOP_SECONDS = 20


def _given(arguments: list[str], *names: str) -> bool:
    return any(argument.split("=")[0] in names for argument in arguments)


def _raise_descriptor_limit() -> None:
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@contextlib.contextmanager
def own_server(directory: Path) -> Iterator[str]:
    """The URL of a server with the demo's configuration (or ``CONFIG=file``). Its log stays in ``directory``."""
    log = directory / "server.log"
    config = os.environ.get("CONFIG")
    command = [sys.executable, "-m", "syncline", "serve", *(["--config", config] if config else [])]
    environment = os.environ | {"SYNCLINE_SERVER__PORT": "0", "SYNCLINE_STORE__PATH": str(directory / "syncline.db")}
    with log.open("wb") as errors:
        server = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors
        )
    try:
        assert server.stdout is not None
        url = ""
        for line in server.stdout:
            if line.startswith(b"listening on "):
                url = line.decode().split()[-1].replace("http", "ws", 1) + "/ws"
                break
        if not url:
            raise SystemExit(f"the server did not start:\n{log.read_text('utf-8', 'replace')[-2000:]}")
        print(f"==> server {server.pid} of this run: {url}", flush=True)
        yield url
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        if server.stdout is not None:
            server.stdout.close()


def locust(arguments: list[str], host: str | None) -> int:
    command = [sys.executable, "-m", "locust", "--config", str(ROOT / "loadtests" / "locust.conf"), *arguments]
    if host:
        command += ["--host", host]
    if "--web" in arguments:
        command.remove("--web")
    elif not _given(arguments, "--worker", "--list", "-l", "--version", "-V"):
        command.append("--headless")
    process = subprocess.Popen(command, cwd=ROOT)
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            pass  # locust has got it too: it finishes the run and tells


def show_help() -> int:
    """locust answers --help before it has read the scenarios, so without their options."""
    code = "import loadtests.load; from locust.argument_parser import get_parser; get_parser().print_help()"
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode


def main(arguments: list[str]) -> int:
    if _given(arguments, "--help", "-h"):
        return show_help()
    _raise_descriptor_limit()
    host = os.environ.get("HOST", "")
    if "://" in host:  # some shells put the machine's name there
        return locust(arguments, host)
    if _given(arguments, "-H", "--host", "--worker", "--list", "-l", "--version", "-V"):
        return locust(arguments, None)
    with tempfile.TemporaryDirectory(prefix="syncline-load-") as directory, own_server(Path(directory)) as url:
        return locust(arguments, url)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
