"""nginx and haproxy, where they are installed, set up as docs/operations.md tells."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncline.server.app import App
from tests.waiting import wait_until

OPERATIONS = Path(__file__).resolve().parents[2] / "docs" / "operations.md"
#: Debian keeps them where only root looks.
SEARCH = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/usr/local/sbin"


def program(name: str) -> str:
    found = shutil.which(name, path=SEARCH)
    if found is None:
        pytest.skip(f"there is no {name}")
    return found


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


@contextlib.contextmanager
def running(port: int, *command: str) -> Iterator[str]:
    """A proxy, until the end of the block; its URL."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
    try:
        wait_until(lambda: accepts(port) or process.poll() is not None)
        if process.poll() is not None:
            assert process.stderr is not None
            raise AssertionError(process.stderr.read().decode())
        yield f"http://127.0.0.1:{port}"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        assert process.stderr is not None
        process.stderr.close()


@contextlib.contextmanager
def nginx(folder: Path, app: App, read_timeout: str = "") -> Iterator[str]:
    """With what docs/operations.md says; ``read_timeout``: another one."""
    found = re.search(r"```nginx\n(.*?)```", OPERATIONS.read_text("utf-8"), re.DOTALL)
    assert found is not None and "http://127.0.0.1:8000;" in found[1]
    port = free_port()
    assert "listen 80;" in found[1]
    site = (
        found[1].replace("127.0.0.1:8000", f"127.0.0.1:{app.port}").replace("listen 80;", f"listen 127.0.0.1:{port};")
    )
    if read_timeout:
        assert "proxy_read_timeout 120s;" in site
        site = site.replace("120s", read_timeout)
    config = folder / "nginx.conf"
    config.write_text(
        f"""daemon off; pid {folder}/nginx.pid; error_log stderr; worker_processes 1;
events {{ worker_connections 256; }}
http {{
  access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
{site}
}}"""
    )
    with running(port, program("nginx"), "-c", str(config), "-p", str(folder)) as url:
        yield url


@contextlib.contextmanager
def haproxy(folder: Path, app: App, option: str, tunnel: str = "1h", idle: str = "1m") -> Iterator[str]:
    port = free_port()
    config = folder / "haproxy.cfg"
    config.write_text(
        f"""defaults
  mode {"http" if option == "forwardfor" else "tcp"}
  timeout connect 5s
  timeout client {idle}
  timeout server {idle}
  {f"timeout tunnel {tunnel}" if tunnel else ""}
  {"option forwardfor" if option == "forwardfor" else ""}
frontend in
  bind 127.0.0.1:{port}
  default_backend syncline
backend syncline
  server node 127.0.0.1:{app.port} {"" if option == "forwardfor" else option}
"""
    )
    with running(port, program("haproxy"), "-f", str(config), "-db") as url:
        yield url
