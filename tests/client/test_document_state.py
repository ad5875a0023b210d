"""The document state by itself: each cell of its table, and the answers to a join."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncline.client.code_points import TEXT, CodePoints
from syncline.client.document_state import DocumentState
from syncline.client.document_values import Change
from syncline.client.errors import BufferFull, Diverged
from syncline.core.json.json_type import JsonType
from syncline.core.ot.ot import Operation, apply, compose, invert


def op(*components: int | str) -> Operation:
    return Operation(list(components), "unicode")


def started(text: str = "abc", **limits: int) -> DocumentState:
    state = DocumentState(TEXT, "me", **limits)
    state.start("g", 7, text)
    return state


def test_nothing_is_sent_before_the_first_join() -> None:
    state = DocumentState(TEXT, "me")
    assert state.take() is None
    assert (state.content, state.settled, state.attached) == ("", True, False)


def test_one_in_flight_the_rest_composed() -> None:
    state = started()
    state.edit(op(3, "d"))
    submission = state.take()
    assert submission == (1, 7, op(3, "d"))
    state.edit(op(4, "e"))
    state.edit(op(5, "f"))
    assert state.take() is None, "one in flight"
    assert state.receive(8, "me", 1, op(3, "d")) == []
    assert state.take() == (2, 8, op(4, "ef"))
    assert state.receive(9, "me", 2, op(4, "ef")) == []
    assert (state.content, state.confirmed, state.settled, state.revision) == ("abcdef", "abcdef", True, 9)
    assert state.take() is None


def test_what_cancels_itself_is_not_sent() -> None:
    state = started()
    state.edit(op("x"))
    state.edit(op(-1))
    assert state.settled
    assert state.take() is None


def test_a_remote_operation_goes_through_what_is_on_its_way() -> None:
    state = started()
    state.edit(op(1, "X"))
    state.take()
    state.edit(op(3, "Y"))
    [change] = state.receive(8, "other", 1, op(1, "-"))
    # The own, later operation is left of what is in the history.
    assert change == Change(op(2, "-"), "remote", "other")
    assert state.content == "aX-bYc"
    state.receive(9, "me", 1, op(1, "X"))
    assert state.take() == (2, 9, op(4, "Y"))


def test_ties_go_as_on_the_server() -> None:
    state = started("")
    state.edit(op("mine"))
    state.receive(8, "other", 1, op("theirs"))
    assert state.content == "minetheirs"
    assert state.take() == (1, 8, op("mine"))


def test_a_refused_operation_is_taken_back_exactly() -> None:
    """It deleted what somebody else deletes meanwhile: taking it back must not bring that back."""
    state = started("abcdef")
    state.edit(op(1, -3, "XY"))
    state.take()
    state.edit(op(2, "|"))
    state.receive(8, "other", 1, op(2, -1))
    assert state.content == "aX|Yef"
    [change] = state.refuse(1)
    assert change.origin == "refused"
    assert state.confirmed == "abdef"
    assert sorted(state.content) == sorted("abdef|")
    following = state.take()
    assert following is not None
    assert following[:2] == (2, 8), "the number of the refused one is not used again"
    assert isinstance(following.work, Operation)
    assert apply(state.confirmed, following.work) == state.content


def test_only_what_is_in_flight_can_be_refused() -> None:
    state = started()
    assert state.refuse(1) == []
    state.edit(op("x"))
    state.take()
    assert state.refuse(2) == []
    assert state.content == "xabc"


def test_a_lost_ack_is_found_in_the_missing_operations() -> None:
    state = started()
    state.edit(op("x"))
    state.take()
    state.edit(op("y"))
    state.detach()
    assert state.take() is None
    state.attach(seq=1, missing=2)
    assert state.take() is None, "committed: it is not sent again while its entry is on the way"
    state.receive(8, "other", 4, op(3, "!"))
    state.receive(9, "me", 1, op("x"))
    assert state.take() == (2, 9, op("y"))
    assert state.content == "yxabc!"


def test_a_lost_submission_is_sent_again_at_the_new_revision() -> None:
    state = started()
    state.edit(op(1, "x"))
    state.take()
    state.detach()
    state.edit(op(2, "y"))
    state.attach(seq=0, missing=1)
    state.receive(8, "other", 4, op("!"))
    assert state.take() == (1, 8, op(2, "x")), "the same number, transformed"
    assert state.take() is None
    assert state.content == "!axybc"


def test_what_has_arrived_can_be_shown_while_away() -> None:
    state = started()
    state.hold()
    state.edit(op(3, "!"))
    state.take()
    state.receive(8, "other", 1, op("a"))
    state.receive(9, "other", 2, op("b"))
    assert (state.content, state.revision, state.known) == ("abc!", 7, 9)
    state.detach()
    state.show(8)
    assert (state.content, state.revision) == ("aabc!", 8)
    state.attach(seq=1, missing=1)
    state.receive(10, "me", 1, op(5, "!"))
    state.release()
    assert (state.content, state.confirmed, state.revision) == ("baabc!", "baabc!", 10)


def test_under_another_name_it_is_sent_only_when_it_did_not_get_in() -> None:
    state = started()
    state.edit(op("x"))
    state.take()
    state.detach()
    state.rename("me2")
    state.attach(seq=0, missing=1)
    assert state.in_doubt
    assert state.take() is None
    state.receive(8, "other", 1, op(3, "!"))
    assert state.take() is None
    state.attach(seq=0, missing=0)
    assert state.take() == (1, 8, op("x"))
    state.receive(9, "me2", 1, op("x"))
    state.edit(op("y"))
    assert state.take() == (2, 9, op("y"))


def test_under_another_name_its_old_ack_counts() -> None:
    state = started()
    state.edit(op("x"))
    state.take()
    state.edit(op("y"))
    state.detach()
    state.rename("me2")
    state.attach(seq=0, missing=1)
    state.receive(8, "me", 1, op("x"))
    assert not state.in_doubt
    assert state.take() == (1, 8, op("y"))
    assert state.content == "yxabc"


def test_known_revisions_change_nothing_and_gaps_are_noticed() -> None:
    state = started()
    assert state.receive(7, "other", 1, op("x")) == []
    assert state.receive(3, "other", 1, op("x")) == []
    assert state.content == "abc"
    with pytest.raises(Diverged):
        state.receive(9, "other", 1, op("x"))


def test_an_operation_that_does_not_fit_is_noticed() -> None:
    state = started()
    with pytest.raises(Diverged):
        state.receive(8, "other", 1, op(4, "x"))
    assert state.content == state.confirmed == "abc"


def test_an_ack_of_something_else_is_noticed() -> None:
    state = started()
    state.edit(op("x"))
    state.take()
    with pytest.raises(Diverged):
        state.receive(8, "me", 1, op("y"))
    same = started("aab")
    same.edit(op(-1))
    same.take()
    same.receive(8, "me", 1, op(1, -1))  # says it otherwise, with the same text
    assert same.settled
    assert same.confirmed == same.content == "ab"


def test_starting_anew_hands_the_work_over() -> None:
    state = started()
    state.edit(op("x"))
    state.take()
    state.edit(op(4, "y"))
    [change], lost = state.start("g2", 3, "other")
    assert change.origin == "reset"
    assert apply("xabcy", change.operation) == state.content == "other"
    assert lost == ("xabcy", "abc", [op("x"), op(4, "y")])
    assert state.settled
    assert state.start("g2", 3, "other") == ([], None)


def test_edits_beyond_the_bound_are_refused_and_change_nothing() -> None:
    state = started("", pending_limit=10)
    state.edit(op("12345678"))
    with pytest.raises(BufferFull):
        state.edit(op("abc"))
    assert state.content == "12345678"
    state.take()
    state.edit(op("abc"))  # what is in flight waits no more


def test_requests_that_wait_count_for_the_bound() -> None:
    """A key held down does not fill the memory: 1,024 by default, as in the browser client; first contents by their size besides."""
    state = started("")
    for _ in range(1024):
        state.request("undo")
    with pytest.raises(BufferFull):
        state.request("undo")
    with pytest.raises(BufferFull):
        state.edit(op("a"))
    assert len(state.queue) == 1024 and state.content == ""
    state.take()
    state.request("redo")  # what is in flight waits no more
    state = started("", pending_limit=8192)
    with pytest.raises(BufferFull):
        state.request("initialize", content="x" * 5000)
    assert state.settled
    state.edit(op("a" * 4000))
    state.edit(op(-4000, "b"))  # what is composed away makes room
    state.request("initialize", content="x" * 4000)
    assert len(state.queue) == 2


def test_cursors_follow_as_on_the_server() -> None:
    state = started("abc")
    state.place_cursor("other", 1, 3)
    state.place_cursor("far", 99, 99)
    assert state.cursor("far") == (3, 3)
    state.edit(op("xx"))
    assert state.cursor("other") == (3, 5)
    assert state.carets.at["other"] == (1, 3)
    state.receive(8, "third", 1, op(2, "-"))
    assert state.carets.at["other"] == (1, 4)
    assert state.carets.at["third"] == (3, 3)
    state.place_cursor("other", None, None)
    assert state.cursor("other") is None


PIECES = st.lists(
    st.one_of(st.integers(1, 5), st.integers(-5, -1), st.text("ab🙂", min_size=1, max_size=12)), min_size=1, max_size=8
)


@given(PIECES, st.integers(2, 15))
def test_pieces_compose_to_the_whole(components: list[int | str], limit: int) -> None:
    whole = op(*components)
    text = "0123456789" * 8
    pieces = TEXT.split(whole, limit)
    assert len(pieces) < 200
    composed = pieces[0]
    for piece in pieces[1:]:
        composed = compose(composed, piece)
    result = text
    for piece in pieces:
        assert sum(len(part) for part in piece.components if isinstance(part, str)) <= limit
        result = apply(result, piece)
    assert result == apply(text, whole) == apply(text, composed)


@given(st.text("aé🙂", max_size=12), st.data())
def test_code_points_invert(text: str, data: st.DataObject) -> None:
    components: list[int | str] = []
    left = len(text)
    while left and data.draw(st.booleans()):
        count = data.draw(st.integers(1, left))
        components.append(count if data.draw(st.booleans()) else -count)
        left -= count
        if data.draw(st.booleans()):
            components.append(data.draw(st.text("x𝄞", min_size=1, max_size=3)))
    operation = op(*components)
    points = CodePoints(text)
    inverse = points.invert(operation)
    assert inverse == invert(operation, text)
    points.apply(operation)
    assert str(points) == apply(text, operation)
    assert len(points) == len(str(points))
    points.apply(inverse)
    assert str(points) == text
    assert all(points.slice(at, at + 2) == text[at : at + 2] for at in range(max(len(text) - 1, 0)))


def test_a_request_waits_its_turn() -> None:
    state = started()
    state.edit(op("x"))
    undo = state.request("undo")
    state.edit(op(4, "y"))
    assert state.take() == (1, 7, op("x"))
    assert state.receive(8, "me", 1, op("x")) == []
    assert state.take() == (2, 8, undo)
    assert state.take() is None, "one in flight"
    [change] = state.receive(9, "me", 2, op(-1), "undo")
    assert change == Change(op(-1), "undo", "me")
    assert (state.content, state.finished, state.can_redo) == ("abcy", [(undo, True)], 0)
    assert state.take() == (3, 9, op(3, "y"))


def test_a_request_that_had_nothing_to_do() -> None:
    state = started()
    redo = state.request("redo")
    state.take()
    assert state.refuse(1) == []
    assert state.finished == [(redo, False)]
    assert state.settled


def test_several_operations_in_one_are_not_as_one_after_another() -> None:
    """The server went step by step: what it made of the own operation is right. Without composites it is a fault."""
    for kind in ("composed", "single"):
        state = started("ab")
        state.edit(op(2, "x"))
        state.take()
        state.edit(op(3, "!"))
        state.receive(9, "", 0, op("B", -2), "edit", 2) if kind == "composed" else state.receive(8, "o", 1, op("B", -2))
        assert state.content == "Bx!"
        if kind == "single":
            with pytest.raises(Diverged):
                state.receive(9, "me", 1, op("x"))
            continue
        [change] = state.receive(10, "me", 1, op("x"))
        assert change.origin == "remote"
        assert (state.content, state.confirmed) == ("xB!", "xB")
        assert state.in_flight is None


def test_a_text_with_the_pending_edits_goes_under_what_is_typed_meanwhile() -> None:
    state = started("abc")
    state.edit(op(1, "X"))
    state.take()
    state.edit(op(4, "Y"))
    state.detach()
    assert state.tell_pending() == [(1, op(1, "X")), (None, op(4, "Y"))]
    state.edit(op("meanwhile "))
    state.adopt(50, "--abc--", 0, [op(3, "X"), op(6, "Y")])
    assert state.content == "meanwhile --aXbcY--"
    submission = state.take()
    assert submission is not None
    assert submission[:2] == (2, 50), "another number: the server had it in another form"
    assert [submission.work, *state.queue] == [op(3, "X"), op(6, "Y"), op("meanwhile ")], "steps of their own"


def test_steps_that_wait_become_one_where_they_are_smallest() -> None:
    """A join that tells them costs the server little of what it has for each: of the largest it could be too much."""
    kind = JsonType()
    state = DocumentState(kind, "me")
    state.start("g", 0, {"list": []})
    state.detach()
    for number in range(1000):
        state.edit(kind.parse([{"p": ["list", 0], "li": number}]))
    sizes = [len(kind.describe(step)) for step in state.queue]
    assert (len(sizes), sum(sizes)) == (15, 1000) and max(sizes) <= 200, sizes
