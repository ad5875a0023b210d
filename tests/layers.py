"""Reads who imports whom, over .py, .pyi, .pyx and .pxd, and holds it against the arrows of ARCHITECTURE.md.

Imports inside functions and under TYPE_CHECKING count too: a dependency is one, whenever it is loaded. Python files are read with
``ast``; Cython's grammar has no parser here, so its import statements are found in the text after strings and comments were taken out.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

PACKAGE = "syncline"
SUFFIXES = (".py", ".pyi", ".pyx", ".pxd")

# The rooms, lowest first, and whom each may import beside itself and what all stand on. A folder, or one file; the longest that fits names
# the room of a module, and "core" and "server" are what lies there in no folder.
_CORE = (
    "core core.ot core.text core.values core.storage core.documents core.json core.rich core.types core.wire core.rooms"
)
_LOW = f"{_CORE} server.net server.config server.seams server.limits server.observe"
ARROWS: dict[str, str] = {
    "": "",  # the version
    "core": "",  # error codes, limits, CRC-32, token buckets
    "core.ot": "core",
    "core.text": "core core.ot",
    "core.values": "core core.ot core.text",
    "core.storage": "core core.ot core.text",
    "core.documents": "core core.ot core.text core.values core.storage",
    "core.json": "core core.ot core.text core.values core.storage core.documents",
    "core.rich": "core core.ot core.text core.values core.storage core.documents",
    "core.types": "core core.documents core.json core.rich",
    "core.wire": "core core.ot core.values core.storage",
    "core.rooms": "core core.wire",
    # The client is a program of its own: it shares the core's algorithms and nothing of the server.
    "client": _CORE,
    # The load generator must not share a fault with the server it measures.
    "load": _CORE,
    "server": "",
    "server.net": "core",
    "server.config": "core server.net",
    "server.seams": _CORE,
    "server.backends": f"{_CORE} server.config server.seams",
    "server.limits": f"{_CORE} server.config server.seams",
    "server.observe": f"{_CORE} server.net server.seams server.limits",
    "server.sessions": _LOW,
    "server.rooms": f"{_LOW} server.sessions",
    "server.documents": f"{_LOW} server.sessions",
    "server.memory_bound": f"{_LOW} server.sessions server.rooms server.documents",
    "server.protocol": f"{_LOW} server.sessions server.rooms server.documents",
    "server.transports": f"{_LOW} server.sessions",
    "server.web": f"{_LOW} server.rooms server.protocol",
    "server.process": f"{_CORE} server.config server.seams",
    "server.node": f"{_LOW} server.sessions server.rooms server.documents server.memory_bound server.protocol server.transports"
    " server.process",
    "server.app": f"{_LOW} server.node server.backends server.transports server.web server.process",
    "server.service": f"{_LOW} server.app server.process",
    "server.cli": f"{_LOW} server.app server.service server.backends server.process server.protocol load",
    "__main__": "server.cli server.observe server.process",
    # The suites that backends must pass speak only the contracts; the backend under test is handed to them.
    "testing": f"{_CORE} server.seams",
    # What says which text an editing history gives shares nothing with the core that is compared with it.
    "testing.cells": "",
    "testing.editing": "testing.cells",
}

# What the core must not touch: sockets, loops, clocks, logs, files, the environment.
CORE_FORBIDDEN = frozenset(
    {
        *(
            "asyncio",
            "concurrent",
            "multiprocessing",
            "selectors",
            "signal",
            "socket",
            "ssl",
            "subprocess",
            "threading",
        ),
        *("datetime", "sched", "time"),
        *("logging", "structlog", "warnings"),
        *("io", "os", "pathlib", "platform", "posix", "shutil", "sqlite3", "sys", "tempfile"),
        *("libc.stdio", "libc.time", "cpython.time"),
    }
)
CORE_THIRD_PARTY = frozenset({"cpython", "cython", "libc", "libcpp", "msgspec"})

# In a backend these are no drivers. PyJWT checks signatures with cryptography: one library from our point of view.
NO_DRIVER = frozenset({"msgspec", "structlog", "cryptography"})
DRIVERS_IN_STDLIB = frozenset({"sqlite3"})


class Import(NamedTuple):
    """``line`` of ``module`` (in ``path``) names ``target``, a module or a name in one, always absolute."""

    path: str
    module: str
    line: int
    target: str


class Source(NamedTuple):
    path: str
    module: str
    is_package: bool
    text: str


_STRINGS_AND_COMMENTS = re.compile(
    r"\"\"\".*?\"\"\"|'''.*?'''|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'|#[^\n]*", re.DOTALL
)
_CYTHON_IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+(?P<base>[.\w]+)[ \t]+c?import[ \t]+(?P<names>\([^)]*\)|[^\n;]+)"
    r"|c?import[ \t]+(?P<modules>[^\n;]+))",
    re.MULTILINE,
)


def _absolute(source: Source, level: int, name: str) -> str:
    """A relative name of ``level`` dots, as seen from ``source``."""
    if level == 0:
        return name
    parts = source.module.split(".")
    parts = parts[: len(parts) - level + (1 if source.is_package else 0)]
    return ".".join([*parts, name] if name else parts)


def _python_imports(source: Source) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(source.text, source.path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(source, node.level, node.module or "")
            for alias in node.names:
                yield node.lineno, f"{base}.{alias.name}"


def _cython_imports(source: Source) -> Iterator[tuple[int, str]]:
    # Newlines stay, so that line numbers do.
    text = _STRINGS_AND_COMMENTS.sub(lambda match: '""' + "\n" * match[0].count("\n"), source.text)
    text = text.replace("\\\n", "  ")
    for match in _CYTHON_IMPORT.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        if match["modules"] is not None:
            for part in match["modules"].split(","):
                yield line, part.split()[0]
            continue
        dots = len(match["base"]) - len(match["base"].lstrip("."))
        base = _absolute(source, dots, match["base"][dots:])
        for part in match["names"].strip("() \t\n").split(","):
            if part.strip():
                yield line, f"{base}.{part.split()[0]}"


def read(folder: Path, package: str = PACKAGE) -> list[Source]:
    """Every source file below ``folder``, which is the import ``package``."""
    sources = []
    for path in sorted(folder.rglob("*")):
        if path.suffix not in SUFFIXES or not path.is_file():
            continue
        parts = [package, *path.relative_to(folder).with_suffix("").parts]
        is_package = parts[-1] == "__init__"
        module = ".".join(parts[:-1] if is_package else parts)
        sources.append(Source(str(path.relative_to(folder.parent)), module, is_package, path.read_text("utf-8")))
    return sources


def imports(source: Source) -> list[Import]:
    reader = _python_imports if source.path.endswith((".py", ".pyi")) else _cython_imports
    return [Import(source.path, source.module, line, target) for line, target in reader(source)]


def _within(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(prefix + ".")


def room_of(module: str) -> str:
    """The name of its room in ``ARROWS``. Raises LookupError for what is none of the package's."""
    if not _within(module, PACKAGE):
        raise LookupError(module)
    name = module[len(PACKAGE) + 1 :]
    while name and name not in ARROWS:
        name = name.rpartition(".")[0]
    return name


