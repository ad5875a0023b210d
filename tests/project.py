"""The files that belong to the project, in a checkout as in an unpacked archive."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def project_files(root: Path = ROOT) -> list[Path]:
    """Tracked files and new ones that are not ignored.

    Without git, in an unpacked archive, and where git refuses, in a checkout that somebody else owns: all files but
    those that .gitignore names.
    """
    if (root / ".git").exists():
        command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        try:
            listed = subprocess.run(command, cwd=root, capture_output=True, check=True, text=True).stdout
        except (OSError, subprocess.CalledProcessError):
            pass
        else:
            return sorted(root / name for name in set(listed.split("\0")) if name and (root / name).is_file())
    return sorted(walk(root, root, ignored(root)))


def ignored(root: Path) -> list[str]:
    """The patterns of .gitignore; those used here are understood by ``matches``, which has no exceptions ("!")."""
    lines = (root / ".gitignore").read_text("utf-8").splitlines()
    return [".git", "PKG-INFO", "setup.cfg", *(line.rstrip("/") for line in lines if line and not line.startswith("#"))]


def matches(pattern: str, name: str) -> bool:
    """A pattern with a slash is for the whole path, one without for the last part of it."""
    if "/" not in pattern:
        return fnmatchcase(name.rpartition("/")[2], pattern)
    return fnmatchcase(name, pattern) or fnmatchcase(name, pattern.replace("**/", ""))


def walk(root: Path, folder: Path, patterns: list[str]) -> Iterator[Path]:
    for path in folder.iterdir():
        name = path.relative_to(root).as_posix()
        if any(matches(pattern, name) for pattern in patterns):
            continue
        if path.is_dir() and not path.is_symlink():
            yield from walk(root, path, patterns)
        elif path.is_file():
            yield path


def readme_example(language: str) -> str:
    """The README's one example in a language."""
    [code] = re.findall(rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    return str(code)
