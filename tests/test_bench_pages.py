"""What bench/ writes: sections of results.md between their marks, and charts as SVG."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest

BENCH = Path(__file__).resolve().parent.parent / "bench"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"bench_{name}", BENCH / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up by its name.
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(__import__("sys").modules, spec.name, module)
        spec.loader.exec_module(module)
    return module


def test_a_section_is_added_once_and_then_replaced() -> None:
    report = load("report")
    page = report.replaced("# Results\n\nProse.\n", "memory", "Memory", "first")
    assert page.startswith("# Results\n\nProse.\n\n## Memory\n\n<!-- memory") and "first" in page
    page += "\nMore prose.\n"
    again = report.replaced(page, "memory", "Memory", "second")
    assert again == page.replace("first", "second")


def test_a_mark_without_its_end_is_refused() -> None:
    report = load("report")
    page = report.replaced("# Results\n", "memory", "Memory", "first")
    with pytest.raises(ValueError, match="without"):
        report.replaced(page.replace("<!-- end of memory -->", ""), "memory", "Memory", "second")


def test_bars_are_as_long_as_their_values() -> None:
    chart = load("chart")
    rows = [chart.Bar("ours & <more>", 200.0, 150.0, 400.0, ours=True), chart.Bar("other", 50.0, 50.0, 50.0)]
    picture = ElementTree.fromstring(chart.bars("Title", "deliveries/s", rows))
    space = "{http://www.w3.org/2000/svg}"
    widths = [float(bar.attrib["width"]) for bar in picture.iter(f"{space}rect")]
    assert widths[0] == pytest.approx(4 * widths[1], rel=0.01)
    spread = next(picture.iter(f"{space}line")).attrib
    assert float(spread["x2"]) - float(spread["x1"]) == pytest.approx(widths[0] * 250 / 200, rel=0.01)
    told = ["".join(text.itertext()) for text in picture.iter(f"{space}text")]
    assert "ours & <more>" in told and "200 (150 - 400)" in told and "50" in told
    with pytest.raises(ValueError, match="nothing"):
        chart.bars("Title", "", [])