def _target_module(target: str, known: frozenset[str]) -> str:
    """``target`` may be a module or a name in one. A module that does not exist (yet) is judged by its name."""
    head, _, _ = target.rpartition(".")
    return target if target in known or head not in known else head


def violations(sources: Iterable[Source]) -> list[str]:
    """One line for each import that breaks a rule; empty when the house is in order."""
    sources = list(sources)
    known = frozenset(source.module for source in sources)
    found = []
    for source in sources:
        room = room_of(source.module)
        drivers: set[str] = set()
        for _, _, line, target in imports(source):
            where = f"{source.path}:{line}"
            top = target.partition(".")[0]
            if top == PACKAGE:
                there = _target_module(target, known)
                if room_of(there) not in {"", room, *ARROWS[room].split()}:
                    found.append(f"{where}: {room or PACKAGE} must not import {room_of(there)} ({there})")
                continue
            if top == "picows" and room != "client":
                found.append(f"{where}: picows is the client's")
            if room.partition(".")[0] == "core":
                if any(_within(target, name) for name in CORE_FORBIDDEN):
                    found.append(f"{where}: the core does no I/O and reads no clock, log or environment ({target})")
                elif top not in sys.stdlib_module_names and top not in CORE_THIRD_PARTY:
                    found.append(f"{where}: the core stands on {', '.join(sorted(CORE_THIRD_PARTY))} only ({target})")
            if room == "server.backends" and (top not in sys.stdlib_module_names or top in DRIVERS_IN_STDLIB):
                drivers |= {top} - NO_DRIVER
        if len(drivers) > 1:
            found.append(f"{source.path}: one driver library per backend file ({', '.join(sorted(drivers))})")
    return found


def circles(sources: Iterable[Source]) -> list[list[str]]:
    """Modules that import one another, by whatever way; each circle once, sorted. A package counts as what its ``__init__`` imports."""
    sources = list(sources)
    known = frozenset(source.module for source in sources)
    edges: dict[str, set[str]] = {module: set() for module in known}
    for source in sources:
        for found in imports(source):
            there = _target_module(found.target, known)
            if there in known and there != source.module:
                edges[source.module].add(there)
    # Two modules are in one circle when each is reached from the other. Slow and obvious: some hundred modules.
    reached = {module: _reached(module, edges) for module in edges}
    groups = {tuple(sorted({module, *(one for one in reached[module] if module in reached[one])})) for module in edges}
    return sorted([*group] for group in groups if len(group) > 1)


def _reached(module: str, edges: dict[str, set[str]]) -> set[str]:
    found: set[str] = set()
    waiting = [module]
    while waiting:
        for there in edges[waiting.pop()] - found:
            found.add(there)
            waiting.append(there)
    return found
