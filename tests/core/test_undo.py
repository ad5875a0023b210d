"""Undo: groups, bounds, what others do to it, snapshots. The laws on random schedules are in test_undo_laws.py."""

from __future__ import annotations

import copy
import gc
import random
from typing import Any

import pytest

from syncline.core.documents.steps import Steps, live_steps
from syncline.core.documents.undo import Undo
from syncline.core.ot.ot import Operation, apply, invert


class Desk:
    """A text with its stacks."""

    def __init__(self, text: str = "", **bounds: Any) -> None:
        self.text = text
        self.undo = Undo(Steps(), **bounds)
        self.time = 0.0

    def edit(self, client: str, components: list[int | str], after: float = 0.1, kind: Any = "edit") -> None:
        self.time += after
        operation = Operation(components)
        self.undo.record(client, "user", kind, operation, invert(operation, self.text), self.time)
        self.text = apply(self.text, operation)

    def type(self, client: str, at: int, text: str, after: float = 0.1) -> None:
        for offset, char in enumerate(text):
            self.edit(client, [at + offset, char] if at + offset else [char], after)

    def flip(self, client: str, kind: Any = "undo") -> str | None:
        """The text after it; None when there is nothing to do."""
        operation = self.undo.operation(client, "user", kind)
        if operation is None:
            return None
        self.undo.record(client, "user", kind, operation, invert(operation, self.text), self.time)
        self.text = apply(self.text, operation)
        return self.text


class TestOthers:
    def test_nothing_to_do(self) -> None:
        desk = Desk("abc")
        assert desk.flip("a") is None and desk.flip("a", "redo") is None
        desk.edit("b", ["x"])
        assert desk.flip("a") is None and desk.flip("b", "redo") is None

    def test_text_of_others_inside_stays(self) -> None:
        desk = Desk()
        desk.edit("a", ["a long enough text"])
        desk.edit("b", [2, "(b) "])
        assert desk.flip("a") == "(b) "
        assert desk.flip("a", "redo") == "a (b) long enough text"
        assert desk.flip("b") == "a long enough text"

    def test_a_deletion_brings_back_only_what_it_took(self) -> None:
        desk = Desk("one two three")
        desk.edit("b", [4, -4])
        desk.edit("a", [2, -5])
        assert desk.text == "onee"
        assert desk.flip("a") == "one three"

    def test_what_another_has_deleted_is_no_longer_ours(self) -> None:
        desk = Desk()
        desk.edit("a", ["mine"])
        desk.edit("b", [-4])
        assert desk.flip("a") is None
        assert desk.undo.depth("a") == (1, 0)  # nothing was committed, so nothing has changed
        assert desk.flip("b") == "mine"
        assert desk.flip("a") is None  # it is b's now

    def test_the_next_group_when_nothing_is_left_of_one(self) -> None:
        desk = Desk()
        desk.edit("a", ["first "], after=5)
        desk.edit("a", [6, "second"], after=5)
        desk.edit("b", [6, -6])
        assert desk.flip("a") == ""
        assert desk.undo.depth("a") == (0, 1)
        assert desk.flip("a", "redo") == "first "

    def test_an_inverse_knows_the_context_of_the_one_below(self) -> None:
        """Insert abc, delete b, undo, undo: nothing of it is left, whatever others did in between."""
        desk = Desk()
        desk.edit("a", ["abc"], after=5)
        desk.edit("b", ["<"])
        desk.edit("a", [2, -1], after=5)
        desk.edit("b", [2, "-"])
        assert desk.text == "<a-c"
        assert desk.flip("a") == "<ab-c"
        desk.edit("b", [2, "+"])
        assert desk.flip("a") == "<+-"
        assert desk.flip("a", "redo") == "<a+b-c"

    def test_an_edit_forgets_what_could_be_redone(self) -> None:
        desk = Desk()
        desk.edit("a", ["one"], after=5)
        desk.flip("a")
        desk.edit("b", ["b"])
        assert desk.undo.depth("a") == (0, 1)
        desk.edit("a", [1])  # nothing, not an edit
        assert desk.undo.depth("a") == (0, 1)
        desk.edit("a", ["two"], after=5)
        assert desk.undo.depth("a") == (1, 0) and desk.flip("a", "redo") is None

    def test_a_client_id_under_another_user_starts_anew(self) -> None:
        desk = Desk()
        desk.edit("a", ["secret"])
        assert desk.undo.operation("a", "somebody else", "undo") is None
        desk.undo.record("a", "somebody else", "edit", Operation(["x"]), Operation([-1]))
        desk.text = "x" + desk.text
        assert desk.undo.operation("a", "user", "undo") is None
        assert desk.undo.operation("a", "somebody else", "undo") == Operation([-1])
        assert desk.undo.depth("a") == (1, 0)

    def test_a_restored_text_is_one_group(self) -> None:
        desk = Desk("abc")
        desk.edit("a", [3, "d"])
        desk.edit("a", [4, "e"], kind="restore")
        desk.edit("a", [5, "f"])
        assert [desk.flip("a") for _ in range(4)] == ["abcde", "abcd", "abc", None]

    def test_a_group_under_way_is_left_alone_by_others(self) -> None:
        desk = Desk("--")
        for index, char in enumerate("word"):
            desk.edit("a", [1 + 2 * index, char])
            desk.edit("b", ["<"])
        assert desk.text == "<<<<-word-" and desk.undo.depth("a") == (1, 0)
        desk.edit("b", [7, "+"])
        assert desk.flip("a") == "<<<<-+-"
        assert desk.flip("a", "redo") == "<<<<-wo+rd-"


