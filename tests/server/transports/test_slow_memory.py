"""The memory of a server while a reader sleeps, in a process of its own."""

from __future__ import annotations

import re
import socket
import threading
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.harness import ServerProcess

from ..rawclient import TEXT, RawClient, frame


def resident(pid: int) -> int:
    """The most memory that the process has had, in bytes (Linux)."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1024


def test_a_gigabyte_to_a_sleeping_reader(tmp_path: Path) -> None:
    """One reader sleeps, one reads: the server's memory grows by no more than the bounds, and the one that reads gets all in order."""
    size, count = 262_144, 4096
    settings: dict[str, Any] = {
        "store": {"backend": "memory"},
        "broker": {"backend": "memory"},
        "presence": {"backend": "memory"},
        "events": {"backend": "none"},
    }
    with ServerProcess(tmp_path, settings) as server:
        port = server.port
        with RawClient(port) as writer, RawClient(port) as reader, RawClient(port, receive_bytes=8192) as sleeper:
            writer.login("Ada", "r")
            reader.login("Bob", "r")
            sleeper.login("Eve", "r")
            before = resident(server.pid)
            wrong: list[Any] = []
            done = threading.Event()
            ahead = threading.Semaphore(4)  # messages that the reader has not read yet: it shall keep up

            def read() -> None:
                for number in range(1, count + 1):
                    payload = reader.frame()[1]
                    while b'"message:received"' not in payload[:40]:
                        payload = reader.frame()[1]
                    if b'"offset":%d,' % number not in payload[:100] or not payload.endswith(b'%d:"}}' % number):
                        wrong.append((number, payload[:120]))
                        break
                    ahead.release()
                done.set()

            def drain() -> None:  # the writer is a member too
                with suppress(ConnectionResetError):  # at the end, with something still unread
                    while writer.socket.recv(1 << 20):
                        pass

            threads = [threading.Thread(target=target, daemon=True) for target in (read, drain)]
            for thread in threads:
                thread.start()
            filler = b"x" * size
            for number in range(1, count + 1):
                data = b'{"event":"message:send","data":{"room":"r","data":"%b%d:"}}' % (filler, number)
                assert ahead.acquire(timeout=30), wrong
                writer.socket.sendall(frame(TEXT, data))
            assert done.wait(60) and not wrong
            writer.socket.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()
            grown = resident(server.pid) - before
            assert grown < 64_000_000, grown
            # The sleeper wakes: what it was given is whole and in order, and it is told where that ends.
            heard = 0
            for envelope in sleeper.envelopes():
                if envelope["event"] == "room:behind":
                    assert envelope["data"]["position"]["offset"] == heard
                    break
                if envelope["event"] == "message:received":
                    heard += 1
                    assert envelope["data"]["offset"] == heard
                    assert envelope["data"]["data"] == filler.decode() + f"{heard}:"
            assert 0 < heard < count
            metrics = _metrics(server)
            assert metrics["syncline_slow_behind_total"] >= 1
            assert metrics["syncline_slow_consumers_total"] == 0


def _metrics(server: ServerProcess) -> dict[str, float]:
    with urllib.request.urlopen(server.url + "/metrics") as answer:
        lines = answer.read().decode().splitlines()
    return {line.split()[0]: float(line.split()[1]) for line in lines if not line.startswith("#") and "{" not in line}
