"""What leads from one JSON value to another, for ``json0.diff``. Plain code over plain values."""

from __future__ import annotations

from typing import Any, TypeAlias

from .json_parts import MAX_COMPONENTS
from .json_values import Value, same_value
from .text0 import units

Components: TypeAlias = list[dict[str, Any]]


def diff(before: Value, after: Value) -> Components:
    """The components of an operation from ``before`` to ``after`` that keeps what is equal: keys, list elements before and behind what
    changed, ends of strings. O(both x depth)."""
    result: Components = []
    if type(before) is type(after) and type(before) in (dict, list, str):
        diff_within(result, [], before, after)
    elif not same_value(before, after):
        result.append({"p": [], "od": before, "oi": after})
    if sum(len(component.get("o", "1")) for component in result) > MAX_COMPONENTS:
        return [{"p": [], "od": before, "oi": after}]
    return result


def diff_within(result: Components, path: list[str | int], before: Any, after: Any) -> None:
    if type(before) is str:
        edits = diff_text(before, after)
        if edits:
            result.append({"p": path, "t": "text0", "o": edits})
    elif type(before) is dict:
        for key, value in before.items():
            if key not in after:
                result.append({"p": [*path, key], "od": value})
            else:
                diff_at(result, [*path, key], value, after[key], "od", "oi")
        result.extend({"p": [*path, key], "oi": value} for key, value in after.items() if key not in before)
    else:
        diff_lists(result, path, before, after)


def diff_at(result: Components, path: list[str | int], before: Value, after: Value, old: str, new: str) -> None:
    if type(before) is type(after) and type(before) in (dict, list, str):
        diff_within(result, path, before, after)
    elif not same_value(before, after):
        result.append({"p": path, old: before, new: after})


def diff_lists(result: Components, path: list[str | int], before: list[Value], after: list[Value]) -> None:
    shorter = min(len(before), len(after))
    head = 0
    while head < shorter and same_value(before[head], after[head]):
        head += 1
    tail = 0
    while tail < shorter - head and same_value(before[-1 - tail], after[-1 - tail]):
        tail += 1
    pairs = shorter - head - tail
    for index in range(head, head + pairs):
        diff_at(result, [*path, index], before[index], after[index], "ld", "li")
    at = head + pairs
    result.extend({"p": [*path, at], "ld": value} for value in before[at : len(before) - tail])
    result.extend({"p": [*path, index], "li": after[index]} for index in range(at, len(after) - tail))


def diff_text(before: str, after: str) -> list[dict[str, Any]]:
    """The smallest single replacement: common prefix and suffix stay, no pair is split. O(text)."""
    shorter = min(len(before), len(after))
    head = 0
    while head < shorter and before[head] == after[head]:
        head += 1
    tail = 0
    while tail < shorter - head and before[-1 - tail] == after[-1 - tail]:
        tail += 1
    position = units(before[:head])
    deleted, inserted = before[head : len(before) - tail], after[head : len(after) - tail]
    result: list[dict[str, Any]] = [{"p": position, "d": deleted}] if deleted else []
    return [*result, {"p": position, "i": inserted}] if inserted else result