class TestGroups:
    def groups(self, desk: Desk, client: str = "a") -> list[str]:
        """The texts that undoing leads through."""
        texts = []
        while (text := desk.flip(client)) is not None:
            texts.append(text)
        return texts

    def test_words(self) -> None:
        desk = Desk()
        desk.type("a", 0, "one two  three\nfour")
        assert self.groups(desk) == ["one two  three\n", "one two  ", "one ", ""]
        assert [desk.flip("a", "redo") for _ in range(4)] == [
            "one ",
            "one two  ",
            "one two  three\n",
            "one two  three\nfour",
        ]

    def test_deleting_words(self) -> None:
        desk = Desk("one two three")
        for length in range(13, 0, -1):
            desk.edit("a", [length - 1, -1] if length > 1 else [-1])
        assert self.groups(desk) == ["one", "one two", "one two three"]

    def test_deleting_forwards(self) -> None:
        desk = Desk("one two")
        for _ in range(7):
            desk.edit("a", [-1])
        assert self.groups(desk) == ["two", "one two"]

    @pytest.mark.parametrize(
        ("second", "after", "joined"),
        [
            ([3, "d"], 0.1, True),
            ([3, "d"], 1.0, True),
            ([3, "d"], 1.01, False),
            ([3, "d"], -0.01, False),
            ([3, " "], 0.1, True),
            ([3, "defghijklmnopqr"], 0.1, True),
            ([3, "defghijklmnopqrst"], 0.1, False),
            ([2, "d"], 0.1, False),
            (["d"], 0.1, False),
            ([3, "d", -1], 0.1, False),
            ([2, -1], 0.1, False),
            (["x", 3, "d"], 0.1, False),
        ],
    )
    def test_typing_goes_on(self, second: Any, after: float, joined: bool) -> None:
        desk = Desk("!")
        desk.time = 100.0
        desk.edit("a", ["abc"])
        desk.edit("a", second, after)
        assert desk.undo.depth("a") == (1 if joined else 2, 0)

    @pytest.mark.parametrize(
        ("second", "joined"),
        [([3, -1], True), ([2, -1], True), ([3, -2], True), ([1, -1], False), ([4, -1], False), ([3, "x"], False)],
    )
    def test_deleting_goes_on(self, second: Any, joined: bool) -> None:
        desk = Desk("abcdefgh")
        desk.edit("a", [3, -1])
        desk.edit("a", second)
        assert desk.undo.depth("a") == (1 if joined else 2, 0)

    def test_a_paste_is_a_group(self) -> None:
        desk = Desk()
        desk.type("a", 0, "ab")
        desk.edit("a", [2, "p" * 17])
        desk.type("a", 19, "cd")
        assert self.groups(desk) == ["ab" + "p" * 17, "ab", ""]

    def test_typing_after_an_undo_is_a_new_group(self) -> None:
        desk = Desk()
        desk.type("a", 0, "ab cd")
        desk.flip("a")
        desk.type("a", 3, "ef")
        assert self.groups(desk) == ["ab ", ""]

    def test_others_move_the_place_where_it_goes_on(self) -> None:
        desk = Desk("xyz")
        desk.edit("a", [3, "a"])
        desk.edit("b", ["!!"])
        desk.edit("b", [2, -2])
        desk.edit("a", [4, "b"])
        assert desk.undo.depth("a") == (1, 0) and desk.text == "!!zab"

    def test_no_group_is_endless(self) -> None:
        desk = Desk()
        desk.type("a", 0, "x" * 100)
        assert self.groups(desk) == ["x" * 96, "x" * 64, "x" * 32, ""]


