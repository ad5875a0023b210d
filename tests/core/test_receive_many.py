"""A batch does what its operations do one by one; carets follow when they are asked for."""

from __future__ import annotations

import random
from typing import Any

import pytest

from syncline.core.documents.document import Document
from syncline.core.documents.text_type import TextType
from syncline.core.errors import ErrorCode, OutdatedRevision, SynclineError
from syncline.core.ot.ot import Operation, map_position
from syncline.core.storage.commits import encode_entries
from tests.scale import seeds


def submission(rng: random.Random, document: Document, seqs: dict[str, int]) -> tuple[Any, ...]:
    """Mostly right; sometimes a repetition, a gap, another's client, out of range, from the future, nonsense."""
    client = rng.choice("abcdef")
    seqs[client] = seqs.get(client, 0) + 1
    seq: Any = seqs[client] + rng.choice([0] * 12 + [-1, 1, 2**60])
    seqs[client] = max(seqs[client], seq) if seq < 2**59 else seqs[client]
    base = max(0, document.revision + rng.choice([0, 0, -1, -5, -30, 2]))
    size = max(1, document.length())
    at = rng.randint(1, size)
    operation: Any = rng.choice(
        [
            [at, "x"],
            [at, "💃"],
            [at, -1],
            ["y", -1],
            [-1, "z", 1, "z"],
            {"type": "insert", "position": at, "content": "w"},
            (at, "t"),
            Operation([at, "o"]),
            [],
            [at, "x", 0],
            [size + 9, "x"],
            "nonsense",
            None,
            [at, 1.5],
        ]
    )
    unit = "utf-16" if type(operation) is Operation else rng.choice(["utf-16", "unicode"])
    return client, rng.choice(["u"] * 20 + ["other"]), seq, base, operation, unit


def outcome(receive: Any, *arguments: Any) -> tuple[Any, ...]:
    try:
        receipt = receive(*arguments)
    except (SynclineError, OutdatedRevision) as error:
        return described(error)
    return described(receipt)


def described(result: Any) -> tuple[Any, ...]:
    if isinstance(result, SynclineError):
        return (result.code, result.message)
    if isinstance(result, OutdatedRevision):
        return ("outdated", result.base, result.floor)
    return (result.revision, result.duplicate, None if result.entry is None else result.entry.operation)


@pytest.mark.fuzz
@pytest.mark.parametrize("seed", seeds(8, 40, 200))
def test_the_same_as_one_by_one(seed: int) -> None:
    rng = random.Random(seed)
    one, many = (TextType().open("d", "g", max_length=200, window_operations=60) for _ in range(2))
    for document in (one, many):
        document.receive("z", "u", 1, 0, ["x" * 50])
    seqs: dict[str, int] = {}
    codes = set()
    for turn in range(60):
        batch = [submission(rng, one, seqs) for _ in range(rng.randint(0, 12))]
        results = [described(result) for result in many.receive_many(batch, float(turn))]
        expected = []
        for arguments in batch:
            expected.append(outcome(one.receive, *arguments, float(turn)))
            codes.add(expected[-1][0] if not isinstance(expected[-1][0], int) else "accepted")
            if expected[-1][0] == "outdated":
                break
        assert results == expected
        assert many.content() == one.content() and many.snapshot() == one.snapshot()
        assert [many.cursor(client) for client in "abcdefz"] == [one.cursor(client) for client in "abcdefz"]
        if turn % 5 == 0:
            one.trim()
            many.trim()
    assert encode_entries(many.since(many.floor)) == encode_entries(one.since(one.floor))
    assert len(codes) >= 6, codes


def test_an_outdated_one_stops_it() -> None:
    document = TextType().open("d", "g", window_operations=1)
    document.receive("a", "u", 1, 0, ["one"])
    document.receive("a", "u", 2, 1, ["two"])
    document.trim()
    batch: list[Any] = [
        ("b", "u", 1, 2, ["b"], "utf-16"),
        ("c", "u", 1, 0, ["far"], "utf-16"),
        ("d", "u", 1, 2, ["d"], "utf-16"),
    ]
    first, second = document.receive_many(batch)
    assert not isinstance(first, Exception) and first.revision == 3
    assert isinstance(second, OutdatedRevision) and (second.base, second.floor) == (0, 1)
    assert document.last_seq("d") == 0
    # The caller widens the window and sends the rest again.
    assert document.content() == "btwoone"


def test_what_is_no_submission_is_refused_before_anything_is_applied() -> None:
    document = TextType().open("d", "g")
    good = ("a", "u", 1, 0, ["x"], "utf-16")
    bad: list[Any] = [
        None,
        good[:5],
        list(good),
        (1, *good[1:]),
        ("b", None, *good[2:]),
        (*good[:4], Operation([]), "x"),
    ]
    for item in [*bad, (*good[:4], Operation(["x"], "unicode"), "utf-16"), (*good[:5], "bytes")]:
        with pytest.raises((TypeError, ValueError)):
            document.receive_many([good, item])
        assert document.revision == 0
    assert document.receive_many([]) == []
    [receipt] = document.receive_many([good], 4.5)
    assert not isinstance(receipt, Exception) and receipt.entry.time == 4.5
    [refused] = document.receive_many([("a", "u", 1, 0, ["y"], "utf-16")])
    assert isinstance(refused, SynclineError) and refused.code == ErrorCode.SEQUENCE_CONFLICT
    assert refused.__traceback__ is None


@pytest.mark.parametrize("window", [3, 40])
def test_carets_survive_the_trimming_of_what_moved_them(window: int) -> None:
    rng = random.Random(window)
    document = TextType().open("d", "g", window_operations=window)
    document.receive("author", "u", 1, 0, ["x" * 30])
    carets: dict[str, tuple[int, int]] = {"author": (30, 30)}
    for seq in range(2, 300):
        client = rng.choice(["author", "second"])
        at = rng.randint(1, document.length())
        base = document.revision
        parts: list[int | str] = [at, "ab"] if rng.random() < 0.6 else [at - 1, "q", -1] if at > 1 else [-1]
        receipt = document.receive(client, "u", seq, base, parts)
        operation = receipt.entry.operation
        carets = {
            name: tuple(map_position(position, operation, "left") for position in caret)  # type: ignore[misc]
            for name, caret in carets.items()
        }
        carets[client] = (operation.end, operation.end)
        if rng.random() < 0.1:
            name = rng.choice(["reader 1", "reader 2"])
            carets[name] = (rng.randint(0, document.length()), rng.randint(0, document.length()))
            document.set_cursor(name, document.revision, *carets[name])
        if rng.random() < 0.5:
            document.trim()
        if rng.random() < 0.2:
            name = rng.choice(sorted(carets))
            assert document.cursor(name) == carets[name]
    assert {name: document.cursor(name) for name in carets} == carets
