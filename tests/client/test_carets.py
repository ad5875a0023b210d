"""The others' cursors, told of a revision that is here, to come, or past (as places.test.js)."""

from __future__ import annotations

from typing import Any

import pytest

from syncline.client import carets
from syncline.client.code_points import TEXT
from syncline.client.document_state import DocumentState
from syncline.core.types import DOCUMENT_TYPES


class Told:
    """A client's state, and what the server tells it of bob's cursor."""

    def __init__(self, kind: str, content: Any) -> None:
        self.kind = TEXT if kind == "text" else DOCUMENT_TYPES[kind]
        self.state = DocumentState(self.kind, "ada")
        self.state.start("g", 0, content)

    def commits(self, revision: int, client: str, operation: Any, span: int = 1) -> None:
        self.state.receive(revision, client, revision, self.kind.parse(operation), "edit", span)

    def cursor(self, revision: int, anchor: Any, head: Any = None) -> None:
        self.state.place_cursor("bob", anchor, anchor if head is None else head, revision)

    @property
    def place(self) -> Any:
        return self.state.cursor("bob")


def test_one_of_a_revision_that_has_not_come_waits_for_it() -> None:
    told = Told("text", "")
    told.cursor(2, 4, 6)
    told.commits(1, "zoe", ["0123456789"])
    assert told.place is None
    told.commits(2, "zoe", ["ab"])
    assert told.place == (4, 6), "it knows that edit"
    told.commits(3, "zoe", ["!"])
    assert told.place == (5, 7)
    told.cursor(9, 1)
    told.cursor(3, 2)  # the newest is what counts
    for revision in range(4, 11):
        told.commits(revision, "zoe", ["."])
    assert told.place == (9, 9)
    told.cursor(12, 1)
    told.commits(12, "zoe", ["xy"], 2)
    assert told.place == (1, 1), "several in one"


def test_one_of_a_revision_that_has_passed_is_moved_on() -> None:
    told = Told("text", "")
    told.commits(1, "zoe", ["0123456789"])
    told.commits(2, "zoe", ["ab"])
    told.commits(3, "zoe", [4, -3])
    told.cursor(1, 1, 8)
    assert told.place == (3, 7)
    told.commits(4, "bob", [1, "mine"])
    told.cursor(2, 7)
    assert told.place == (5, 5), "what it typed since says where it is"
    told.cursor(0, 0)
    assert told.place == (5, 5)
    told.cursor(4, 99)
    assert told.place == (13, 13)


def test_one_that_was_held_back_is_moved_over_what_is_let_in() -> None:
    told = Told("text", "abc")
    told.state.hold()
    told.commits(1, "zoe", ["--"])
    told.commits(2, "zoe", ["+"])
    told.cursor(1, 3)
    assert told.place is None
    told.state.release()
    assert told.place == (4, 4)


def test_in_a_rich_text_and_by_path_in_json() -> None:
    rich = Told("rich-text", [{"insert": "abc"}])
    rich.commits(1, "zoe", [{"insert": "xy"}])
    rich.cursor(0, 1)
    assert rich.place == (3, 3)
    tree = Told("json", {"items": ["a", "b"]})
    tree.commits(1, "zoe", [{"p": ["items", 0], "li": "new"}])
    tree.cursor(0, tree.kind.parse_position(["items", 1, 1]))
    assert [*tree.place[0]] == ["items", 2, 1]


def test_what_is_kept_for_that_is_bounded_in_number_and_in_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carets, "MOST_PASSED", 4)
    monkeypatch.setattr(carets, "PASSED_BULK", 100)
    told = Told("text", "")
    for revision in range(1, 10):
        told.commits(revision, "zoe", ["."])
    told.cursor(0, 0)
    told.cursor(5, 1)
    assert told.place == (5, 5), "over the last four"
    told.commits(10, "zoe", ["x" * 98])
    told.cursor(8, 1)
    assert told.place == (99, 99), "over the last one: with another it was too large"
    told.commits(11, "zoe", ["y" * 100])
    told.cursor(10, 1)
    assert told.place == (1, 1)
    told.commits(12, "zoe", ["z"])
    told.cursor(11, 1)
    assert told.place == (2, 2)
