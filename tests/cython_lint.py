"""Reads Cython sources for one rule that the compiler does not hold: every cdef function declares its error return.

A C-typed function without a clause either re-checks for exceptions after each call (taking the GIL to do so, when it
has none) or, declared in older style, swallows them. So ``except ...`` or ``noexcept`` must be written. Functions that
return Python objects need none: NULL says it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

_STRINGS_AND_COMMENTS = re.compile(
    r"\"\"\".*?\"\"\"|'''.*?'''|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'|#[^\n]*", re.DOTALL
)
_FUNCTION = re.compile(
    r"^[ \t]*(?:cdef|cpdef)[ \t]+(?!class\b|struct\b|union\b|enum\b|extern\b|packed\b|fused\b)"
    r"(?P<type>[^\n=(:]*?[ \t*\]])??(?P<name>\w+)[ \t]*\(",
    re.MULTILINE,
)
_C_NAMES = re.compile(r"^[ \t]*(?:ctypedef|cdef|cpdef)[ \t]+(?:packed[ \t]+)?(?P<rest>[^\n:]+)", re.MULTILINE)
_C_BASE = frozenset(
    {
        *("void", "int", "bint", "char", "short", "long", "unsigned", "signed", "float", "double", "size_t", "ssize_t"),
        *("Py_ssize_t", "Py_hash_t", "Py_UCS4", "Py_UNICODE", "Py_buffer", "PyObject", "PyTypeObject"),
    }
)
_QUALIFIERS = frozenset({"inline", "api", "public", "const", "volatile"})
_CLAUSE = re.compile(r"\b(noexcept|except)\b")


def _plain(text: str) -> str:
    """The text without strings and comments; lines keep their numbers."""
    text = _STRINGS_AND_COMMENTS.sub(lambda match: '""' + "\n" * match[0].count("\n"), text)
    return text.replace("\\\n", "  ")


def c_names(texts: list[str]) -> frozenset[str]:
    """Names of structs, unions, enums and typedefs: types that are C's, beside the built-in ones."""
    names = set(_C_BASE)
    for text in texts:
        for match in _C_NAMES.finditer(_plain(text)):
            words = re.findall(r"\w+", match["rest"])
            if not words:
                continue
            if words[0] in {"struct", "union", "enum"} and len(words) > 1:
                names.add(words[1])
            elif match[0].lstrip().startswith("ctypedef") and words[0] not in {"class", "fused"}:
                names.add(words[-1])
    return frozenset(names)


def _end_of_parameters(text: str, start: int) -> int:
    depth = 0
    for index in range(start, len(text)):
        if text[index] in "([":
            depth += 1
        elif text[index] in ")]":
            depth -= 1
            if depth == 0:
                return index + 1
    return len(text)


def undeclared(text: str, known_c_names: frozenset[str]) -> Iterator[tuple[int, str]]:
    """(line, function) of each C-typed function or method without ``except`` or ``noexcept``."""
    text = _plain(text)
    for match in _FUNCTION.finditer(text):
        words = [word for word in re.findall(r"\w+|\*", match["type"] or "") if word not in _QUALIFIERS]
        # `cdef int (*callback)(int)` is a pointer; without a type word, or with a class, it returns an object.
        if not words or (match["name"] in known_c_names and text[match.end() :].lstrip().startswith("*")):
            continue
        if "*" not in words and not any(word in known_c_names or word.endswith("_t") for word in words):
            continue
        end = _end_of_parameters(text, match.end() - 1)
        tail = text[end : text.find("\n", end) if "\n" in text[end:] else len(text)]
        if not _CLAUSE.search(tail):
            yield text.count("\n", 0, match.start()) + 1, match["name"]


def check(folder: Path) -> list[str]:
    """One line for each finding in the .pyx and .pxd files below ``folder``."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix in {".pyx", ".pxd"})
    texts = {path: path.read_text("utf-8") for path in paths}
    known = c_names(list(texts.values()))
    return [
        f"{path.relative_to(folder.parent)}:{line}: {name}() declares neither except nor noexcept"
        for path, text in texts.items()
        for line, name in undeclared(text, known)
    ]
