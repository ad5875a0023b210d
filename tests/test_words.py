"""One word, one meaning: names in the code are those of the table in ARCHITECTURE.md, Words."""

from __future__ import annotations

import io
import keyword
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.project import ROOT, project_files

# Word -> (where it is not used in names, what is said instead). In prose a word may mean what it means to everybody.
WORDS = {
    "seat": ("src", "membership"),
    "archive": ("src", "revisions"),
    "upkeep": ("src", "compaction"),
    "pace": ("src/server", "turn scheduler"),
    "channel": ("src", "room"),
    "topic": ("src", "room"),
    "packet": ("src", "frame, message, publication"),
    "patch": ("src/server", "operation"),
    "util": ("src", "a word for what it does"),
    "helper": ("src", "a word for what it does"),
}


def names(text: str, native: bool) -> Iterator[str]:
    """The identifiers of a source; strings and comments are prose."""
    if native:
        code = re.sub(r'"""[\s\S]*?"""|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|#[^\n]*', "", text)
        yield from re.findall(r"[A-Za-z_]\w*", code)
        return
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.NAME and not keyword.iskeyword(token.string):
            yield token.string


def words(name: str) -> list[str]:
    """Of a name in snake or camel case, in the singular."""
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)
    return [part.lower().removesuffix("s") for part in parts]


def misnamed(path: str, text: str) -> list[str]:
    suffix = path.rpartition(".")[2]
    if suffix not in ("py", "pyi", "pyx", "pxd"):
        return []
    found = {*names(text, suffix in ("pyx", "pxd")), Path(path).stem}
    return sorted(
        f"{path}: {name}: not {word!r} but {instead}"
        for name in found
        for word, (where, instead) in WORDS.items()
        if path.startswith(f"{where}/") and word in words(name)
    )


def test_names_are_those_of_the_table() -> None:
    found: list[str] = []
    for path in project_files():
        if path.suffix in (".py", ".pyi", ".pyx", ".pxd"):
            found += misnamed(path.relative_to(ROOT).as_posix(), path.read_text("utf-8"))
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("path", "text", "count"),
    [
        ("src/server/a.py", "class SeatMap: ...", 1),
        ("src/server/a.py", "def f():\n    user_seats = 1\n    return user_seats", 1),
        ("src/server/seats.py", "", 1),
        ("src/core/a.pyx", "cdef class Archive:\n    pass", 1),
        ("src/core/a.pyx", 'x = "seat"  # an archive', 0),
        ("src/server/a.py", '"""A seat."""\nx = "archive"  # upkeep', 0),
        ("src/client/pace.py", "class Pace: ...", 0),
        ("src/server/pace.py", "", 1),
        ("src/server/a.py", "workspace = 1", 0),
        ("tests/a.py", "seat = 1", 0),
    ],
)
def test_the_checker(path: str, text: str, count: int) -> None:
    assert len(misnamed(path, text)) == count
