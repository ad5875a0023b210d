"""What a typed document gives out cannot be changed behind the client's back."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import pytest

from syncline.client import frozen as module
from syncline.client.frozen import FrozenDict, FrozenList, frozen, thawed
from tests.waiting import until

from .links import Open

CONTENT = {"items": ["a", {"b": [1]}], "n": 0}
RICH = [{"insert": "bold", "attributes": {"bold": True}}, {"insert": {"image": "x"}}]


def shake(value: Any) -> int:
    """Tries to change it, everywhere and in every way; how many lists and objects there are."""
    if isinstance(value, dict):
        attempts: list[Any] = [
            lambda: value.__setitem__("new", 1), lambda: value.__delitem__(next(iter(value), "")), value.clear, value.popitem,
            lambda: value.pop("n", None), lambda: value.setdefault("new", 1),
            lambda: value.update(new=1), lambda: value.__ior__({"new": 1}),
        ]  # fmt: skip
        parts = [*value.values()]
    elif isinstance(value, list):
        attempts = [
            lambda: value.__setitem__(0, 1), lambda: value.__delitem__(0), lambda: value.__iadd__([1]), lambda: value.__imul__(2),
            lambda: value.append(1), value.clear, lambda: value.extend([1]), lambda: value.insert(0, 1), value.pop,
            lambda: value.remove("a"), value.reverse, value.sort,
        ]  # fmt: skip
        parts = [*value]
    else:
        return 0
    for attempt in attempts:
        with pytest.raises(TypeError, match="by operations only"):
            attempt()
    return 1 + sum(map(shake, parts))


@pytest.mark.parametrize(("type", "content", "containers"), [("json", CONTENT, 4), ("rich-text", RICH, 5)])
async def test_neither_content_nor_operations_can_be_changed(
    open_client: Open, type: Any, content: Any, containers: int
) -> None:
    ada, bob = await open_client(), await open_client()
    mine, theirs = await ada.document("notes", type=type), await bob.document("notes", type=type)
    operations: list[Any] = []
    for document in (mine, theirs):
        document.on_change(lambda operation, origin: (operations.append(copy.deepcopy(operation)), operation.clear()))
    given = copy.deepcopy(content)
    mine.set_content(given)
    given.clear()
    await mine.settled()
    await until(lambda: theirs.revision == mine.revision)
    for document in (mine, theirs):
        assert shake(document.content) == containers
        assert document.content == content
    assert len(operations) == 2, "and what was done to them was done to copies"
    # It can be used as any other value, also to be given back.
    assert json.loads(json.dumps(mine.content)) == content
    for own in (copy.deepcopy(mine.content), pickle.loads(pickle.dumps(mine.content)), thawed(mine.content)):
        assert own == content
        assert "Frozen" not in repr([own.__class__, *(part.__class__ for part in own)])
    before = theirs.content
    theirs.set_content([*theirs.content, {"insert": "!"}] if type == "rich-text" else {**theirs.content, "n": 1})
    await theirs.settled()
    assert before == content, "it stays as it was"
    await until(lambda: mine.revision == theirs.revision)
    assert mine.content == theirs.content != content


def test_only_what_differs_is_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    wide = {"big": [{"n": number} for number in range(1000)], "small": {"a": 1}}
    shown = frozen(wide)
    assert isinstance(shown, FrozenDict)
    assert isinstance(shown["big"], FrozenList)
    calls = 0
    plain = module.frozen

    def counted(*args: Any) -> Any:
        nonlocal calls
        calls += 1
        return plain(*args)

    monkeypatch.setattr(module, "frozen", counted)
    after = {**wide, "small": {"a": 2}}
    again = counted(after, wide, shown)
    assert again == after
    assert again["big"] is shown["big"]
    assert calls == 4
    calls = 0
    inserted = {**after, "big": [{"n": -1}, *wide["big"]]}
    last = counted(inserted, after, again)
    assert last == inserted
    assert last["big"][500] is shown["big"][499]
    assert calls < 10
