"""Sections of results.md that programs write: each between its own pair of marks, the prose around them is by hand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results.md"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "| " + " | ".join("---" for _ in head) + " |"]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)


def replaced(page: str, name: str, title: str, body: str) -> str:
    """``page`` with the part between the marks of ``name`` replaced; a new section at its end where there are none."""
    begin, end = f"<!-- {name}: written by a program -->", f"<!-- end of {name} -->"
    part = f"{begin}\n\n{body.strip()}\n\n{end}"
    if begin not in page:
        return f"{page.rstrip()}\n\n## {title}\n\n{part}\n"
    before, _, rest = page.partition(begin)
    if end not in rest:
        raise ValueError(f"{begin} without {end}")
    return before + part + rest.partition(end)[2]


def write(name: str, title: str, body: str, path: Path = RESULTS) -> None:
    """Raises ValueError, changing nothing, when a mark has lost its other half."""
    path.write_text(replaced(path.read_text("utf-8"), name, title, body), "utf-8")