class TestBounds:
    def test_groups_of_a_client(self) -> None:
        desk = Desk(groups=3)
        for index in range(5):
            desk.edit("a", ["x"], after=5)
            desk.edit("b", [index + 1, "y"], after=5)
        assert (desk.undo.depth("a"), desk.undo.depth("b"), desk.undo.dropped) == ((3, 0), (3, 0), 4)
        for _ in range(3):
            desk.flip("a")
        assert desk.flip("a") is None and desk.text == "xxyyyyy"
        assert desk.undo.depth("a") == (0, 3)

    def test_none_at_all(self) -> None:
        desk = Desk(groups=0)
        desk.edit("a", ["x"])
        assert desk.flip("a") is None and desk.undo.bytes == 0 and desk.undo.snapshot() == b""

    def test_bytes_of_a_document(self) -> None:
        desk = Desk(max_bytes=10_000)
        for index in range(40):
            desk.edit("ab"[index % 2], ["x" * 1000], after=5)
            desk.edit("ab"[index % 2], [-1000], after=5)
            assert desk.undo.bytes <= 10_000
        assert desk.undo.dropped > 50
        assert 1 <= sum(desk.undo.depth("a")) < 20
        assert desk.flip("b") == "x" * 1000  # the newest are there
        desk.edit("a", ["y" * 20_000])
        desk.edit("a", [-20_000])
        assert desk.undo.depth("a") == desk.undo.depth("b") == (0, 0) and desk.undo.bytes == 0

    def test_the_oldest_go_first(self) -> None:
        desk = Desk(max_bytes=6000)
        desk.edit("old", ["x"])
        for _ in range(30):
            desk.edit("new", ["y"], after=5)
        assert desk.undo.depth("old") == (0, 0) and desk.undo.depth("new")[0] > 3

    def test_how_far_back(self) -> None:
        desk = Desk(history=300)
        desk.edit("a", ["a"])
        desk.edit("b", ["b"], after=5)
        for _ in range(250):
            desk.edit("b", ["b"], after=5)
        assert desk.undo.depth("a") == (1, 0)
        for _ in range(300):
            desk.edit("b", ["b"], after=5)
        assert desk.undo.depth("a") == (0, 0) and desk.undo.depth("b") == (100, 0)

    def test_one_author_costs_no_log(self) -> None:
        desk = Desk()
        for index in range(1000):
            desk.edit("a", [index, "x", "y"] if index else ["x"], after=5)
        assert desk.undo.bytes < 100 * 400
        alone = desk.undo.bytes
        for index in range(1000):
            desk.edit("b", [index + 1, "xy"], after=5)
        assert alone + 100 * 400 < desk.undo.bytes < alone + 100 * 400 + 1000 * 50

    def test_none_is_left_behind(self) -> None:
        gc.collect()
        before = live_steps()
        desk = Desk()
        for index in range(10):
            desk.edit("ab"[index % 2], ["x"], after=5)
        for _ in range(3):
            desk.flip("a")
        assert live_steps() > before
        del desk
        gc.collect()
        assert live_steps() == before


class TestRecord:
    def test_what_the_stacks_do_not_explain_empties_them(self) -> None:
        desk = Desk("abc")
        desk.edit("a", ["x"], after=5)
        desk.edit("b", ["y"], after=5)
        desk.edit("a", [2, -1], kind="undo")
        assert desk.undo.depth("a") == (0, 0) and desk.undo.depth("b") == (1, 0)
        assert desk.flip("b") == "xbc"
        desk.edit("c", [-1], kind="redo")
        assert desk.undo.depth("c") == (0, 0)

    def test_asking_changes_nothing(self) -> None:
        desk = Desk()
        desk.edit("a", ["one"], after=5)
        desk.edit("b", ["b"])
        body = desk.undo.snapshot()
        for kind in ("undo", "redo"):
            desk.undo.operation("a", "user", kind)
            desk.undo.operation("a", "user", kind)
        assert desk.undo.snapshot() == body
        desk.edit("b", ["b"])  # the answer above is not for this head
        assert desk.flip("a") == "bb"

    def test_wrong_arguments(self) -> None:
        undo = Undo(Steps())
        with pytest.raises(ValueError, match="utf-16"):
            undo.record("a", "u", "edit", Operation(["x"], "unicode"), Operation([-1]))
        with pytest.raises(ValueError, match="kind"):
            undo.operation("a", "u", "edit")  # type: ignore[arg-type]
        with pytest.raises(ValueError):
            undo.record("a", "u", "nonsense", Operation(["x"]), Operation([-1]))  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="snapshot"):
            copy.copy(undo)


