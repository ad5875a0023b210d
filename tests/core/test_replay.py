"""Old texts and authors from log bodies, against the operations applied and followed one by one."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncline.core.ot.ot import Operation, apply
from syncline.core.storage.commits import Entry, encode_entries, encode_payloads, merge_bodies
from syncline.core.storage.log_body import pack_entries
from syncline.core.storage.replay import Author, Blame, Range, author_of, count_entries, growth, replay_text
from syncline.core.text.text import Text
from tests.core.log_histories import FIRST_FORM, FIRST_FORM_TEXT, history
from tests.scale import seeds

Origin = tuple[str, int]  # a character, and the revision that brought it in


def texts(entries: list[Entry]) -> list[str]:
    """The text at every revision."""
    found = [""]
    for entry in entries:
        found.append(apply(found[-1], entry.operation))
    return found


def followed(text: str, entries: list[Entry], base: int) -> list[Origin]:
    """Every character with its origin: 0 for what was there at ``base``."""
    cells: list[Origin] = [(character, 0) for character in text]
    for revision, entry in enumerate(entries, base + 1):
        after: list[Origin] = []
        at = 0
        for part in entry.in_unit("unicode").components:
            if isinstance(part, str):
                after += [(character, revision) for character in part]
            elif part > 0:
                after += cells[at : at + part]
                at += part
            else:
                at -= part
        cells = after + cells[at:]
    return cells


def bodies_of(entries: list[Entry], rng: random.Random) -> list[bytes]:
    bodies, at = [], 0
    while at < len(entries):
        size = rng.randint(1, 25)
        body = encode_entries(entries[at : at + size])
        bodies.append(pack_entries(body) if rng.random() < 0.5 else body)
        at += size
    return bodies


@given(st.integers(0, 2**32))
def test_every_revision_has_the_text_of_the_sequential_replay(seed: int) -> None:
    _, entries = history(seed)
    wanted, rng = texts(entries), random.Random(seed)
    body = encode_entries(entries)
    assert count_entries(body) == len(entries)
    for revision in range(len(entries) + 1):
        start = rng.randint(0, revision)
        text = Text(wanted[start])
        assert replay_text(text, body, start, revision - start) == revision - start
        assert str(text) == wanted[revision]
        lengths = [len(wanted[at].encode("utf-16-le")) // 2 for at in (start, revision)]
        assert growth(body, start, revision - start) == lengths[1] - lengths[0]
    text, at = Text(), 0
    for piece in bodies_of(entries, rng):
        at += replay_text(text, piece)
        assert str(text) == wanted[at]
    assert at == len(entries)


@given(st.integers(0, 2**32), st.sampled_from([0.0, 1.0, 1e9]))
def test_blame_is_what_following_every_character_says(seed: int, joined: float) -> None:
    _, entries = history(seed)
    rng = random.Random(seed)
    all_texts = texts(entries)
    base = rng.randint(0, len(entries))
    text = all_texts[-1]
    blame = Blame(len(all_texts[base].encode("utf-16-le")) // 2, base)
    cut = rng.randint(base, len(entries))
    body = encode_entries(entries)
    assert blame.fold(body, base, cut - base) == cut - base
    assert blame.fold(merge_bodies([body]), cut) == len(entries) - cut
    assert blame.revision == len(entries)
    assert len(blame) == len(text.encode("utf-16-le")) // 2
    cells = followed(all_texts[base], entries[base:], base)
    assert "".join(character for character, _ in cells) == text
    start, end = sorted((rng.randint(0, len(text)), rng.randint(0, len(text))))
    first, behind = [len(text[:at].encode("utf-16-le")) // 2 for at in (start, end)]
    wanted: list[Range] = []
    for _, revision in cells[start:end]:
        entry = entries[revision - 1] if revision else None
        one = (
            Range(1, base, None, None, 0.0)
            if entry is None
            else Range(1, revision, entry.client, entry.user, entry.time)
        )
        last = wanted[-1] if wanted else None
        if (
            last is not None
            and last.client == one.client
            and (abs(last.time - one.time) <= joined or last.revision == one.revision)
        ):
            newer = one if one.revision > last.revision else last
            wanted[-1] = newer._replace(length=last.length + 1)
        else:
            wanted.append(one)
    assert blame.ranges(first, behind, joined, text) == wanted
    in_units = blame.ranges(first, behind, joined)
    assert [one._replace(length=0) for one in in_units] == [one._replace(length=0) for one in wanted]
    at = start
    for one, whole in zip(in_units, wanted, strict=True):
        assert one.length == len(text[at : at + whole.length].encode("utf-16-le")) // 2
        at += whole.length


@given(st.integers(0, 2**32))
def test_the_author_of_every_revision(seed: int) -> None:
    _, entries = history(seed)
    body = encode_entries(entries)
    for index, entry in enumerate(entries):
        assert author_of(body, index) == Author(entry.client, entry.user, entry.seq, entry.time, entry.kind)
    for index in (-1, len(entries)):
        with pytest.raises(ValueError, match="no such operation"):
            author_of(body, index)


def test_bodies_of_the_first_form() -> None:
    text = Text()
    assert replay_text(text, FIRST_FORM) == count_entries(FIRST_FORM) == 5
    assert str(text) == FIRST_FORM_TEXT
    assert author_of(FIRST_FORM, 2) == Author("c2", "eve é", 7, 1_700_000_001.5, "edit")
    blame = Blame(0, 0)
    blame.fold(FIRST_FORM)
    lengths = [(one.length, one.revision, one.client) for one in blame.ranges(0, len(blame), 0.0, FIRST_FORM_TEXT)]
    # Revision 2 ("x") has the time and the client of revision 1.
    assert lengths == [(1, 1, "c1"), (2, 5, "c1"), (4, 2, "c1"), (1, 5, "c1"), (2, 3, "c2"), (6, 1, "c1")]


def test_what_does_not_fit_is_refused() -> None:
    body = encode_entries([Entry("a", "ada", 1, Operation([3, "x"])), Entry("a", "ada", 2, Operation([1, -3]))])
    for length in (0, 2):
        with pytest.raises(ValueError, match="damaged"):
            replay_text(Text("a" * length), body)
        with pytest.raises(ValueError, match="damaged"):
            Blame(length, 0).fold(body)
    with pytest.raises(ValueError, match="damaged"):
        replay_text(Text("ab"), body, 1, 1)
    blame = Blame(3, 7)
    assert blame.fold(body) == 2 and blame.revision == 9 and len(blame) == 1
    assert blame.ranges(0, 1) == [Range(1, 7, None, None, 0.0)]
    assert blame.fold(body, 2) == blame.fold(body, 9, 3) == 0
    for start, end in ((-1, 1), (0, 2), (1, 0)):
        with pytest.raises(ValueError, match="outside"):
            blame.ranges(start, end)
    for bad in (-1, 2**31):
        with pytest.raises(ValueError, match="out of range"):
            Blame(bad, 0)
    payloads = encode_payloads([Entry("a", "ada", 1, Operation([]))], [b"{}"])
    for call in (Blame(0, 0).fold, count_entries, lambda body: replay_text(Text(), body)):
        with pytest.raises(ValueError, match="not those of a text"):
            call(payloads)
        with pytest.raises(ValueError, match="body"):
            call(body[:-1])
    with pytest.raises(ValueError, match="negative"):
        replay_text(Text(), body, -1)


@pytest.mark.fuzz
@pytest.mark.parametrize("seed", seeds(2, 10, 40))
def test_fuzzed_bodies_with_a_right_checksum(seed: int) -> None:
    from zlib import crc32

    rng = random.Random(seed)
    sources = [encode_entries(history(number, 20)[1]) for number in range(4)]
    for _ in range(3000):
        content = bytearray(rng.choice(sources)[:-4])
        for _ in range(rng.randint(1, 3)):
            at = rng.randrange(1, len(content))
            content[at : at + rng.randint(0, 1)] = rng.choice([b"\0", b"\1", b"\x7f", b"\x80", rng.randbytes(2)])
        body = bytes(content) + crc32(content).to_bytes(4, "little")
        text, blame = Text(), Blame(0, 0)
        try:
            replay_text(text, body)
            blame.fold(body)
            author_of(body, 3)
        except ValueError:
            continue
        whole = str(text)
        assert whole.encode("utf-16-le").decode("utf-16-le") == whole
        assert len(blame) == len(text)
        assert sum(one.length for one in blame.ranges(0, len(blame), 5.0, whole)) == len(whole)
