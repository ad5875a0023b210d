"""Editing histories for tests, made up and recorded, and the example that replays them."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from syncline.testing.editing import generate

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "examples" / "replay_trace.py"


def data() -> Path:
    """Where recorded data would be."""
    return Path(os.environ.get("SYNCLINE_DATA") or ROOT.parent / "shared" / "data")


def recorded(place: str) -> Path:
    """A file of it. Skips the test when it is not there."""
    path = data() / place
    if not path.is_file():
        pytest.skip(
            f"{path} is not here; CONTRIBUTING.md, 'Editing histories', says what it is and where it is to be had"
        )
    return path


def sequential(name: str) -> Path:
    """A recorded history of one person."""
    return recorded(f"editing-traces/sequential_traces/{name}.json.gz")


def concurrent(name: str) -> Path:
    """A recorded history of several people."""
    return recorded(f"editing-traces/concurrent_traces/{name}.json.gz")


def made_up(seed: int, edits: int, authors: int) -> Any:
    """The example's ``Trace`` of a history that is generated."""
    history = generate(seed, edits, authors)
    return example().parse(history.name, history.as_trace())


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
