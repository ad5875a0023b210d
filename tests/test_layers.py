"""The arrows of ARCHITECTURE.md hold, and the checker that says so finds what it should."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import layers

SRC = Path(__file__).resolve().parent.parent / "src"


def source(path: str, text: str) -> layers.Source:
    parts = ["syncline", *Path(path).with_suffix("").parts]
    is_package = parts[-1] == "__init__"
    return layers.Source(f"src/{path}", ".".join(parts[:-1] if is_package else parts), is_package, text)


def judge(path: str, text: str) -> list[str]:
    """The violations of one file in a house that has the usual rooms."""
    rooms = [
        *(
            "core/__init__.py",
            "core/errors.py",
            "core/ot/__init__.py",
            "core/ot/ot.pyx",
            "core/rooms/room.pyx",
            "client/__init__.py",
        ),
        *("server/__init__.py", "server/seams/__init__.py", "server/seams/store.py", "server/backends/__init__.py"),
        *(
            "server/backends/sqlite.py",
            "server/node.py",
            "server/protocol/__init__.py",
            "server/protocol/handlers/rooms.py",
        ),
        *(
            "server/app.py",
            "__init__.py",
            "server/transports/__init__.py",
            "server/transports/ws.py",
            "server/rooms/hub.py",
        ),
        *(
            "server/sessions/session.py",
            "server/documents/__init__.py",
            "server/config/schema.py",
            "core/text/text.pyx",
        ),
    ]
    return layers.violations([*(source(room, "") for room in rooms if room != path), source(path, text)])


def test_nothing_imports_upward() -> None:
    sources = layers.read(SRC)
    assert sources
    found = layers.violations(sources)
    assert not found, "\n".join(found)


def test_every_room_is_there() -> None:
    modules = {source.module for source in layers.read(SRC)}
    for room, others in layers.ARROWS.items():
        assert not room or f"syncline.{room}" in modules, room
        assert set(others.split()) <= layers.ARROWS.keys(), room


def test_no_two_modules_import_each_other() -> None:
    """By whatever way round: types alone count, too."""
    assert layers.circles(layers.read(SRC)) == []
    assert layers.circles(layers.read(SRC.parent / "loadtests", "loadtests")) == []


def test_a_circle_is_found() -> None:
    house = [
        source("a.py", "from . import b"),
        source("b.pyx", "from .c cimport d"),
        source("c.pyi", "from .a import x"),
        source("d.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .e import E"),
        source("e.py", "def f():\n    from . import d"),
        source("f.py", "from . import a"),
    ]
    assert layers.circles(house) == [["syncline.a", "syncline.b", "syncline.c"], ["syncline.d", "syncline.e"]]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("core/ot/ot.pyx", "from ...server cimport connection"),
        ("core/ot/ot.pyx", "cdef int f() except -1:\n    from ...server import seams\n    return 0"),
        ("core/ot/ot.pyx", "import array, time as t"),
        ("core/ot/ot.pyx", "from libc.time cimport time"),
        ("core/ot/ot.pyx", "from cpython cimport (\n    bytes, time)\nimport socket"),
        ("core/ot/ot.pyx", "from ..text.text cimport Text"),
        ("core/ot/ot.pxd", "from syncline.server.node cimport Node"),
        ("core/ot/ot.pyi", "from asyncio import Future"),
        ("core/errors.py", "import logging"),
        ("core/errors.py", "import os.path"),
        ("core/errors.py", "def f():\n    import asyncio"),
        ("core/errors.py", "import numpy"),
        ("core/__init__.py", "from ..server import seams"),
        ("server/seams/store.py", "from .. import node"),
        ("server/seams/store.py", "from ..node import Node"),
        ("server/seams/store.py", "from ..backends.sqlite import Store"),
        ("server/config/schema.py", "import syncline.server.protocol.handlers.rooms"),
        ("server/sessions/session.py", "from ..rooms.hub import Membership"),
        ("server/rooms/hub.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ..node import Node"),
        ("server/rooms/hub.py", "from ..documents import live_document"),
        ("server/transports/ws.py", "from ..node import Node"),
        ("server/backends/redis.py", "from ..node import Node"),
        ("server/backends/redis.py", "import redis, asyncpg"),
        ("server/backends/redis.py", "import sqlite3\nfrom redis.asyncio import Redis"),
        ("server/node.py", "from .backends import sqlite"),
        ("server/node.py", "from . import backends"),
        ("server/node.py", "from .app import build"),
        ("server/protocol/handlers/rooms.py", "from ...backends.sqlite import Store"),
        (
            "server/protocol/handlers/rooms.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ... import backends",
        ),
        ("server/protocol/handlers/rooms.py", "from picows import WSListener"),
        ("server/transports/ws.py", "import picows.picows"),
        ("server/sessions/connection.pyx", "from picows.picows cimport WSTransport"),
        ("server/node.py", "from ..client import connect"),
        ("client/connection.py", "from ..server import events"),
        ("client/__init__.py", "from syncline.server.seams.store import Store"),
        ("testing/stores.py", "from ..server.backends.sqlite import Store"),
        ("testing/cells.py", "from ..core.ot.ot import transform"),
        ("testing/editing.py", "from syncline.core import ot"),
        ("__init__.py", "from .server import app"),
    ],
)
def test_the_checker_finds(path: str, text: str) -> None:
    assert judge(path, text)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (
            "core/text/text.pyx",
            '"""Say\nimport socket\n"""\nfrom libc.stdlib cimport malloc, free\nfrom ..ot.ot cimport Operation',
        ),
        ("core/rooms/room.pyx", "# from ..server import seams\nx = 'import os'\nfrom .room cimport \\\n    Room"),
        ("core/ot/ot.pxd", "from cpython.object cimport PyObject"),
        (
            "core/ot/ot.pyx",
            "import msgspec\nfrom . import ot\nfrom ..errors import (\n    ErrorCode,  # a code\n    Disconnect,\n)",
        ),
        ("server/seams/store.py", "from ...core.rooms.room import Position"),
        (
            "server/backends/sqlite.py",
            "import sqlite3, threading, structlog\nfrom ..seams.store import Store\nfrom . import memory",
        ),
        ("server/backends/jwt.py", "import jwt\nfrom cryptography.hazmat.primitives import serialization"),
        ("server/transports/ws.py", "import httptools\nfrom ..sessions.session import Session"),
        ("server/app.py", "from .backends import sqlite\nfrom .node import Node"),
        ("__main__.py", "from .server.cli import main"),
        ("client/connection.py", "import picows, asyncio\nfrom ..core.ot.ot import Operation"),
        ("testing/stores.py", "from ..server.seams.store import Store"),
        ("testing/editing.py", "import random\nfrom .cells import Cell"),
        ("server/node.py", "import asyncio\nfrom .. import __version__\nfrom .protocol.handlers import rooms"),
    ],
)
def test_the_checker_lets_pass(path: str, text: str) -> None:
    assert judge(path, text) == []


def test_relative_names_are_resolved() -> None:
    text = "from . import a\nfrom .b import c\nfrom .. import d\nimport e.f"
    expected = ["syncline.server.rooms.a", "syncline.server.rooms.b.c", "syncline.server.d", "e.f"]
    for path in ("server/rooms/hub.py", "server/rooms/__init__.py", "server/rooms/hub.pyx"):
        assert [found.target for found in layers.imports(source(path, text))] == expected, path
