#!/usr/bin/env python3
"""A lean load generator for one document of a Syncline server: plain sockets and epoll, no WebSocket library, no OT.

    python bench/load.py PORT [--clients 100] [--seconds 3]

Each client keeps one operation in flight: it inserts a character somewhere in the text that it joined, at the newest
revision that it has seen, and sends the next one when its ack has come in the shared frame. Prints one line of JSON:
accepted operations a second, deliveries a second (operations times the clients that got them), p50 and p99 of the time
from send to ack in milliseconds, and how busy this process was, so that one sees whether it was what was measured.
Nothing is printed unless all clients have seen the same frames and the text that they give is the server's.

Frames to the server are masked with the key 0, which changes nothing: the server unmasks them as any other.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import random
import re
import selectors
import socket
import sys
import time
import zlib
from typing import Any

LENGTH = 1000
DOCUMENT = "bench"
OPERATION = b'{"event":"document:operation"'
REVISION = re.compile(rb'"revision":(\d+)')


def frame(message: bytes) -> bytes:
    if len(message) < 126:
        return b"\x81" + bytes((0x80 | len(message),)) + b"\0\0\0\0" + message
    return b"\x81\xfe" + len(message).to_bytes(2, "big") + b"\0\0\0\0" + message


class Client:
    __slots__ = ("ack", "checksum", "deliveries", "frames", "name", "pending", "revision", "sent", "seq", "socket")

    def __init__(self, port: int, name: str) -> None:
        self.name = name
        self.ack = b'"client":"%b","seq":' % name.encode()
        self.pending = b""
        self.seq = 0
        self.revision = 0
        self.sent = 0.0  # 0: nothing is in flight
        self.deliveries = 0
        self.checksum = 0
        self.frames: list[bytes] | None = None
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: syncline.v1.json\r\n\r\n"
            "".encode()
        )
        while b"\r\n\r\n" not in self.pending:
            self.pending += self.socket.recv(4096)
        head, _, self.pending = self.pending.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101"), head

    def messages(self, data: bytes) -> list[bytes]:
        """The whole messages in what has arrived; the server never fragments."""
        data = self.pending + data if self.pending else data
        found = []
        at, end = 0, len(data)
        while end - at >= 2:
            size = data[at + 1]
            start = at + 2
            if size == 126:
                start = at + 4
                size = int.from_bytes(data[at + 2 : start], "big")
            elif size == 127:
                start = at + 10
                size = int.from_bytes(data[at + 2 : start], "big")
            if start + size > end:
                break
            if data[at] == 0x81:
                found.append(data[start : start + size])
            at = start + size
        self.pending = data[at:]
        return found

    def request(self, event: str, data: Any, reply: bytes) -> Any:
        """Set-up only: sends and waits for the frame that has ``reply`` in it."""
        self.socket.sendall(frame(json.dumps({"event": event, "data": data, "id": 1}).encode()))
        while True:
            for message in self.messages(self.socket.recv(65536)):
                if reply in message:
                    return json.loads(message)

    def join(self) -> Any:
        self.request("auth", {}, b'"id":1')
        state = self.request("document:join", {"document": DOCUMENT, "client": self.name}, b'"id":1')["result"]
        self.revision = state["revision"]
        return state


class Load:
    def __init__(self, port: int, count: int) -> None:
        first = Client(port, "maker")
        first.request("auth", {}, b'"id":1')
        first.request("document:create", {"document": DOCUMENT, "text": "0123456789" * (LENGTH // 10)}, b'"id":1')
        first.socket.close()
        self.port = port
        self.clients = [Client(port, f"c{index:04d}") for index in range(count)]
        self.text = self.clients[0].join()["text"]
        for client in self.clients[1:]:
            client.join()
        self.clients[0].frames = []
        self.selector = selectors.EpollSelector()
        for client in self.clients:
            client.socket.setblocking(False)
            self.selector.register(client.socket, selectors.EVENT_READ, client)
        self.latencies: list[float] = []
        self.errors: list[bytes] = []
        self.positions = random.Random(7)

    def send(self, client: Client) -> None:
        client.seq += 1
        at = int(self.positions.random() * LENGTH) + 1
        message = (
            b'{"event":"document:operation","data":{"document":"%b","seq":%d,"revision":%d,"operation":[%d,"x"]}}'
            % (
                DOCUMENT.encode(),
                client.seq,
                client.revision,
                at,
            )
        )
        client.sent = time.perf_counter()
        client.socket.send(frame(message))

    def read(self, client: Client) -> bool:
        """Whether the ack of what is in flight was in it."""
        acked = False
        for message in client.messages(client.socket.recv(262_144)):
            if not message.startswith(OPERATION):
                if b'"error"' in message[:20]:
                    self.errors.append(message)
                continue
            found = REVISION.search(message, 0, 120)
            assert found is not None
            revision = int(found[1])
            client.deliveries += revision - client.revision
            client.revision = revision
            client.checksum = zlib.crc32(message, client.checksum)
            if client.frames is not None:
                client.frames.append(message)
            if client.ack in message:
                acked = True
        return acked

    def run(self, seconds: float, *, sending: bool) -> None:
        """Until the time is over; or, not ``sending``, until nothing is in flight and all are at the same revision."""
        stop = time.perf_counter() + seconds
        while True:
            ready = self.selector.select(1.0)
            now = time.perf_counter()
            for key, _ in ready:
                client: Client = key.data
                if self.read(client):
                    self.latencies.append(time.perf_counter() - client.sent)
                    client.sent = 0.0
                    if sending:
                        self.send(client)
            if self.errors:
                raise RuntimeError(f"refused: {self.errors[0]!r}")
            if now >= stop:
                if sending:
                    return
                raise RuntimeError("the clients did not converge")
            if not sending and not any(client.sent for client in self.clients) and self.level():
                return

    def level(self) -> bool:
        return len({client.revision for client in self.clients}) == 1

    def check(self) -> None:
        """All saw the same, and it is what the server has."""
        one = self.clients[0]
        assert one.frames is not None
        assert len({(client.checksum, client.deliveries) for client in self.clients}) == 1, (
            "clients saw different frames"
        )
        text, revision = self.text, 0
        for message in one.frames:
            data = json.loads(message)["data"]
            for entry in data["operations"]:
                at, inserted = entry["operation"]
                text = text[:at] + inserted + text[at:]
                revision += 1
            assert revision == data["revision"], "a gap in the revisions"
        state = Client(self.port, "checker").join()
        assert state["revision"] == revision, (state["revision"], revision)
        assert state["text"] == text, "the server has another text"
        assert revision == sum(client.seq for client in self.clients), "an operation was lost or doubled"


def main() -> None:
    parser = argparse.ArgumentParser(description="One document, clients that each keep one operation in flight.")
    parser.add_argument("port", type=int)
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--warm", type=float, default=0.5, help="seconds before anything counts")
    options = parser.parse_args()
    load = Load(options.port, options.clients)
    for client in load.clients:
        load.send(client)
    load.run(options.warm, sending=True)
    load.latencies.clear()
    before = sum(client.deliveries for client in load.clients)
    started, busy = time.perf_counter(), time.process_time()
    print("start", file=sys.stderr, flush=True)
    load.run(options.seconds, sending=True)
    took, busy = time.perf_counter() - started, time.process_time() - busy
    print("stop", file=sys.stderr, flush=True)
    latencies = sorted(load.latencies)
    deliveries = sum(client.deliveries for client in load.clients) - before
    load.run(20.0, sending=False)
    load.check()
    result = {
        "clients": options.clients,
        "rate": len(latencies) / took,
        "deliveries": deliveries / took,
        "p50": latencies[len(latencies) // 2] * 1000,
        "p99": latencies[len(latencies) * 99 // 100] * 1000,
        "operations a frame": load.clients[0].deliveries / len(load.clients[0].frames or [b""]),
        "generator busy": busy / took,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
