"""Texts and operations for property tests: short, with characters of one, two and four UTF-8 bytes beyond ASCII, many
ties.
"""

from __future__ import annotations

from hypothesis import strategies as st

from tests.oracle import ot as oracle

Components = oracle.Components

ALPHABET = "abc é漢\n💃𝄞"
ASTRAL = "💃𝄞🤟"

units = st.sampled_from(["utf-16", "unicode"])
sides = st.sampled_from(["left", "right"])
texts = st.text(ALPHABET, max_size=12)
inserts = st.text(ALPHABET, min_size=1, max_size=3)


@st.composite
def operations(draw: st.DrawFn, text: str, unit: str, max_parts: int = 6) -> Components:
    """Components that apply to ``text``, in any order of inserts and deletes, canonical or not."""
    result: Components = []
    at = 0
    for _ in range(draw(st.integers(0, max_parts))):
        kind = draw(st.sampled_from(["keep", "drop", "put"]))
        if kind == "put":
            result.append(draw(inserts))
        elif at < len(text):
            count = draw(st.integers(1, min(4, len(text) - at)))
            covered = oracle.length(text[at : at + count], unit)
            result.append(covered if kind == "keep" else -covered)
            at += count
    return result
