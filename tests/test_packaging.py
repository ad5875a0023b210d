"""What leaves the house: the sdist is complete, the wheel made from it holds what is needed and nothing else, and runs.

The wheel is built once, from the sdist in a temporary folder, with the tools of the running environment, so no
network is needed. It is installed into a fresh virtual environment that borrows the dependencies of this one.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pytest

import syncline
from tests import layers
from tests.project import ROOT, project_files

BUNDLES = [f"server/web/pages/{name}" for name in ("codemirror.js", "syncline.js", "syncline.js.map")]

pytestmark = [pytest.mark.timeout(600), pytest.mark.xdist_group("packaging")]


class Built(NamedTuple):
    wheel: frozenset[str]
    python: Path  # of the environment that the wheel is installed in


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """The output; a failure shows it."""
    # The checkout must not be importable, else it would be tested instead of the wheel.
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "SYNCLINE_", "COV_"))}
    result = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**clean, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-8000:]
    return result.stdout


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("sdist")
    # egg_info would write beside the sources; the checkout stays as it is.
    command = ["setup.py", "--quiet", "egg_info", "--egg-base", str(work), "sdist", "--dist-dir", str(work)]
    run(sys.executable, *command, cwd=ROOT, DISTUTILS_DEBUG="1")  # with a traceback, should it fail
    [archive] = work.glob("*.tar.gz")
    return archive


@pytest.fixture(scope="module")
def sdist(archive: Path) -> frozenset[str]:
    """Names below the top folder."""
    with tarfile.open(archive) as tar:
        return frozenset(name.partition("/")[2] for name in tar.getnames())


@pytest.fixture(scope="module")
def built(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Built:
    work = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    run(*pip, "wheel", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", work, archive, cwd=work)
    [wheel] = work.glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        names = frozenset(file.namelist())

    home = work / "venv"
    venv.create(home, with_pip=False, symlinks=True)
    python = home / "bin" / "python"
    [site] = home.glob("lib/python*/site-packages")
    # A path in a .pth file is only appended: unlike a site directory it brings no editable install of the checkout.
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    run(*pip, "--python", python, "install", "--no-deps", "--no-index", wheel, cwd=work)
    return Built(names, python)


def test_the_sdist_holds_the_whole_project(sdist: frozenset[str]) -> None:
    """Everything that the project has: what builds it, tests it, measures it and says what it does."""
    missing = {path.relative_to(ROOT).as_posix() for path in project_files()} - sdist
    assert not missing, sorted(missing)
    assert {f"src/{name}" for name in BUNDLES} <= sdist
    assert not [name for name in sdist if name.endswith((".so", ".c", ".pyc")) or "node_modules" in name]


@pytest.mark.full
def test_the_wheel_holds_modules_stubs_and_pages(built: Built) -> None:
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    expected = {"syncline/py.typed"}
    for path in (ROOT / "src").rglob("*"):
        name = f"syncline/{path.relative_to(ROOT / 'src').as_posix()}"
        if path.suffix in {".py", ".pyi", ".pxd"}:
            expected.add(name)
        elif path.suffix == ".pyx":
            expected.add(name.removesuffix(".pyx") + suffix)
        elif path.suffix in {".html", ".css", ".js", ".svg"} or name.endswith(".d.ts"):
            expected.add(name)
    missing = expected - built.wheel
    assert not missing, sorted(missing)
    assert {f"syncline/{name}" for name in BUNDLES} <= built.wheel


@pytest.mark.full
def test_the_wheel_holds_nothing_else(built: Built) -> None:
    allowed = {
        ".py",
        ".pyi",
        ".pxd",
        ".so",
        ".typed",
        ".html",
        ".css",
        ".js",
        ".map",
        ".ts",
        ".svg",
        ".png",
        ".webmanifest",
    }
    strangers = [
        name
        for name in built.wheel
        if not (name.startswith("syncline/") and PurePosixPath(name).suffix in allowed) and ".dist-info/" not in name
    ]
    assert not strangers
    assert any(name.endswith("/licenses/LICENSE") for name in built.wheel)


@pytest.mark.full
def test_the_installed_command_knows_its_version(built: Built, tmp_path: Path) -> None:
    output = run(built.python.with_name("syncline"), "--version", cwd=tmp_path)
    assert syncline.__version__ in output


@pytest.mark.full
def test_every_module_of_the_wheel_can_be_imported(built: Built, tmp_path: Path) -> None:
    modules = sorted({source.module for source in layers.read(ROOT / "src")} - {"syncline.__main__"})
    program = (
        "import importlib, pathlib, sys\n"
        "for name in sys.argv[1:]:\n"
        "    module = importlib.import_module(name)\n"
        "    assert pathlib.Path(module.__file__).is_relative_to(sys.prefix), module.__file__\n"
        "print('all', len(sys.argv) - 1)\n"
    )
    assert f"all {len(modules)}" in run(built.python, "-c", program, *modules, cwd=tmp_path)
