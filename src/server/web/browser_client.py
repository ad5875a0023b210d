"""The browser client as one ES module: its source files joined, in the order in which they need each other.

In the tree they are files of a readable size that import each other, and run as they are; served, they are one file to load and to
copy. Joining touches whole lines only: imports between the files go, and each file but the entry becomes a function of its own scope
that returns what it exported.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

ENTRY: Final = "syncline.js"
PARTS: Final = (
    "syncline-base.js",
    "syncline-proof.js",
    "syncline-room.js",
    "syncline-differences.js",
    "syncline-ot.js",
    "syncline-pace.js",
    "syncline-strokes.js",
    "syncline-hash.js",
    "syncline-jsondiff.js",
    "syncline-json.js",
    "syncline-rich.js",
    "syncline-types.js",
    "syncline-state.js",
    "syncline-places.js",
    "syncline-document.js",
    "syncline-textarea.js",
)

_IMPORT = re.compile(r'^import \{[^}]*\} from "\./syncline-[a-z]+\.js";\n', re.MULTILINE)
_REEXPORT = re.compile(r'^export (\{[^}]*\}) from "\./syncline-[a-z]+\.js";', re.MULTILINE)
_EXPORT_LIST = re.compile(r"^export \{([^}]*)\};\n", re.MULTILINE)
_EXPORT = re.compile(r"^export ((?:async )?(?:class|const|function)) (\w+)", re.MULTILINE)
_LEFT = re.compile(r"^(?:import\b|export\b.*\bfrom\b)", re.MULTILINE)


def one_module(read: Callable[[str], str]) -> str:
    """``read`` gives a source by its name. Raises ValueError when a source says something that joining does not know."""
    joined = [_scoped(_IMPORT.sub("", read(name))) for name in PARTS]
    entry = _REEXPORT.sub(r"export \1;", _IMPORT.sub("", read(ENTRY)))
    head = re.match(r"/\*\*.*?\*/\n", entry, re.DOTALL)
    documentation = head.group(0) if head is not None else ""
    module = documentation + "\n" + "\n\n".join([*joined, entry[len(documentation) :].strip()]) + "\n"
    left = _LEFT.search(module)
    if left is not None:
        raise ValueError(
            f"the browser client has a line that cannot be joined: {module[left.start() :].splitlines()[0]}"
        )
    return module


def _scoped(source: str) -> str:
    names = [match.group(2) for match in _EXPORT.finditer(source)]
    for match in _EXPORT_LIST.finditer(source):
        names += [name.strip() for name in match.group(1).split(",")]
    body = _EXPORT.sub(r"\1 \2", _EXPORT_LIST.sub("", source)).strip()
    listed = ", ".join(names)
    return f"const {{ {listed} }} = (() => {{\n{body}\n\nreturn {{ {listed} }};\n}})();"
