"""The browser client as it is served: one module that says what its source files say together."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from syncline.server.web.browser_client import ENTRY, PARTS, one_module

SOURCES = Path(__file__).resolve().parents[2] / "src" / "client" / "browser"


def read(name: str) -> str:
    return (SOURCES / name).read_text(encoding="utf-8")


def surface(node: str, module: Path) -> object:
    """What a module exports: names, and for functions and classes their source."""
    script = (
        f"const m = await import({json.dumps(module.as_uri())});"
        "console.log(JSON.stringify(Object.fromEntries(Object.entries(m).map("
        "([name, value]) => [name, typeof value === 'function' ? String(value) : Object.keys(value)]))))"
    )
    done = subprocess.run([node, "--input-type=module", "-e", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def test_it_exports_what_the_sources_do_and_imports_nothing(node: str, tmp_path: Path) -> None:
    module = tmp_path / "syncline.mjs"
    module.write_text(one_module(read), encoding="utf-8")
    assert 'from "./' not in module.read_text(encoding="utf-8")
    exported = surface(node, module)
    (tmp_path / "package.json").write_text('{"type": "module"}', encoding="utf-8")
    for name in (ENTRY, *PARTS):
        (tmp_path / name).write_text(read(name), encoding="utf-8")
    assert exported == surface(node, tmp_path / ENTRY)
    assert isinstance(exported, dict) and {"Client", "SynclineDocument", "ot", "richText"} <= set(exported)


def test_every_source_file_is_a_part() -> None:
    assert {path.name for path in SOURCES.glob("*.js")} == {ENTRY, *PARTS}


def test_what_cannot_be_joined_is_an_error() -> None:
    def odd(name: str) -> str:
        return read(name) + ('\nimport fs from "node:fs";\n' if name == ENTRY else "")

    with pytest.raises(ValueError, match="cannot be joined: import fs"):
        one_module(odd)
