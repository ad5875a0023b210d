"""The browser client as it is served: one module that has what its source files have together."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "src" / "client" / "browser"
PAGES = ROOT / "src" / "server" / "web" / "pages"


def surface(node: str, module: Path) -> object:
    """What a module exports: names, and of each what it is and what can be asked of it."""
    script = (
        f"const m = await import({json.dumps(module.as_uri())});"
        "const members = (value) => value?.prototype === undefined ? Object.keys(value) :"
        "  [value.length, ...Object.getOwnPropertyNames(value.prototype), ...Object.getOwnPropertyNames(value)];"
        "console.log(JSON.stringify(Object.fromEntries(Object.entries(m).map("
        "([name, value]) => [name, [typeof value, members(value)]]))))"
    )
    done = subprocess.run([node, "--input-type=module", "-e", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def test_it_exports_what_the_sources_do_and_imports_nothing(node: str, tmp_path: Path) -> None:
    code = (PAGES / "syncline.js").read_text(encoding="utf-8")
    assert not re.search(r"""\b(?:from\s*["']|import\s*["'({])""", code)
    (tmp_path / "package.json").write_text('{"type": "module"}', encoding="utf-8")
    (tmp_path / "bundled.js").write_text(code, encoding="utf-8")
    for path in SOURCES.glob("*.js"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    exported = surface(node, tmp_path / "bundled.js")
    assert exported == surface(node, tmp_path / "syncline.js")
    assert isinstance(exported, dict) and {"Client", "SynclineDocument", "ot", "richText"} <= set(exported)


def test_its_source_map_has_the_sources_and_no_folder_of_the_machine() -> None:
    code = (PAGES / "syncline.js").read_text(encoding="utf-8")
    assert code.rstrip().endswith("//# sourceMappingURL=syncline.js.map")
    told = json.loads((PAGES / "syncline.js.map").read_text(encoding="utf-8"))
    assert set(told["sources"]) == {path.name for path in SOURCES.glob("*.js")}
    for name, content in zip(told["sources"], told["sourcesContent"], strict=True):
        assert content == (SOURCES / name).read_text(encoding="utf-8"), name
