"""The recorded editing histories, and the example that replays them, for tests."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "examples" / "replay_trace.py"


def data() -> Path:
    """The folder ``editing-traces``: in ``SYNCLINE_DATA``, or beside the checkout."""
    folder = Path(os.environ.get("SYNCLINE_DATA") or ROOT.parent / "shared" / "data") / "editing-traces"
    if not folder.is_dir():
        pytest.skip("the editing traces are not here; SYNCLINE_DATA names the folder that holds editing-traces")
    return folder


def sequential(name: str) -> Path:
    return data() / "sequential_traces" / f"{name}.json.gz"


def concurrent(name: str) -> Path:
    return data() / "concurrent_traces" / f"{name}.json.gz"


def example() -> ModuleType:
    """examples/replay_trace.py as a module."""
    module = sys.modules.get("replay_trace")
    if module is None:
        spec = importlib.util.spec_from_file_location("replay_trace", EXAMPLE)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["replay_trace"] = module  # dataclasses look their module up
        spec.loader.exec_module(module)
    return module
