"""Set-up on a machine that lacks something: it says what, in one message, before it does anything else.

Such a machine is a PATH with little on it, and a copy of tools/ without a virtual environment beside it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.project import ROOT

TOOLCHAIN = "tools/toolchain.py"
BACKEND = "import sys; sys.path.insert(0, 'tools'); import build_backend; build_backend.{}"
#: What tools/setup.sh calls of every Unix.
COMMANDS = ("bash", "dirname", "env", "grep", "id", "paste", "rm", "sed", "sh", "touch")


def run(*command: str | Path, cwd: Path = ROOT, **environment: str) -> tuple[int, str]:
    """(exit code, what it printed); CC, PYTHON and the like of whoever runs the tests do not count."""
    ours = ("CC", "PYTHON", "SYNCLINE_", "MAKE")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**clean, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n", "utf-8")
    path.chmod(0o755)
    return path


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A folder for PATH: no compiler, no apt-get, no browser. Python is there."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in COMMANDS:
        found = shutil.which(name)
        assert found is not None
        (folder / name).symlink_to(found)
    script(folder / "python3", f'exec "{sys.executable}" "$@"')
    return folder


# -- the toolchain ----------------------------------------------------------------------------------------------------


def test_nothing_is_missing_where_this_was_built() -> None:
    assert run(sys.executable, TOOLCHAIN) == (0, "")


def test_the_compiler_is_the_one_that_builds(bare: Path) -> None:
    code, output = run(sys.executable, TOOLCHAIN, CC="no-such-cc -pipe")
    assert (code, output.count("\n")) == (0, 1)
    assert "there is no no-such-cc, which the variable CC names" in output
    script(bare / "clang", "exit 0")
    code, output = run(sys.executable, TOOLCHAIN, PATH=str(bare))
    assert (code, output.count("\n")) == (0, 1)
    assert f"with which {sys.executable} builds; clang is there, CC=clang chooses it" in output
    assert output.endswith("\tgcc libc6-dev\n")


def test_a_compiler_without_the_c_library_is_none(bare: Path) -> None:
    failing = script(bare / "gcc-99", "echo 'attempt.c:2:10: fatal error: stdlib.h: No such file' >&2; exit 1")
    code, output = run(sys.executable, TOOLCHAIN, CC=str(failing))
    assert (code, output.count("\n")) == (0, 1)
    assert "says 'attempt.c:2:10: fatal error: stdlib.h: No such file'\tgcc-99 libc6-dev" in output


def test_headers_are_those_of_the_python_that_builds(tmp_path: Path) -> None:
    """A Python whose prefix has a library and no include folder."""
    (tmp_path / "lib").symlink_to(Path(sys.base_prefix) / "lib")
    code, output = run(Path(sys.executable).resolve(), TOOLCHAIN, PYTHONHOME=str(tmp_path))
    assert (code, output.count("\n")) == (0, 1)
    assert f"there is no Python.h in {tmp_path}" in output


@pytest.mark.parametrize(
    "command",
    [
        ("setup.py", "build_ext", "--inplace"),
        ("setup.py", "bdist_wheel"),
        ("-c", BACKEND.format("get_requires_for_build_wheel()")),
        ("-c", BACKEND.format("get_requires_for_build_editable()")),
        ("-c", BACKEND.format("prepare_metadata_for_build_wheel('build')")),
        ("-c", BACKEND.format("prepare_metadata_for_build_editable('build')")),
    ],
    ids=str,
)
def test_a_build_without_a_compiler_says_so_in_one_sentence(command: tuple[str, ...], bare: Path) -> None:
    code, output = run(sys.executable, *command, PATH=str(bare))
    assert code == 1
    assert output.count("\n") == 1
    assert output.startswith("error: Syncline's native modules need a C compiler: there is no ")
    assert output.endswith("(Debian: apt-get install gcc libc6-dev)\n")


# -- the system -------------------------------------------------------------------------------------------------------


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """tools/ as in a new checkout; returns its setup.sh."""
    shutil.copytree(ROOT / "tools", tmp_path / "new" / "tools", ignore=shutil.ignore_patterns("node_modules"))
    return tmp_path / "new" / "tools" / "setup.sh"


def test_all_that_is_missing_is_in_one_message(fresh: Path, bare: Path) -> None:
    script(bare / "python3", "exit 1")  # as good as none; and there may be one in /usr/bin, which has a path of its own
    code, output = run(fresh, "system", "python", "build", "chromium", PATH=str(bare), PYTHON=str(bare / "python3"))
    assert code == 1
    assert output == f"error: PYTHON={bare / 'python3'} is not a Python of at least 3.11\n"

    arguments = ("system", "python", "build", "chromium")
    code, output = run(fresh, *arguments, PATH=str(bare), PYTHON=sys.executable)
    assert code == 1
    assert output.count("error: ") == 1
    assert "  - a C compiler: there is no " in output
    assert "  - Chromium, " in output
    assert output.endswith("On Debian these would be: gcc libc6-dev chromium\n")
    assert not (fresh.parent.parent / ".venv").exists()


def test_what_only_some_tests_need_stops_nothing(fresh: Path, bare: Path) -> None:
    code, output = run(fresh, "system", "python", "chromium", PATH=str(bare), PYTHON=sys.executable)
    assert code == 0
    assert "going on without:" in output
    assert "SYNCLINE_CHROMIUM=none" in output
    without = {"PATH": str(bare), "PYTHON": sys.executable, "SYNCLINE_CHROMIUM": "none"}
    assert run(fresh, "system", "python", "chromium", cwd=ROOT, **without) == (0, "")


def test_promtool_is_part_of_debians_prometheus(fresh: Path, bare: Path) -> None:
    code, output = run(fresh, "system", "promtool", PATH=str(bare))
    assert code == 0
    assert "  - promtool, " in output
    assert output.endswith("On Debian these would be: prometheus\n")
    script(bare / "promtool", "exit 0")
    assert run(fresh, "system", "promtool", PATH=str(bare)) == (0, "")


def test_systemd_analyze_is_part_of_systemd(fresh: Path, bare: Path) -> None:
    code, output = run(fresh, "system", "systemd", PATH=str(bare))
    assert code == 0 and output.endswith("On Debian these would be: systemd\n")
    script(bare / "systemd-analyze", "exit 0")
    assert run(fresh, "system", "systemd", PATH=str(bare)) == (0, "")


def test_a_packages_services_are_not_started(fresh: Path, bare: Path, tmp_path: Path) -> None:
    """apt-get is a stand-in that does what dpkg does: it runs an installation script with the PATH that it was given."""
    system = tmp_path / "system"
    system.mkdir()
    for name in ("invoke-rc.d", "deb-systemd-invoke"):
        script(system / name, f"echo {name} >>{tmp_path}/started")
    script(bare / "sudo", 'if [ "$1" = -n ]; then shift; fi; exec "$@"')
    script(bare / "true", "exit 0")
    script(bare / "apt-config", f"echo \"path='{system}:{bare}'\"")
    script(
        bare / "apt-get",
        f"""case "$*" in *--assume-no*)
        echo '0 upgraded, 164 newly installed, 0 to remove and 0 not upgraded.'
        echo 'Need to get 1 kB/118 MB of archives.'
        echo 'After this operation, 440 MB of additional disk space will be used.'
        exit 1 ;; esac
        for each; do case $each in DPkg::Path=*) PATH=${{each#DPkg::Path=}} ;; esac; done
        deb-systemd-invoke start x.service && invoke-rc.d x start && ! invoke-rc.d --quiet x status || exit 1
        echo done >{tmp_path}/installed
        ln -s sh {bare}/chromium""",
    )
    ln = shutil.which("ln")
    assert ln is not None
    (bare / "ln").symlink_to(ln)
    before = sorted(path.name for path in fresh.parent.rglob("*"))
    code, output = run(fresh, "system", "chromium", PATH=str(bare))
    assert code == 0, output
    assert "chromium (164 packages, 118 MB to fetch, 440 MB on disk)" in output
    assert (tmp_path / "installed").exists()
    assert not (tmp_path / "started").exists()
    assert sorted(path.name for path in fresh.parent.rglob("*")) == before


# -- the build --------------------------------------------------------------------------------------------------------


def test_a_build_that_was_cut_off_while_linking_is_done_again(tmp_path: Path) -> None:
    """The linker makes its file first, and writes it last: an empty one must not pass for a module."""
    project = tmp_path / "project"
    shutil.copytree(ROOT / "tools", project / "tools", ignore=shutil.ignore_patterns("node_modules"))
    bucket = (f"src/core/bucket.{suffix}" for suffix in ("pyx", "pxd", "pyi"))
    for name in (
        "setup.py",
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "src/__init__.py",
        "src/core/__init__.py",
        *bucket,
    ):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, project / name)
    compiler = script(
        tmp_path / "cut-off",
        'out=\nfor word; do [ "$out" != next ] || out=$word; [ "$word" != -o ] || out=next; done\n'
        'case $out in *bucket*.so*) : > "$out"; kill -9 $PPID; exit 1 ;; esac\nexec cc "$@"',
    )
    build = (sys.executable, "setup.py", "--quiet", "build_ext", "--inplace")
    code, output = run(*build, cwd=project, CC=str(compiler))
    assert code == -9, output
    code, output = run(*build, cwd=project)
    assert code == 0, output
    (module,) = (project / "src" / "core").glob("bucket.*.so")
    assert module.stat().st_size > 0
