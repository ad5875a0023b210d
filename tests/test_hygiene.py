"""House rules that no tool holds: file sizes, stubs, declared error returns, documented codes, nothing of a machine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import syncline
from syncline.core import errors
from tests import cython_lint, layers
from tests.project import ROOT, matches, project_files

SRC = ROOT / "src"


def test_nothing_is_bound_to_a_machine() -> None:
    # Written in pieces, so that this file does not find itself.
    machine = "|".join(
        ("/" + "root/", "/" + "work/", "/" + "home/\\w", "/" + "tmp/wt", "/" + "opt/wheels", "/" + "Users/")
    )
    registry = "|".join(
        ("registry\\." + "npmjs", "registry\\." + "yarnpkg", "files\\." + "pythonhosted", "pypi\\." + "org")
    )
    pattern = re.compile(f"(?<![\\w.])(?:{machine})|{registry}")
    found = []
    for path in project_files():
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{path.relative_to(ROOT)}: {match[0]}" for match in pattern.finditer(text)]
    assert not found, "\n".join(found)


GIT = shutil.which("git")
git = pytest.mark.skipif(GIT is None, reason="needs git")


def tree(folder: Path, *names: str) -> Path:
    shutil.copy(ROOT / ".gitignore", folder)
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("", "utf-8")
    return folder


@git
@pytest.mark.parametrize("refusing", [False, True])
def test_the_projects_files_are_known_where_git_refuses(
    refusing: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = [".gitignore", "README.md", "src/core/a.pyx", "tests/c.c", "tests/deep/b.py"]
    built = ["src/a.c", "src/core/a.c", "src/core/a.so", "src/x.egg-info/PKG-INFO", "build/x.py", "x.db", ".venv/b.py"]
    bundled = [f"src/server/web/pages/{name}" for name in ("codemirror.js", "syncline.js", "syncline.js.map")]
    tree(tmp_path, *here[1:], *built, *bundled, "tests/__pycache__/b.pyc")
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    if refusing:  # git's own switch for its own tests of "dubious ownership"
        monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
        asked = subprocess.run(["git", "ls-files"], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert "dubious ownership" in asked.stderr
    assert [path.relative_to(tmp_path).as_posix() for path in project_files(tmp_path)] == here


def test_the_projects_files_are_known_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path, "a.py", "node_modules/a.js", ".git/config")
    expected = [tmp_path / ".gitignore", tmp_path / "a.py"]
    assert project_files(tree(tmp_path)) == expected
    monkeypatch.setenv("PATH", str(tmp_path))
    assert project_files(tmp_path) == expected


def test_each_line_of_gitignore_is_one_that_is_understood() -> None:
    lines = [line for line in (ROOT / ".gitignore").read_text("utf-8").splitlines() if not line.startswith("#")]
    assert not [line for line in lines if line.startswith("!") or ("/" in line[:-1] and not line.startswith("src/"))]
    assert matches("src/**/*.c", "src/a.c")
    assert not matches("*.c", "a.cc")


def test_files_stay_small_enough_to_read() -> None:
    limits = (("src/client/", 800), ("src/load/", 660), ("src/", 600), ("", 800))
    code = {".py", ".pyi", ".pyx", ".pxd", ".js", ".mjs", ".ts", ".css", ".html", ".sh"}
    found = []
    for path in project_files():
        name = path.relative_to(ROOT).as_posix()
        if path.suffix not in code or name == "src/server/web/pages/codemirror.js":
            continue
        code_files = path.suffix in {".py", ".pyx"}
        limit = next(limit for prefix, limit in limits if name.startswith(prefix) and (code_files or not prefix))
        lines = path.read_text("utf-8").count("\n")
        if lines > limit:
            found.append(f"{name}: {lines} lines, {limit} at most")
    assert not found, "\n".join(found)


def test_no_test_imports_another() -> None:
    """What two of them need lives in a module of its own: else one's tests depend on how the other is written."""
    pattern = re.compile(r"^\s*(?:from|import) (?:[\w.]*\.)?(?:test_\w+|conftest)\b", re.MULTILINE)
    found = [
        f"{path.relative_to(ROOT)}: {match[0].strip()}"
        for path in (ROOT / "tests").rglob("*.py")
        for match in pattern.finditer(path.read_text("utf-8"))
    ]
    assert not found, "\n".join(found)


def test_each_native_module_has_a_declaration_and_a_stub() -> None:
    missing = [
        str(source.with_suffix(suffix).relative_to(ROOT))
        for source in SRC.rglob("*.pyx")
        for suffix in (".pxd", ".pyi")
        if not source.with_suffix(suffix).exists()
    ]
    assert not missing


