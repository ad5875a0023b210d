"""The histories of ``syncline.testing.editing``: they are what they should be, and the core gives the texts they say."""

from __future__ import annotations

import gzip
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from syncline.core.documents.text_type import TextType
from syncline.core.ot.ot import Operation
from syncline.testing.cells import past
from syncline.testing.editing import History, generate
from tests.oracle.editing import fold
from tests.oracle.editing import views as seen_by

SEEDS = range(300)


def small(seed: int) -> History:
    return generate(seed, 30 + seed % 40, 2 + seed % 4)


def size(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def apply_plainly(history: History) -> str:
    """Of one author."""
    text: list[str] = []
    for transaction in history.transactions:
        for position, deleted, inserted in transaction.patches:
            assert 0 <= position <= position + deleted <= len(text)
            text[position : position + deleted] = inserted
    return "".join(text)


def served(history: History) -> str:
    """The server's text, of clients that transform as little as they may, so that the server has the most to do."""
    document = TextType().open("doc", "1")
    facts = fold(history)
    for seq, (submission, committed) in enumerate(zip(facts.submissions, facts.committed, strict=True), 1):
        client = f"client {submission.agent}"
        entry = document.receive(client, client, seq, submission.base, submission.operation, "unicode").entry
        assert entry is not None and entry.in_unit("unicode") == Operation(committed, "unicode")
    return document.content()


def test_the_same_on_every_python() -> None:
    """All chance is ``Random.random()``: these sums are the same in every version from 3.11 on, on every machine."""
    sums = [
        hashlib.sha256(json.dumps(generate(*which).as_trace(), ensure_ascii=True).encode()).hexdigest()[:16]
        for which in ((1, 2_000, 1), (2, 2_000, 2), (3, 2_000, 5))
    ]
    assert sums == ["9cb515eea2ca3940", "a232f339548d70bd", "4f464a1e0f329dda"]


def test_another_seed_is_another_history() -> None:
    assert len({generate(seed, 50, 2).end for seed in range(50)}) == 50


def test_one_author() -> None:
    for seed in SEEDS:
        history = generate(seed, 1 + seed, 1)
        assert history.edits == 1 + seed
        assert apply_plainly(history) == history.end


def test_several_authors_by_a_model_and_by_transformation() -> None:
    """The characters of ``cells`` and the oracle's transforms have nothing in common but the result."""
    for seed in SEEDS:
        history = small(seed)
        assert history.edits == 30 + seed % 40
        assert fold(history).text == history.end, seed


def test_the_server_gives_that_text() -> None:
    for seed in SEEDS:
        history = small(seed)
        assert served(history) == history.end, seed


@pytest.mark.full
@pytest.mark.timeout(0)
def test_the_same_with_more_and_longer_ones() -> None:
    for seed in range(1_000, 1_300):
        history = generate(seed, 50 + seed % 300, 2 + seed % 6)
        assert served(history) == history.end, seed


def test_what_is_in_them() -> None:
    """What makes collaborative editing hard is there, and not by accident only."""
    concurrent = ties = crossed = count = 0
    for seed in range(100):
        history = small(seed)
        facts = fold(history)
        count += len(history.transactions)
        concurrent += facts.concurrent
        ties += facts.ties
        crossed += facts.crossed
    assert concurrent > count // 3
    assert ties > count // 10
    assert crossed >= 5


@pytest.mark.parametrize("authors", [1, 3])
def test_what_people_do_in_them(authors: int) -> None:
    history = generate(7, 6_000, authors)
    patches = [patch for one in history.transactions for patch in one.patches]
    assert len({one.agent for one in history.transactions}) == authors
    assert sum(len(inserted) == 1 and not deleted for _, deleted, inserted in patches) > 3_000, "keys"
    assert sum(deleted == 1 and not inserted for _, deleted, inserted in patches) > 300, "backspace"
    assert sum(2 <= deleted <= 20 and not inserted for _, deleted, inserted in patches) > 25, "words"
    assert sum(deleted > 1 and len(inserted) == 1 for _, deleted, inserted in patches) > 30, "replaced selections"
    assert max(len(inserted) for _, _, inserted in patches) > 500, "a long paste"
    assert max(deleted for _, deleted, _ in patches) > 100, "a block"
    assert size(history.end) > len(history.end) + 20, "above U+FFFF"
    assert any("\u0300" <= char <= "\u036f" for char in history.end), "combining"
    assert 1_500 < len(history.end) < 15_000


def test_paragraphs_are_moved() -> None:
    moved = 0
    text, cut = "", ""
    for transaction in generate(7, 6_000, 1).transactions:
        for position, deleted, inserted in transaction.patches:
            moved += len(inserted) > 10 and inserted == cut
            cut = text[position : position + deleted] if deleted > 10 else cut
            text = text[:position] + inserted + text[position + deleted :]
    assert moved > 10


def test_parents_are_as_few_as_say_it() -> None:
    for seed in range(50):
        history = small(seed)
        reached = seen_by(history)
        for transaction, saw in zip(history.transactions, reached, strict=True):
            for parent in transaction.parents:
                others = [other for other in transaction.parents if other != parent]
                without = set[int]().union(*([other + 1, *reached[other]] for other in others))
                assert without != set(saw)


def test_a_file_of_it(tmp_path: Path) -> None:
    history = generate(1, 200, 3)
    plain, packed, again = (tmp_path / name for name in ("one.json", "two.json.gz", "three.json.gz"))
    for path in (plain, packed, again):
        history.write(path)
    assert json.loads(plain.read_bytes()) == history.as_trace()
    assert gzip.decompress(packed.read_bytes()) == plain.read_bytes()
    assert packed.read_bytes() == again.read_bytes()
    raw = history.as_trace()
    assert (raw["kind"], raw["ties"], raw["numAgents"], raw["endContent"]) == ("concurrent", True, 3, history.end)
    assert set(raw["txns"][5]) == {"parents", "agent", "patches"}
    assert set(generate(1, 20, 1).as_trace()) == {"startContent", "endContent", "txns"}


def test_nothing_to_make() -> None:
    for arguments in ((1, 0, 1), (1, 1, 0)):
        with pytest.raises(ValueError, match="at least one"):
            generate(*arguments)
    with pytest.raises(IndexError):
        past(bytearray(b"\1\0\1"), 3)


def test_it_needs_no_pytest() -> None:
    """Whoever installed the package alone can make histories, and run the example."""
    script = (
        "import sys; sys.modules['pytest'] = None\n"
        "import syncline.testing\n"
        "from syncline.testing import editing\n"
        "assert editing.generate(1, 10, 2).edits == 10"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
