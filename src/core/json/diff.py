"""What leads from one JSON value to another, for ``json0.diff``: keeps identity, so that what others do meets what it was done to.

Objects are compared key by key, strings by ``differences.splices``, lists by their elements: an element of one is that of the other
when both are objects with the same ``id`` (a string or an integer that no other element of either list has), or else when both are equal.
Of those in both lists a longest common subsequence stays where it is, the others are moved. Elements that are the same by ``id`` and
differ are changed within; so are those without one that stand, in order, between the same two that stay. The rest is removed and inserted.

Bounds: searches share MOST_STEPS. When they are used up, or one needs too much, lists keep what is in each of them once, and strings
are replaced from where they differ on to where they differ no more. What is too much for one operation is not made to its end, as it is
not used. Otherwise O(both x depth).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec

from ..ot.differences import common, splices
from ..values.json_values import MAX_INTEGER, Value, same_value
from ..values.text0 import units
from .components import MAX_COMPONENTS

Components: TypeAlias = list[dict[str, Any]]
Path: TypeAlias = list[str | int]
Pairs: TypeAlias = list[tuple[int, int]]  # index before, index after

#: Of all searches together: some thirty milliseconds.
MOST_STEPS = 4_000_000

#: Components over which work is carried: some seconds.
MOST_CARRIED = 100_000

_encode = msgspec.msgpack.Encoder(order="sorted").encode


def diff(before: Value, after: Value) -> Components:
    """The components of an operation from ``before`` to ``after``; where they were too many, a value is replaced as a whole."""
    return changes([], before, after, ("od", "oi"), [MOST_STEPS, MAX_COMPONENTS])


def drift(before: Value, after: Value) -> Components:
    """The same, over which a client carries its own work: it is sent to nobody, so that it may be large. What is within a value that is
    replaced as a whole would be lost. Integers that are replaced by others have that added by which they differ."""
    found = changes([], before, after, ("od", "oi"), [MOST_STEPS, MOST_CARRIED])
    return [sum_of(one, "od", "oi") or sum_of(one, "ld", "li") or one for one in found]


def sum_of(component: dict[str, Any], removed: str, put: str) -> dict[str, Any] | None:
    old, new = component.get(removed), component.get(put)
    if type(old) is int and type(new) is int and -MAX_INTEGER <= new - old <= MAX_INTEGER:
        return {"p": component["p"], "na": new - old}
    return None


def changes(path: Path, before: Value, after: Value, names: tuple[str, str], budget: list[int]) -> Components:
    """``names``: as what the value at ``path`` is removed and put."""
    if same_value(before, after):
        return []
    found = None
    if type(before) is type(after) and type(before) in WITHIN:
        found = WITHIN[type(before)](path, before, after, budget)
        if is_too_much(found, budget[1]) and budget[0]:
            budget[0] = 0  # fewer and larger ones
            found = WITHIN[type(before)](path, before, after, budget)
    return [{"p": path, names[0]: before, names[1]: after}] if found is None or is_too_much(found, budget[1]) else found


def is_too_much(found: Components, most: int) -> bool:
    return sum(len(one.get("o", "1")) for one in found) > most


def is_sure(found: Components, most: int) -> bool:
    """Whether it is too much already, whatever comes."""
    return len(found) > most


def diff_texts(path: Path, before: str, after: str, budget: list[int]) -> Components:
    edits: list[dict[str, Any]] = []
    at = position = 0
    for start, deleted, inserted in splices(before, after, budget):
        position += units(before[at:start])
        at = start + deleted
        if deleted:
            edits.append({"p": position, "d": before[start:at]})
        if inserted:
            edits.append({"p": position, "i": inserted})
            position += units(inserted)
    return [{"p": path, "t": "text0", "o": edits}]


def diff_keys(path: Path, before: dict[str, Value], after: dict[str, Value], budget: list[int]) -> Components:
    result: Components = []
    for key, value in before.items():
        if key not in after:
            result.append({"p": [*path, key], "od": value})
        else:
            result += changes([*path, key], value, after[key], ("od", "oi"), budget)
        if is_sure(result, budget[1]):
            return result
    return result + [{"p": [*path, key], "oi": value} for key, value in after.items() if key not in before]


# --------------------------------------------------------------------------------------------------------------- lists


def diff_lists(path: Path, before: list[Value], after: list[Value], budget: list[int]) -> Components:
    shorter = min(len(before), len(after))
    head = tail = 0
    while head < shorter and same_value(before[head], after[head]):
        head += 1
    while tail < shorter - head and same_value(before[-1 - tail], after[-1 - tail]):
        tail += 1
    before, after = before[head : len(before) - tail], after[head : len(after) - tail]
    old, new = names_of(before, after)
    stay = subsequence(old, new, budget)
    stay = sorted(stay + pairs_between(stay, before, after, old, new))
    moved = others_in_both(stay, old, new)
    kept = {index for index, _ in stay + moved}
    gone = [index for index in range(len(before)) if index not in kept]
    rest: Components = [{"p": [*path, head + index], "ld": before[index]} for index in reversed(gone)]
    rest += arranged(path, head, after, stay, moved, gone, budget[1])
    result: Components = []
    for index, place in sorted(stay + moved):  # in the list as it was
        if is_sure(rest, budget[1]) or is_sure(result, budget[1]):
            break
        result += changes([*path, head + index], before[index], after[place], ("ld", "li"), budget)
    return result + rest


def arranged(
    path: Path, head: int, after: list[Value], stay: Pairs, moved: Pairs, gone: list[int], most: int
) -> Components:
    """Moves and inserts, from the first place on; ``gone`` are removed already. ``head``: elements before all of these.
    ``most``: components.

    Elements that stay or wait to be moved are known by their old index without those; what was put between them by ``slots``: how many
    of those stand before it, in order; what was taken from among them by ``away``. O(n log n): where those grow long not in order, it
    is too much soon.
    """
    staying, moving = {place: index for index, place in stay}, {place: index for index, place in moved}
    away: list[int] = []
    slots: list[int] = []
    passed = 0  # of those that stay or wait, so many lie before the place that is filled next
    result: Components = []
    for place, value in enumerate(after):
        if is_sure(result, most):
            break
        if place in staying:
            passed = staying[place] - bisect_left(gone, staying[place]) + 1
            continue
        at = passed - bisect_left(away, passed) + len(slots)
        if place in moving:
            rank = moving[place] - bisect_left(gone, moving[place])
            index = rank - bisect_left(away, rank) + bisect_right(slots, rank)
            if index != at:
                result.append({"p": [*path, head + index], "lm": head + at - (index < at)})
            insort(away, rank)
        else:
            result.append({"p": [*path, head + at], "li": value})
        slots.append(passed)
    return result


def names_of(before: list[Value], after: list[Value]) -> tuple[list[int], list[int]]:
    """A number for each element: the same where they are the same."""
    ids = [[id_of(item) for item in items] for items in (before, after)]
    counts = [Counter(one) for one in ids]
    numbers: dict[Any, int] = {}

    def name(item: Value, id: Any) -> int:
        unique = id is not None and counts[0][id] <= 1 and counts[1][id] <= 1
        return numbers.setdefault(id if unique else _encode(item), len(numbers))

    old, new = (list(map(name, items, own)) for items, own in zip((before, after), ids, strict=True))
    return old, new


def id_of(item: Value) -> tuple[type, str | int] | None:
    if type(item) is not dict or type(item.get("id")) not in (str, int):
        return None
    return type(item["id"]), item["id"]


def subsequence(old: list[int], new: list[int], budget: list[int]) -> Pairs:
    """What stays: pairs of indexes, in order."""
    pairs = once_in_both(old, new)
    if len(pairs) == len(set(old) & set(new)):  # then the longest is easily found
        return rising(pairs)
    found = common(old, new, budget)
    return rising(pairs) if found is None else found


def once_in_both(old: list[int], new: list[int]) -> Pairs:
    places: dict[int, list[int]] = {}
    for side, names in enumerate((old, new)):
        for index, name in enumerate(names):
            places.setdefault(name, [-1, -1, 0, 0])[side] = index
            places[name][2 + side] += 1
    return [(place[0], place[1]) for place in places.values() if place[2:] == [1, 1]]


def rising(pairs: Pairs) -> Pairs:
    """The longest part in which both rise; the first do already. O(n log n)."""
    ends: list[int] = []  # of the best run of each length
    tops: list[int] = []  # which pair that is
    before: list[int] = []
    for number, (_, place) in enumerate(pairs):
        length = bisect_left(ends, place)
        before.append(tops[length - 1] if length else -1)
        ends[length : length + 1] = [place]
        tops[length : length + 1] = [number]
    result = []
    at = tops[-1] if tops else -1
    while at >= 0:
        result.append(pairs[at])
        at = before[at]
    return result[::-1]


def others_in_both(matched: Pairs, old: list[int], new: list[int]) -> Pairs:
    """Of what is in both lists, what does not stay."""
    indexes, places = {index for index, _ in matched}, {place for _, place in matched}
    waiting: dict[int, list[int]] = {}
    for index in reversed(range(len(old))):
        if index not in indexes:
            waiting.setdefault(old[index], []).append(index)
    return [(waiting[name].pop(), place) for place, name in enumerate(new) if place not in places and waiting.get(name)]


def pairs_between(stay: Pairs, before: list[Value], after: list[Value], old: list[int], new: list[int]) -> Pairs:
    """Elements without ``id``, in one list only, that stand between the same two that stay: one is the other, changed."""
    result = []
    in_old, in_new = set(old), set(new)
    start = first = 0
    for index, place in [*stay, (len(before), len(after))]:
        gone = [at for at in range(start, index) if old[at] not in in_new and id_of(before[at]) is None]
        come = [at for at in range(first, place) if new[at] not in in_old and id_of(after[at]) is None]
        result += list(zip(gone, come, strict=False))
        start, first = index + 1, place + 1
    return result


WITHIN: dict[type, Callable[[Path, Any, Any, list[int]], Components]] = {
    str: diff_texts,
    dict: diff_keys,
    list: diff_lists,
}
