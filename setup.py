"""The native build. Static metadata lives in pyproject.toml.

Environment:
  SYNCLINE_DEBUG=1      every check on (bounds, None, wraparound, overflow), live-object counters, -O0 -g3
  SYNCLINE_SANITIZE=1   the debug build plus AddressSanitizer; run Python with libasan preloaded
  SYNCLINE_ANNOTATE=1   write Cython's HTML annotation beside the C files
  SYNCLINE_JOBS=n       processes that translate Cython to C (0: this one)
  SYNCLINE_REQUIRE_BUNDLE=1  a wheel without the demo page's editor is an error, not a warning
"""

from __future__ import annotations

import itertools
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from Cython.Build import cythonize
from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist
from setuptools.modified import newer_group

ROOT = Path(__file__).resolve().parent
os.chdir(ROOT)
sys.path.insert(0, str(ROOT / "tools"))
import toolchain  # noqa: E402  (found through the line above)
from build_backend import bundle  # noqa: E402

# Before Cython works for a minute and a compiler that is not there fails for each module.
if {"build", "build_ext", "bdist_wheel", "develop", "editable_wheel", "install"} & set(sys.argv[1:]):
    toolchain.require()

SANITIZE = os.environ.get("SYNCLINE_SANITIZE") == "1"
DEBUG = SANITIZE or os.environ.get("SYNCLINE_DEBUG") == "1"
ANNOTATE = os.environ.get("SYNCLINE_ANNOTATE") == "1"

# Cython, mypy and pyright find `syncline.core.x` by path, and Cython silently ignores each module's own
# .pxd when it cannot: this link gives the import package its real name (ARCHITECTURE.md, "Build").
TYPING = ROOT / "build" / "typing"
TYPING.mkdir(parents=True, exist_ok=True)
LINK = TYPING / "syncline"
if not LINK.is_symlink():
    LINK.symlink_to(Path("..") / ".." / "src", target_is_directory=True)

if DEBUG:
    # Cython's overflow checks take pointer differences for integers, and then count bytes: that must not compile.
    compile_args = ["-O0", "-g3", "-UNDEBUG", "-Wall", "-Wno-unused-function", "-Werror=int-conversion"]
    link_args: list[str] = []
    if SANITIZE:
        compile_args += ["-fsanitize=address", "-fno-omit-frame-pointer"]
        link_args += ["-fsanitize=address"]
else:
    # -g0: Python's own flags ask for debug information, which made the wheel three times as large.
    compile_args = ["-O3", "-g0", "-DNDEBUG", "-Wall", "-Wno-unused-function"]
    link_args = []

directives = {
    "language_level": 3,
    "embedsignature": True,
    "binding": True,
    # Off only inside measured loops, where a module says so itself; the debug build forces them on.
    "boundscheck": True,
    "wraparound": DEBUG,
    "nonecheck": DEBUG,
    "overflowcheck": DEBUG,
    "initializedcheck": DEBUG,
    "cdivision": not DEBUG,
}

extensions = [
    Extension(
        "syncline." + ".".join(source.relative_to("src").with_suffix("").parts),
        [str(source)],
        extra_compile_args=compile_args,
        extra_link_args=link_args,
        define_macros=[("SYNCLINE_DEBUG", str(int(DEBUG)))],
    )
    for source in sorted(Path("src").rglob("*.pyx"))
]


class ReportedBuildExt(build_ext):
    """Names each module when it is compiled: all of them take minutes, in which nothing else is shown.

    An editable install compiles in a new temporary folder. What lies beside the sources and is newer than they are is
    taken from there instead of being compiled a second time.
    """

    compiled = itertools.count(1)

    def build_extensions(self) -> None:
        link = self.compiler.link_shared_object

        def link_whole(objects: Any, output_filename: str, *arguments: Any, **options: Any) -> None:
            # The linker makes its file before it has anything to write: interrupted, what it leaves would pass for built.
            part = Path(f"{output_filename}.part")
            part.unlink(missing_ok=True)
            link(objects, str(part), *arguments, **options)
            part.replace(output_filename)

        self.compiler.link_shared_object = link_whole
        super().build_extensions()

    def build_extension(self, ext: Extension) -> None:
        target = Path(self.get_ext_fullpath(ext.name))
        beside = Path("src", *ext.name.split(".")[1:-1], target.name)
        if self.editable_mode and not DEBUG and not newer_group([*ext.sources, *ext.depends], str(beside)):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(beside, target)
            return
        before = target.stat().st_mtime_ns if target.exists() else None
        super().build_extension(ext)
        if target.stat().st_mtime_ns != before:
            print(f"    compiled {next(self.compiled)} of {len(self.extensions)}: {ext.name}", flush=True)


class BundledBuildPy(build_py):
    """Collects Python files and data; the editor's bundle is part of the data."""

    def run(self) -> None:
        bundle()
        super().run()


class BundledSdist(sdist):
    """An sdist carries the bundle, so that a wheel built from it needs neither Node nor npm."""

    def run(self) -> None:
        bundle()
        super().run()


setup(
    package_dir={"syncline": "src"},
    packages=["syncline", *("syncline." + name for name in find_packages("src"))],
    # No sources in wheels: *.pyx and *.c are not listed, and include-package-data is off.
    package_data={
        "": ["py.typed", "*.pyi", "*.pxd"],
        "syncline.client": ["browser/*.js", "browser/*.ts"],
        "syncline.server.web.pages": ["*.html", "*.css", "*.js", "*.map", "*.svg", "*.png", "*.webmanifest"],
    },
    cmdclass={"build_ext": ReportedBuildExt, "build_py": BundledBuildPy, "sdist": BundledSdist},
    ext_modules=cythonize(
        extensions,
        # Debug and release need folders of their own: cythonize compares time stamps, not directives. The sanitizer is the C
        # compiler's affair, and so shares the debug build's C files.
        build_dir=f"build/cython-{'debug' if DEBUG else 'release'}",
        include_path=[str(TYPING)],
        compiler_directives=directives,
        annotate=ANNOTATE,
        force=ANNOTATE,  # pages come only of what is made to C
        nthreads=int(os.environ.get("SYNCLINE_JOBS", "0")),
        quiet=True,
    ),
    options={"build_ext": {"parallel": os.cpu_count()}},
)