def test_each_cdef_function_declares_its_error_return() -> None:
    found = cython_lint.check(SRC)
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("cdef int f(int x):\n    return x", ["f"]),
        ("cdef int f(int x) nogil:\n    return x", ["f"]),
        ("cdef inline void *f(int x):\n    return NULL", ["f"]),
        ("cdef class A:\n    cdef void g(self)\n    cpdef bint h(self)", ["g", "h"]),
        ("ctypedef struct Node:\n    int x\ncdef Node f():\n    pass\ncdef Node* g(a,\n   b):\n    pass", ["f", "g"]),
        ("cdef uint32_t f(str s='def x() except -1'):  # except\n    pass", ["f"]),
        ("cdef int f(int x) except -1:\n    return x", []),
        ("cdef int f(int x,\n           int y) except? -1 nogil:\n    return x", []),
        ("cdef inline void f() noexcept nogil:\n    pass", []),
        ("cdef list f(self, x):\n    pass\ncdef f(x):\n    pass\ncdef Operation f():\n    pass", []),
        ("cdef int x = f(3)\ncdef class A(B):\n    cdef int y\ncdef extern from 'x.h':\n    int puts(char *)", []),
        ("cdef int (*callback)(int) noexcept\ncdef int a, b\ncdef enum E:\n    A = (1)", []),
        ('"""\ncdef int f(x):\n"""\n# cdef int g(x):\n', []),
    ],
)
def test_the_cython_checker(text: str, names: list[str]) -> None:
    known = cython_lint.c_names([text])
    assert [name for _, name in cython_lint.undeclared(text, known)] == names


# -- documents --------------------------------------------------------------------------------------------------------


def section(text: str, title: str) -> str:
    """The body of a second-level section of a Markdown page."""
    return text.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def first_cells(text: str) -> list[list[str]]:
    """The cells of each table row, the heading and its rule left out."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    return [row for row in rows[1:] if not set("".join(row)) <= set("- ")]


def test_the_protocol_page_lists_the_error_codes() -> None:
    page = (ROOT / "docs" / "protocol.md").read_text("utf-8")
    listed = [code for row in first_cells(section(page, "Errors")) for code in re.findall(r"`(\w+)`", row[0])]
    assert len(listed) == len(set(listed))
    assert set(listed) == {code.value for code in errors.ErrorCode}


def test_links_between_documents_lead_somewhere() -> None:
    broken = []
    for page in (path for path in project_files() if path.suffix == ".md"):
        text = page.read_text("utf-8")
        prose = re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)
        for link in re.findall(r"\]\(([^)\s]+)\)", prose):
            path, _, anchor = link.partition("#")
            if "://" in link or link.startswith("mailto:"):
                continue
            target = page if not path else page.parent / path
            if not target.exists():
                broken.append(f"{page.relative_to(ROOT)}: {link}")
            elif anchor and target.suffix == ".md":
                titles = re.findall(r"^#+ (.+)$", target.read_text("utf-8"), re.MULTILINE)
                anchors = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
                if anchor not in anchors:
                    broken.append(f"{page.relative_to(ROOT)}: {link}")
    assert not broken, "\n".join(broken)


def test_the_version_is_one() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert syncline.__version__ == project["version"]
    assert f"## [{project['version']}]" in (ROOT / "CHANGELOG.md").read_text("utf-8")


# -- imports ----------------------------------------------------------------------------------------------------------

# Each child is forked from an interpreter that has imported nothing of ours, which is as good as a fresh one and quick.
IMPORT_ALONE = """
import os, sys, traceback
failed = 0
for name in sys.argv[1:]:
    child = os.fork()
    if child == 0:
        code = 0
        try:
            module = __import__(name, fromlist=["*"])
            for exported in getattr(module, "__all__", ()):
                getattr(module, exported)
        except BaseException:
            print(f"-- {name}", file=sys.stderr)
            traceback.print_exc()
            code = 1
        sys.stderr.flush()
        os._exit(code)
    failed |= os.waitpid(child, 0)[1]
sys.exit(1 if failed else 0)
"""


def test_every_module_can_be_imported_alone() -> None:
    """Catches circular imports that only work in the order in which the suite happens to import."""
    modules = sorted({source.module for source in layers.read(SRC)} - {"syncline.__main__"})
    environment = dict(os.environ, PYTHONPATH=str(Path(syncline.__file__).parent.parent))
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", IMPORT_ALONE, *modules],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
