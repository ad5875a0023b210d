"""The floors of ARCHITECTURE.md hold, and the checker that says so finds what it should."""

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
        *("core/__init__.py", "core/ot/ot.pyx", "core/rooms/room.pyx", "client/__init__.py", "server/__init__.py"),
        *("server/seams.py", "server/backends/__init__.py", "server/backends/sqlite.py", "server/node.py"),
        *("server/protocol/handlers/__init__.py", "server/protocol/handlers/rooms.py", "server/app.py", "__init__.py"),
        *("server/transports/__init__.py", "server/transports/ws.py"),
    ]
    return layers.violations([*(source(room, "") for room in rooms if room != path), source(path, text)])


def test_nothing_imports_upward() -> None:
    sources = layers.read(SRC)
    assert sources
    found = layers.violations(sources)
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("core/ot/ot.pyx", "from ..server cimport connection"),
        ("core/ot/ot.pyx", "cdef int f() except -1:\n    from ..server import seams\n    return 0"),
        ("core/ot/ot.pyx", "import array, time as t"),
        ("core/ot/ot.pyx", "from libc.time cimport time"),
        ("core/ot/ot.pyx", "from cpython cimport (\n    bytes, time)\nimport socket"),
        ("core/ot/ot.pxd", "from syncline.server.node cimport Node"),
        ("core/ot/ot.pyi", "from asyncio import Future"),
        ("core/errors.py", "import logging"),
        ("core/errors.py", "import os.path"),
        ("core/errors.py", "def f():\n    import asyncio"),
        ("core/errors.py", "import numpy"),
        ("core/__init__.py", "from ..server import seams"),
        ("server/seams.py", "from . import node"),
        ("server/seams.py", "from .node import Node"),
        ("server/seams.py", "from .backends.sqlite import Store"),
        ("server/config/schema.py", "import syncline.server.protocol.handlers.rooms"),
        ("server/backends/redis.py", "from ..node import Node"),
        ("server/backends/redis.py", "import redis, asyncpg"),
        ("server/backends/redis.py", "import sqlite3\nfrom redis.asyncio import Redis"),
        ("server/node.py", "from .backends import sqlite"),
        ("server/node.py", "from . import backends"),
        ("server/node.py", "from .app import build"),
        ("server/protocol/handlers/rooms.py", "from ..backends.sqlite import Store"),
        (
            "server/protocol/handlers/rooms.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .. import backends",
        ),
        ("server/protocol/handlers/rooms.py", "from picows import WSListener"),
        ("server/transports/ws.py", "import picows.picows"),
        ("server/sessions/connection.pyx", "from picows.picows cimport WSTransport"),
        ("server/node.py", "from ..client import connect"),
        ("client/connection.py", "from ..server import events"),
        ("client/__init__.py", "from syncline.server.seams import Store"),
        ("testing/stores.py", "from ..server.backends.sqlite import Store"),
        ("testing/cells.py", "from ..core.ot import transform"),
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
            "core/ot/ot.pyx",
            '"""Say\nimport socket\n"""\nfrom libc.stdlib cimport malloc, free\nfrom .text cimport Text',
        ),
        ("core/ot/ot.pyx", "# from ..server import seams\nx = 'import os'\nfrom .room cimport \\\n    Room"),
        ("core/ot/ot.pxd", "from cpython.object cimport PyObject"),
        (
            "core/rooms/room.pyx",
            "import msgspec\nfrom . import ot\nfrom .errors import (\n    ErrorCode,  # a code\n    Disconnect,\n)",
        ),
        ("server/seams.py", "from ..core.room import Position"),
        (
            "server/backends/sqlite.py",
            "import sqlite3, threading, structlog\nfrom ..seams import Store\nfrom . import memory",
        ),
        ("server/backends/jwt.py", "import jwt\nfrom cryptography.hazmat.primitives import serialization"),
        ("server/transports/ws.py", "import httptools\nfrom ..session import Session"),
        ("server/app.py", "from .backends import sqlite\nfrom .node import Node"),
        ("__main__.py", "from .server.app import build"),
        ("client/connection.py", "import picows, asyncio\nfrom ..core.ot import Operation"),
        ("testing/stores.py", "from ..server.seams import Store"),
        ("testing/editing.py", "import random\nfrom .cells import Cell"),
        ("server/node.py", "import asyncio\nfrom .. import __version__\nfrom .handlers import rooms"),
    ],
)
def test_the_checker_lets_pass(path: str, text: str) -> None:
    assert judge(path, text) == []


def test_relative_names_are_resolved() -> None:
    text = "from . import a\nfrom .b import c\nfrom .. import d\nimport e.f"
    expected = [
        "syncline.server.protocol.handlers.a",
        "syncline.server.protocol.handlers.b.c",
        "syncline.server.d",
        "e.f",
    ]
    for path in (
        "server/protocol/handlers/rooms.py",
        "server/protocol/handlers/__init__.py",
        "server/protocol/handlers/rooms.pyx",
    ):
        assert [found.target for found in layers.imports(source(path, text))] == expected, path
