"""Bar charts as SVG, by hand: no library, readable on a light and on a dark page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

CHARTS = Path(__file__).resolve().parent / "charts"
WIDTH, LABEL, VALUE, ROW, BAR, TOP = 920, 262, 298, 26, 16, 44


@dataclass(frozen=True)
class Bar:
    """``low`` and ``high``: the spread, drawn as a line. ``ours``: drawn in colour."""

    name: str
    value: float
    low: float
    high: float
    ours: bool = False


def figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def bars(title: str, unit: str, rows: Sequence[Bar]) -> str:
    """Horizontal bars from 0, in the order given; the longest spread fills the width. Raises ValueError without rows."""
    if not rows:
        raise ValueError("nothing to draw")
    scale = (WIDTH - LABEL - VALUE) / (max(max(row.value, row.high) for row in rows) or 1.0)
    height = TOP + ROW * len(rows) + 12
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'role="img" aria-label="{escape(title)}">',
        "<style>text{font:13px system-ui,sans-serif;fill:#1f2328}.t{font-weight:600;font-size:15px}.u{fill:#59636e}"
        ".b{fill:#8c959f}.o{fill:#0969da}.s{stroke:#1f2328;stroke-width:1.5}"
        "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.u{fill:#9198a1}.b{fill:#656c76}.o{fill:#4493f8}"
        ".s{stroke:#e6edf3}}</style>",
        f'<text class="t" x="8" y="20">{escape(title)}</text><text class="u" x="8" y="37">{escape(unit)}</text>',
    ]
    for index, row in enumerate(rows):
        top = TOP + ROW * index
        middle = top + BAR / 2
        length = row.value * scale
        told = figure(row.value)
        if row.low != row.high:
            told += f" ({figure(row.low)} - {figure(row.high)})"
        end = LABEL + max(length, row.high * scale)
        parts.append(
            f'<text x="{LABEL - 8}" y="{middle + 4.5:.1f}" text-anchor="end">{escape(row.name)}</text>'
            f'<rect class="{"o" if row.ours else "b"}" x="{LABEL}" y="{top}" width="{length:.1f}" height="{BAR}" rx="2"/>'
            f'<line class="s" x1="{LABEL + row.low * scale:.1f}" x2="{LABEL + row.high * scale:.1f}" '
            f'y1="{middle:.1f}" y2="{middle:.1f}"/>'
            f'<text x="{end + 6:.1f}" y="{middle + 4.5:.1f}">{told}</text>'
        )
    return "\n".join([*parts, "</svg>"]) + "\n"


def draw(name: str, title: str, unit: str, rows: Sequence[Bar], more_is_better: bool) -> None:
    """charts/NAME.svg, the best first. Raises ValueError without rows."""
    best_first = sorted(rows, key=lambda row: row.value, reverse=more_is_better)
    said = f"{unit}, {'more' if more_is_better else 'less'} is better"
    CHARTS.mkdir(exist_ok=True)
    (CHARTS / f"{name}.svg").write_text(bars(title, said, best_first), "utf-8")
