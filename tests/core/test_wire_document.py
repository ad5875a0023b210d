"""The frame that is written from entries is the one that msgspec makes of dicts, byte for byte."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncline.core.documents.text_type import TextType
from syncline.core.ot.ot import Operation, Unit
from syncline.core.storage.commits import Entry
from syncline.core.wire import envelopes as wire
from syncline.core.wire.document_push import operations_frame

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40) | st.sampled_from(
    ['"', "\\", "\n\t\b\f\r\x00\x1f\x7f", 'a"b', "é", "漢", "𝄞😀", "x" * 31, "x" * 32, "x" * 255, "x" * 70_000]
)
LENGTH = st.sampled_from([1, 31, 32, 33, 127, 128, 129, 255, 256, 32768, 32769, 65535, 65536, 2**28])
COMPONENT = LENGTH | LENGTH.map(lambda length: -length) | TEXT.filter(bool)


def slow(
    codec: wire.Codec, document: str, revision: int, entries: list[Entry], unit: Unit, text_hash: int | None
) -> bytes:
    described: list[dict[str, Any]] = []
    for entry in entries:
        one = {"client": entry.client, "seq": entry.seq, "operation": entry.in_unit(unit).components}
        if entry.kind != "edit":
            one["kind"] = entry.kind
        described.append(one)
    data: dict[str, Any] = {"document": document, "revision": revision, "operations": described}
    if text_hash is not None:
        data["hash"] = text_hash
    return wire.Push("document:operation", data).frame(codec)


@given(
    name=TEXT.filter(bool),
    clients=st.lists(TEXT.filter(bool), min_size=1, max_size=3),
    operations=st.lists(st.lists(COMPONENT, max_size=6), max_size=20),
    seq=st.sampled_from([1, 127, 128, 2**16, 2**53 - 1]),
    text_hash=st.none() | st.integers(0, 2**32 - 1),
)
def test_it_is_the_frame_that_msgspec_makes(
    name: str, clients: list[str], operations: list[list[int | str]], seq: int, text_hash: int | None
) -> None:
    entries = [
        Entry(clients[index % len(clients)], "ada", seq, Operation(components))
        for index, components in enumerate(operations)
    ]
    for codec in ("json", "msgpack"):
        expected = slow(codec, name, seq, entries, "utf-16", text_hash)
        assert operations_frame(codec, name, seq, entries, "utf-16", text_hash) == expected


@pytest.mark.parametrize("codec", ["json", "msgpack"])
@pytest.mark.parametrize("unit", ["utf-16", "unicode"])
def test_units_and_kinds(codec: wire.Codec, unit: Unit) -> None:
    document = TextType().open("d", "1")
    document.receive("a", "ada", 1, 0, ["😀a𝄞b"], "utf-16", 0.0)
    document.receive("b", "bob", 1, 1, [2, "x😀", 1, "𝄞y", 2, -1], "utf-16", 0.0)
    document.receive("c", "eve", 1, 2, [1, "🂡", 2, "z"], "unicode", 0.0)
    document.undo("b", "bob", 2, 3, "undo", 0.0)
    document.undo("b", "bob", 3, 4, "redo", 0.0)
    entries = document.since(0)
    assert [entry.kind for entry in entries] == ["edit", "edit", "edit", "undo", "redo"]
    assert entries[1].in_unit("unicode").components != entries[1].in_unit("utf-16").components
    assert operations_frame(codec, "d", 5, entries, unit) == slow(codec, "d", 5, entries, unit, None)


def test_what_it_refuses() -> None:
    entry = Entry("a", "ada", 1, Operation(["x"]))
    with pytest.raises(ValueError):
        operations_frame("xml", "d", 1, [entry])  # type: ignore[arg-type]
    with pytest.raises(ValueError):
        operations_frame("json", "d", 1, [entry], "utf-8")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        operations_frame("json", "d", 1, ["no entry"])  # type: ignore[list-item]
    with pytest.raises(TypeError):
        operations_frame("json", "d", 1, [None])  # type: ignore[list-item]
