"""What this Python needs in order to build the native modules: a C compiler that works, and Python's C headers.

setup.py and the build backend call ``require``, so that a machine that cannot build says so in one sentence instead of
pages of a compiler's. tools/setup.sh runs this file and reads a line for each thing that is missing: what it is, a tab,
and the Debian packages that bring it. Standard library only.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import NamedTuple


class Missing(NamedTuple):
    packages: str  # of Debian, separated by spaces; empty where none brings it
    sentence: str


PROGRAM = "#include <Python.h>\n#include <stdlib.h>\nint main(void) { return EXIT_SUCCESS; }\n"


def compiler() -> list[str]:
    """The command that setuptools builds with: $CC, or else the one that this Python was built with."""
    return shlex.split(os.environ.get("CC", sysconfig.get_config_var("CC") or "cc"))


def packages_of(command: str) -> str:
    known = re.fullmatch(r"(?:.+-)?(gcc|clang)(-\d+)?", Path(command).name)
    if known is None:
        return "gcc libc6-dev" if Path(command).name in {"cc", "c99"} else ""
    return f"{known[1]}{known[2] or ''} libc6-dev"


def missing_headers(include: Path) -> list[Missing]:
    """``include`` is the folder that should hold Python.h."""
    if (include / "Python.h").exists():
        return []
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    package = f"{version}-dev" if sys.base_prefix == "/usr" else ""
    return [Missing(package, f"the C headers of {version}: there is no Python.h in {include}")]


def missing_compiler() -> list[Missing]:
    command = compiler()
    if command and shutil.which(command[0]):
        return []
    name = command[0] if command else "''"
    why = "which the variable CC names" if "CC" in os.environ else f"with which {sys.executable} builds"
    other = next((each for each in ("gcc", "clang", "cc") if each != name and shutil.which(each)), None)
    hint = f"; {other} is there, CC={other} chooses it" if other else ""
    return [Missing(packages_of(name), f"a C compiler: there is no {name}, {why}{hint}")]


def broken_compiler(include: Path) -> list[Missing]:
    """What only an attempt shows: the C library's headers, the linker, and compilers that are none."""
    command = compiler()
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "attempt.c")
        source.write_text(PROGRAM, "utf-8")
        attempt = [*command, "-shared", "-fPIC", f"-I{include}", str(source), "-o", str(source.with_suffix(".so"))]
        try:
            run = subprocess.run(attempt, capture_output=True, text=True, errors="replace", check=False)
        except OSError as error:
            return [Missing("", f"a C compiler that works: {command[0]}: {error.strerror}")]
    if run.returncode == 0:
        return []
    lines = run.stderr.strip().splitlines() or [f"it ended with exit code {run.returncode}"]
    said = next((line for line in lines if "error" in line or "cannot find" in line), lines[0])
    said = said.replace(str(source), source.name)
    return [Missing(packages_of(command[0]), f"a C compiler that works: {shlex.join(command)} says '{said.strip()}'")]


def missing() -> list[Missing]:
    include = Path(sysconfig.get_path("include"))
    return missing_headers(include) + missing_compiler() or broken_compiler(include)


def require() -> None:
    """Ends the program with one sentence when the native modules cannot be built here."""
    found = missing()
    if not found:
        return
    packages = " ".join(dict.fromkeys(" ".join(each.packages for each in found).split()))
    remedy = f" (Debian: apt-get install {packages})" if packages else ""
    sys.exit(f"error: Syncline's native modules need {', and '.join(each.sentence for each in found)}{remedy}")


if __name__ == "__main__":
    for each in missing():
        print(each.sentence, each.packages, sep="\t")