class TestSnapshot:
    def filled(self) -> Desk:
        desk = Desk("a💃")
        desk.edit("a", ["one 💃 "], after=5)
        desk.edit("b", [7, "two"], after=5)
        desk.edit("b", [-3], after=5)
        desk.edit("c", ["x"])
        desk.flip("b")
        desk.edit("a", [1, "y"])
        desk.flip("b")
        return desk

    def test_round_trip(self) -> None:
        desk = self.filled()
        body = desk.undo.snapshot()
        again = Undo(Steps())
        again.restore(desk.undo.revision, body)
        assert again.snapshot() == body and again.bytes == desk.undo.bytes and again.revision == 7
        for client in "abc":
            assert again.depth(client) == desk.undo.depth(client)
            for kind in ("undo", "redo"):
                assert again.operation(client, "user", kind) == desk.undo.operation(client, "user", kind)

    def test_empty(self) -> None:
        assert Undo(Steps()).snapshot() == b""
        desk = self.filled()
        desk.undo.restore(9, b"")
        assert (desk.undo.revision, desk.undo.bytes, desk.undo.depth("a")) == (9, 0, (0, 0))
        off = Undo(Steps(), groups=0)
        off.restore(7, self.filled().undo.snapshot())
        assert off.bytes == 0

    def test_a_group_goes_on_after_it(self) -> None:
        desk = Desk()
        desk.type("a", 0, "wo")
        body = desk.undo.snapshot()
        desk.undo = Undo(Steps())
        desk.undo.restore(2, body)
        desk.type("a", 2, "rd")
        assert desk.flip("a") == ""

    @pytest.mark.parametrize(("before", "after", "left"), [("one ", "two", "one "), ("x" * 30, "xxxx", "x" * 32)])
    def test_a_group_ends_after_it_where_it_would_have(self, before: str, after: str, left: str) -> None:
        desk = Desk()
        desk.type("a", 0, before)
        body = desk.undo.snapshot()
        desk.undo = Undo(Steps())
        desk.undo.restore(len(before), body)
        desk.type("a", len(before), after)
        assert desk.flip("a") == left

    def test_damage_is_noticed(self) -> None:
        body = self.filled().undo.snapshot()
        undo = Undo(Steps())
        undo.restore(7, body)
        for end in range(1, len(body)):
            with pytest.raises(ValueError, match=r"damaged|utf-8"):
                undo.restore(7, body[:end])
        for bad in (body + b"\0", b"\2" + body[1:], body[:1] + b"\xff" * 12):
            with pytest.raises(ValueError, match="damaged"):
                undo.restore(7, bad)
        with pytest.raises(ValueError, match="damaged"):
            undo.restore(3, body)
        assert undo.snapshot() == body


@pytest.mark.fuzz
def test_fuzzed_snapshots() -> None:
    """The checksum is around it: whoever gets past that still does no harm."""
    choices = random.Random(7)
    source = TestSnapshot().filled()
    body, accepted = source.undo.snapshot(), 0
    for _ in range(5000):
        content = bytearray(body)
        for _ in range(choices.randint(1, 3)):
            content[choices.randrange(len(content))] = choices.choice(
                [0, 1, 2, 4, 127, 128, 255, choices.randrange(256)]
            )
        undo = Undo(Steps())
        try:
            undo.restore(7, bytes(content))
        except ValueError:
            continue
        accepted += 1
        for client in "abc":
            for kind in ("undo", "redo"):
                operation = undo.operation(client, "user", kind)
                if operation is not None:
                    undo.record(client, "user", kind, operation, Operation(["x"]))
        assert undo.snapshot() is not None
    assert accepted > 50
