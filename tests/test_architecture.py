"""The paths of ARCHITECTURE.md are those of the code: each function is there, and calls the one below it."""

from __future__ import annotations

import itertools
import re
from typing import NamedTuple

import pytest

from syncline.server.protocol.handlers import table
from tests.project import ROOT

_STEP = re.compile(r"(?P<way>->|~>|  ) (?P<file>[\w/]+\.pyx?) +(?P<name>[\w.]+)(?: +(?P<how>\S.*))?")


class Step(NamedTuple):
    way: str
    file: str
    name: str
    how: str

    @property
    def last(self) -> str:
        return self.name.rpartition(".")[2]


def paths(page: str) -> list[list[Step]]:
    """Those of the section Paths. Raises ValueError for a line that is no step."""
    section = page.split("\n## Paths\n", 1)[1].split("\n## ", 1)[0]
    found = []
    for block in re.findall(r"```\n(.*?)```", section, re.DOTALL):
        steps = []
        for line in block.splitlines():
            match = _STEP.fullmatch(line)
            if match is None:
                raise ValueError(line)
            steps.append(Step(match["way"].strip(), match["file"], match["name"], match["how"] or ""))
        found.append(steps)
    return found


def body(text: str, name: str) -> str:
    """The source of a function, of a class's where there is a dot. Raises LookupError. By indentation: Cython has no parser here."""
    lines = text.splitlines()
    start, indent = 0, -1
    for part in name.split("."):
        is_class = name.startswith(part + ".")
        kind = rf"(?:cdef +)?class +{part}\b" if is_class else rf"(?:(?:async +)?def|c(?:p)?def\b[^(=]*?) *\b{part}\("
        pattern = re.compile(rf"( *){kind}")
        for number in range(start, len(lines)):
            match = pattern.match(lines[number])
            if match is not None and len(match[1]) > indent:
                start, indent = number + 1, len(match[1])
                break
        else:
            raise LookupError(name)
    end = start
    # The head of a function may have lines of its own, down to a closing bracket at its indentation.
    while end < len(lines) and (
        not lines[end].strip()
        or len(lines[end]) - len(lines[end].lstrip()) > indent
        or lines[end].lstrip().startswith(")")
    ):
        end += 1
    return "\n".join(lines[start:end])


def source(step: Step) -> str:
    for folder in ("src/server", "src"):
        path = ROOT / folder / step.file
        if path.exists():
            return path.read_text("utf-8")
    raise LookupError(step.file)


def calls(text: str, name: str) -> bool:
    """Whether ``name`` is used otherwise than in a string or a comment."""
    code = re.sub(r'""".*?"""|"[^"\n]*"|#[^\n]*', "", text, flags=re.DOTALL)
    return re.search(rf"(?<!def )\b{name}\b(?! *=[^=])", code) is not None


PATHS = paths((ROOT / "ARCHITECTURE.md").read_text("utf-8"))


@pytest.mark.parametrize("path", PATHS, ids=[path[0].name for path in PATHS])
def test_a_path_is_that_of_the_code(path: list[Step]) -> None:
    for step in path:
        body(source(step), step.name)
    for caller, step in itertools.pairwise(path):
        if step.way == "->":
            assert calls(body(source(caller), caller.name), step.last), f"{caller.name} does not call {step.name}"
        if event := re.fullmatch(r"by event: (\S+)", step.how):
            call = table()[event[1]].call
            assert (call.__name__, call.__module__.rpartition(".")[2]) == (step.last, step.file.rpartition("/")[2][:-3])


def test_there_are_the_paths_that_matter() -> None:
    assert [path[0].name for path in PATHS] == ["WebSocket.message", "NativeSession._dispatch", "join", "App.stop"]


def test_what_is_renamed_or_not_called_any_more_is_found() -> None:
    text = "class A:\n    def f(self):\n        return self.g()\n\n    async def g(\n        self,\n    ) -> None:\n        pass\n"
    assert calls(body(text, "A.f"), "g") and "pass" in body(text, "A.g")
    assert not calls(body(text, "A.g"), "f")
    assert not calls(body(text.replace("return self.g()", '"""g"""  # g()'), "A.f"), "g")
    with pytest.raises(LookupError):
        body(text, "A.h")
    with pytest.raises(LookupError):
        body(text, "B.f")
    native = "cdef class R(M):\n    cpdef Py_ssize_t publish(self, P p) except -1:\n        return self._fan_out(p)\n"
    assert calls(body(native, "R.publish"), "_fan_out")
