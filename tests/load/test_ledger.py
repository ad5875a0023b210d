"""The ledger beside an obvious one: sets and lists."""

from __future__ import annotations

import random

import pytest

from syncline.load.ledger import LEAST_PAYLOAD, Ledger


def counts(ledger: Ledger) -> dict[str, int]:
    names = ("delivered", "completed", "gaps", "duplicates", "late", "corrupt", "stray")
    return {name: value for name in names if (value := getattr(ledger, name))}


def test_everything_to_everybody() -> None:
    ledger = Ledger(2, 3, 2, 64, depth=4)
    for time in range(10):
        for publisher in range(4):
            payload = ledger.message(publisher, time)
            assert len(payload) == 64 and payload.isascii() and payload.decode().isprintable()
            assert b'"' not in payload and b"\\" not in payload
            room = publisher // 2
            told = [ledger.deliver(room * 3 + member, payload, time + 5 + member) for member in range(3)]
            assert told == [-1, -1, publisher]
    assert counts(ledger) == {"delivered": 120, "completed": 40}
    assert (ledger.published, ledger.missing(), ledger.disordered()) == (40, 0, 0)
    assert (ledger.each.count, ledger.each.minimum, ledger.each.maximum) == (120, 5, 7)
    assert (ledger.last.count, ledger.last.minimum, ledger.last.maximum) == (40, 7, 7)


def test_a_gap_is_seen_and_a_late_one_fills_it() -> None:
    ledger = Ledger(1, 1, 1, 40, depth=8)
    sent = [ledger.message(0, 0) for _ in range(4)]
    ledger.deliver(0, sent[0], 0)
    ledger.deliver(0, sent[3], 0)
    assert counts(ledger) == {"delivered": 2, "completed": 2, "gaps": 2}
    assert ledger.missing() == 2
    ledger.deliver(0, sent[2], 0)
    assert counts(ledger) == {"delivered": 3, "completed": 3, "gaps": 1, "late": 1}
    ledger.deliver(0, sent[2], 0)
    assert counts(ledger) == {"delivered": 3, "completed": 3, "gaps": 1, "late": 1, "duplicates": 1}


def test_what_is_not_as_it_was_sent() -> None:
    ledger = Ledger(2, 1, 1, 80)
    payload = ledger.message(0, 7)
    for at in range(len(payload)):
        if LEAST_PAYLOAD - 16 <= at < LEAST_PAYLOAD:
            continue  # the time: any is one
        for bad in (b"\x00", b"~", b"z" if payload[at : at + 1] != b"z" else b"y"):
            changed = payload[:at] + bad + payload[at + 1 :]
            if changed != payload:
                assert ledger.deliver(0, changed, 9) == -1
    seen = ledger.corrupt
    assert counts(ledger) == {"corrupt": seen} and seen > 150
    ledger.deliver(0, payload[:-1], 9)
    ledger.deliver(0, payload.replace(b"00000000" * 2, b"0000000000000001", 1), 9)  # never sent
    assert ledger.corrupt == seen + 2
    ledger.deliver(1, payload, 9)
    assert ledger.stray == 1
    assert ledger.deliver(0, payload, 9) == 0


def test_another_order_for_one_member_is_seen() -> None:
    ledger = Ledger(2, 2, 2, 40)
    for room in range(2):
        first, second = ledger.message(room * 2, 0), ledger.message(room * 2 + 1, 0)
        orders = [(first, second), (second, first) if room else (first, second)]
        for member, order in enumerate(orders):
            for payload in order:
                ledger.deliver(room * 2 + member, payload, 0)
    assert (ledger.missing(), ledger.disordered()) == (0, 1)


def test_a_message_that_is_given_up_is_counted() -> None:
    ledger = Ledger(1, 2, 1, 40, depth=2)
    sent = [ledger.message(0, 0) for _ in range(3)]
    assert ledger.overrun == 1
    for payload in sent:
        ledger.deliver(0, payload, 0)
    assert [ledger.deliver(1, payload, 0) for payload in sent] == [-1, 0, 0]
    assert counts(ledger) == {"delivered": 6, "completed": 2}


def test_beside_an_obvious_ledger() -> None:
    chance = random.Random(7)
    for _ in range(60):
        ledger = Ledger(1, 2, 2, 40, depth=256)
        sent: list[tuple[int, int, bytes]] = []
        numbers = [0, 0]
        had: list[list[set[int]]] = [[set(), set()], [set(), set()]]
        duplicates = 0
        for _ in range(120):
            if not sent or chance.random() < 0.4:
                publisher = chance.randrange(2)
                sent.append((publisher, numbers[publisher], ledger.message(publisher, 0)))
                numbers[publisher] += 1
                continue
            publisher, number, payload = chance.choice(sent[-20:])
            member = chance.randrange(2)
            duplicates += number in had[member][publisher]
            had[member][publisher].add(number)
            ledger.deliver(member, payload, 0)
        delivered = sum(len(one) for member in had for one in member)
        skipped = sum(max(one, default=-1) + 1 - len(one) for member in had for one in member)
        complete = sum(len(had[0][publisher] & had[1][publisher]) for publisher in range(2))
        assert (ledger.delivered, ledger.duplicates, ledger.gaps) == (delivered, duplicates, skipped)
        assert (ledger.completed, ledger.missing()) == (complete, 2 * len(sent) - delivered)


@pytest.mark.parametrize(
    "numbers",
    [(0, 1, 1, 40), (1, 0, 1, 40), (1, 1, 0, 40), (1, 1, 2, 40), (1, 1, 1, 34), (1, 1, 1, 40, 0), (1, 1, 1, 40, 2**25)],
)
def test_numbers_that_make_no_sense(numbers: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"^(a ledger needs|a payload has|so many members)"):
        Ledger(*numbers)


def test_publishers_and_members_that_are_none() -> None:
    ledger = Ledger(1, 2, 1, 40)
    for publisher in (-1, 1):
        with pytest.raises(IndexError):
            ledger.message(publisher, 0)
    for member in (-1, 2):
        with pytest.raises(IndexError):
            ledger.deliver(member, bytes(40), 0)
