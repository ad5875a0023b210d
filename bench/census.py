#!/usr/bin/env python3
"""A Syncline server that can say what its memory holds: what `syncline serve` runs, and one line of JSON for each line
that comes on standard input. memory.py starts it.

    python bench/census.py --config FILE

Lines: "settle" collects garbage and answers; "census" also walks the whole heap, which itself takes memory: resident
memory is measured in a process that has never been asked for it. Prints "listening on URL" first.

The walk: every object that the collector tracks, and what they refer to (gc.get_referents), each once. What has a type
of its own (a class in Python, a cdef class) counts under it, with sys.getsizeof: the struct, its slots and the
collector's head. What is of a builtin type (dict, list, str, bytes, method ...) counts under the first owner that is
found to refer to it: "dict (of Session)". What extension modules allocate by themselves no walk can see: it is the
difference to what the two allocators say is in use (pymalloc: sys._debugmallocstats, glibc: mallinfo2).
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import gc
import importlib
import json
import os
import sys
import tempfile
import traceback
import types
from collections import deque
from typing import Any

import uvloop

from syncline.server import app
from syncline.server.config.load import load

#: Modules with a counter of native objects, as ``live_*``.
COUNTED = (
    *("documents.document", "documents.steps", "documents.text_engine", "documents.value_engine"),
    *("ot.ot", "ot.position_map", "rich.rich", "rich.rich_text", "text.nodes", "text.text"),
)

#: What pymalloc serves; larger objects come from malloc.
SMALL = 512


class _MallInfo(ctypes.Structure):
    """glibc's ``struct mallinfo2``."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"
        )
    ]  # fmt: skip


def malloc_in_use() -> int:
    """Bytes that malloc has handed out, its heads included; 0 where the C library is not glibc."""
    try:
        mallinfo2 = ctypes.CDLL(None).mallinfo2
    except AttributeError:
        return 0
    mallinfo2.restype = _MallInfo
    info = mallinfo2()
    return int(info.uordblks) + int(info.hblkhd)


def pymalloc_in_use() -> int:
    """Bytes in blocks that pymalloc has handed out. It only tells by printing on standard error."""
    with tempfile.TemporaryFile() as file:
        sys.stderr.flush()
        kept = os.dup(2)
        try:
            os.dup2(file.fileno(), 2)
            sys._debugmallocstats()
        finally:
            os.dup2(kept, 2)
            os.close(kept)
        file.seek(0)
        for line in file.read().decode("utf-8", "replace").splitlines():
            if line.startswith("# bytes in allocated blocks"):
                return int(line.rpartition("=")[2].replace(",", ""))
    return 0


def live_counters() -> dict[str, int]:
    counts: dict[str, int] = {}
    for name in COUNTED:
        module = importlib.import_module(f"syncline.core.{name}")
        counts |= {key: getattr(module, key)() for key in dir(module) if key.startswith("live_")}
    return counts


def _module(kind: type) -> str:
    name: object = kind.__module__
    return name if isinstance(name, str) else "?"  # a class may have a property of that name


def _label(kind: type) -> str:
    return f"{_module(kind)}.{kind.__qualname__}"


#: One of these has no owner: modules, classes and code are there once, whatever is connected.
_STATIC = frozenset({"module", "type", "code", "builtin_function_or_method", "wrapper_descriptor", "method_descriptor"})


def _held(item: Any) -> list[Any]:
    """What an object refers to. A cdef class whose fields are all strings is not traversed by the collector: there, what
    a property gives twice is taken for a field."""
    kind = type(item)
    if gc.is_tracked(item) or not _module(kind).startswith("syncline"):
        return gc.get_referents(item)
    found = []
    for name in dir(kind):
        if isinstance(getattr(kind, name, None), types.GetSetDescriptorType | types.MemberDescriptorType):
            value = getattr(item, name)
            if not isinstance(value, int | float) and value is getattr(item, name):
                found.append(value)
    return found


def walk() -> dict[str, list[int]]:
    """label -> [objects, bytes in blocks of pymalloc, bytes in blocks of malloc]."""
    tracked = gc.get_objects()
    found: dict[str, list[int]] = {}
    seen: set[int] = {id(tracked), id(found)}  # what this walk makes is no part of it
    seen.add(id(seen))

    def count(label: str, item: Any) -> None:
        # msgspec.Raw answers with an address (seen in msgspec 0.22).
        size = type(item).__basicsize__ if label == "msgspec.Raw" else sys.getsizeof(item)
        row = found.setdefault(label, [0, 0, 0])
        row[0] += 1
        # pymalloc hands out multiples of 16.
        row[1 if size <= SMALL else 2] += (size + 15) & ~15

    owners = [item for item in tracked if _module(type(item)) != "builtins"]
    seen.add(id(owners))
    owners.sort(key=lambda item: not _module(type(item)).startswith("syncline"))  # stable: ours take theirs first
    for owner in owners:
        seen.add(id(owner))
        count(_label(type(owner)), owner)
    pending: deque[tuple[str, Any]] = deque((type(owner).__qualname__, owner) for owner in owners)
    seen.add(id(pending))
    rest = iter(tracked)
    while True:
        if not pending:
            item = next((item for item in rest if id(item) not in seen), None)
            if item is None:
                return found
            seen.add(id(item))
            count(f"{type(item).__name__} (of no object)", item)
            pending.append(("no object", item))
        of, item = pending.popleft()
        for referent in _held(item):
            if id(referent) in seen:
                continue
            seen.add(id(referent))
            kind = type(referent)
            if _module(kind) != "builtins":  # not tracked by the collector, or it would be an owner
                count(_label(kind), referent)
                pending.append((kind.__qualname__, referent))
            elif kind.__name__ in _STATIC:
                count(f"{kind.__name__} (code)", referent)
                pending.append(("code", referent))
            else:
                count(f"{kind.__name__} (of {of})", referent)
                pending.append((of, referent))


def state(node: Any) -> dict[str, int]:
    """What the server believes to have, for the driver to check."""
    rooms = node.hub.rooms.values()
    return {
        "connections": len(node.sessions.connections),
        "rooms": len(node.hub.rooms),
        "members": sum(len(room.group) for room in rooms),
        "publications": sum(len(room.group.history) for room in rooms),
        "documents": len(node.documents.live),
    }


def answer(node: Any, question: str) -> dict[str, Any]:
    for _ in range(3):
        gc.collect()
    told: dict[str, Any] = {
        "state": state(node),
        "malloc": malloc_in_use(),
        "pymalloc": pymalloc_in_use(),
        "live": live_counters(),
    }
    if question == "census":
        told["kinds"] = walk()
    return told


async def main(path: str) -> None:
    loop = asyncio.get_running_loop()
    server = await app.create(load(path, {}))
    await server.start()
    ended = asyncio.Event()

    def asked() -> None:
        line = sys.stdin.readline().strip()
        try:
            if line:
                print(json.dumps(answer(server.node, line)), flush=True)
                return
        except Exception:
            traceback.print_exc()
        loop.remove_reader(sys.stdin)
        ended.set()

    loop.add_reader(sys.stdin, asked)
    print(f"listening on {server.url}", flush=True)
    await ended.wait()
    for session in list(server.node.sessions.connections.values()):
        session.connection.transport.abort()
    await server.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", required=True)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(parser.parse_args().config))
