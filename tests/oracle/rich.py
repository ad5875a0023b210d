"""Rich text, slow and obvious: the reference for ``syncline.core.rich.rich``, and the cases to try. Nothing of the package is
imported here.

A document is a list of (unit, attributes): a UTF-16 code unit as a one-character string, or an embed. A delta is spelled
out as atoms, one a unit: ("put", unit, attributes), ("keep", attributes), ("drop",). Attributes that are not there are {}.
"""

from __future__ import annotations

import json
from random import Random
from typing import Any

from tests.oracle.ot import join, split

Ops = list[dict[str, Any]]
Attributes = dict[str, Any]
Document = list[tuple[Any, Attributes]]
Atom = tuple[Any, ...]
KEEP: Atom = ("keep", {})


def plain(value: Any) -> str:
    """To compare JSON values as JavaScript does: the order of keys is nothing, 1 is 1.0 and is not true."""

    def normal(one: Any) -> Any:
        if isinstance(one, float) and one.is_integer():
            return int(one)
        if isinstance(one, dict):
            return {key: normal(inner) for key, inner in one.items()}
        if isinstance(one, list):
            return [normal(inner) for inner in one]
        return one

    return json.dumps(normal(value), sort_keys=True)


# ------------------------------------------------------------------------------------------------------- spelled out


def atoms(ops: Ops) -> list[Atom]:
    result: list[Atom] = []
    for op in ops:
        attributes = op.get("attributes", {})
        if "insert" in op:
            kept = {name: value for name, value in attributes.items() if value is not None}
            units = split(op["insert"], "utf-16") if isinstance(op["insert"], str) else [op["insert"]]
            result += [("put", unit, kept) for unit in units]
        elif "retain" in op:
            result += [("keep", attributes)] * op["retain"]
        else:
            result += [("drop",)] * op["delete"]
    return result


def gather(spelled: list[Atom]) -> Ops:
    """The canonical ops: inserts before deletes at the same place, equal neighbours joined, no plain retain at the end."""
    ordered: list[Atom] = []
    waiting: list[Atom] = []
    for atom in spelled:
        if atom[0] == "drop":
            waiting.append(atom)
        elif atom[0] == "put":
            ordered.append(atom)
        else:
            ordered += [*waiting, atom]
            waiting = []
    ordered += waiting
    while ordered and ordered[-1] == KEEP:
        ordered.pop()
    result: Ops = []
    for atom in ordered:
        attributes = {} if atom[0] == "drop" else atom[-1]
        last = result[-1] if result else {}
        joins = plain(last.get("attributes", {})) == plain(attributes)
        if atom[0] == "drop":
            if "delete" in last:
                last["delete"] += 1
                continue
            op: dict[str, Any] = {"delete": 1}
        elif atom[0] == "keep":
            if "retain" in last and joins:
                last["retain"] += 1
                continue
            op = {"retain": 1}
        elif isinstance(atom[1], str):
            if isinstance(last.get("insert"), list) and joins:
                last["insert"].append(atom[1])
                continue
            op = {"insert": [atom[1]]}
        else:
            op = {"insert": atom[1]}
        if attributes:
            op["attributes"] = attributes
        result.append(op)
    for op in result:
        if isinstance(op.get("insert"), list):
            op["insert"] = join(op["insert"])
    return result


def document(ops: Ops) -> Document:
    return [(atom[1], atom[2]) for atom in atoms(ops)]


def written(units: Document) -> Ops:
    return gather([("put", unit, attributes) for unit, attributes in units])


# -------------------------------------------------------------------------------------------------- attributes, deltas


def composed(first: Attributes, second: Attributes, keep_null: bool) -> Attributes:
    result = {**first, **second}
    return {name: value for name, value in result.items() if keep_null or value is not None}


def apply(units: Document, ops: Ops) -> Document:
    result: Document = []
    at = 0
    for atom in atoms(ops):
        if atom[0] == "put":
            result.append((atom[1], atom[2]))
        elif atom[0] == "drop":
            at += 1
        else:
            result.append((units[at][0], composed(units[at][1], atom[1], False)))
            at += 1
    assert at <= len(units)
    return result + units[at:]


def compose(first: Ops, second: Ops) -> Ops:
    waiting, coming = atoms(first), atoms(second)
    result: list[Atom] = []
    while waiting or coming:
        if coming and coming[0][0] == "put":
            result.append(coming.pop(0))
        elif waiting and waiting[0][0] == "drop":
            result.append(waiting.pop(0))
        else:
            mine = waiting.pop(0) if waiting else KEEP
            theirs = coming.pop(0) if coming else KEEP
            if theirs[0] == "keep" and mine[0] == "keep":
                result.append(("keep", composed(mine[1], theirs[1], True)))
            elif theirs[0] == "keep":
                result.append(("put", mine[1], composed(mine[2], theirs[1], False)))
            elif mine[0] == "keep":
                result.append(theirs)
    return gather(result)


def transform(first: Ops, second: Ops, priority: bool) -> Ops:
    """``second`` after ``first``."""
    done, coming = atoms(first), atoms(second)
    result: list[Atom] = []
    while done or coming:
        if done and done[0][0] == "put" and (priority or not (coming and coming[0][0] == "put")):
            result.append(KEEP)
            done.pop(0)
        elif coming and coming[0][0] == "put":
            result.append(coming.pop(0))
        else:
            mine = done.pop(0) if done else KEEP
            theirs = coming.pop(0) if coming else KEEP
            if mine[0] == "drop":
                continue
            if theirs[0] == "drop":
                result.append(theirs)
            else:
                left = {name: value for name, value in theirs[1].items() if not (priority and name in mine[1])}
                result.append(("keep", left))
    return gather(result)


def invert(ops: Ops, units: Document) -> Ops:
    result: list[Atom] = []
    at = 0
    for atom in atoms(ops):
        if atom[0] == "put":
            result.append(("drop",))
            continue
        unit, base = units[at]
        at += 1
        if atom[0] == "drop":
            result.append(("put", unit, base))
            continue
        back: Attributes = {}
        for name, value in atom[1].items():
            # AttributeMap compares by reference, so that equal objects differ.
            if name not in base:
                back[name] = None
            elif isinstance(base[name], dict | list) or plain(base[name]) != plain(value):
                back[name] = base[name]
        result.append(("keep", back))
    return gather(result)


def transform_position(ops: Ops, position: int, priority: bool) -> int:
    at, result = 0, position
    spelled: list[tuple[str, int]] = []
    for op in ops:
        if "insert" in op:
            spelled.append(("put", len(split(op["insert"], "utf-16")) if isinstance(op["insert"], str) else 1))
        else:
            spelled += [("keep" if "retain" in op else "drop", 1)] * (op.get("retain") or op["delete"])
    for kind, length in spelled:
        if at > position:
            break
        if kind == "put":
            result += length if at < position or not priority else 0
        else:
            result -= kind == "drop" and at < position
            at += 1
    return result


# ------------------------------------------------------------------------------------------------------ cases to try

LETTERS = ("a", "b", "c", " ", "\n", "é", "漢", "💃", "𝄞", "\ufffc")
NAMES = ("bold", "color", "list", "data")
VALUES: tuple[Any, ...] = (
    *(True, False, 1, 0, 2.5, "red", "blue", ""),
    *({"a": 1}, {"a": 1, "b": [True]}, {"b": [True], "a": 1}, [1, 2], [1, {}]),
)
EMBEDS: tuple[Any, ...] = ({"image": "a.png"}, {"image": "b.png"}, {"formula": {"x": [1, None]}}, {"rule": True})


def some_attributes(random: Random, nulls: bool) -> Attributes:
    if random.randrange(2):
        return {}
    names = random.sample(NAMES, random.randrange(1, 3))
    return {name: None if nulls and random.randrange(3) == 0 else random.choice(VALUES) for name in names}


def some_insert(random: Random) -> dict[str, Any]:
    if random.randrange(5) == 0:
        op = {"insert": random.choice(EMBEDS)}
    else:
        op = {"insert": "".join(random.choice(LETTERS) for _ in range(random.randrange(1, 4)))}
    attributes = some_attributes(random, False)
    return {**op, "attributes": attributes} if attributes else op


def some_document(random: Random, size: int = 6) -> Ops:
    """Canonical."""
    return gather(atoms([some_insert(random) for _ in range(random.randrange(size))]))


def some_delta(random: Random, ops: Ops, size: int = 5) -> Ops:
    """Canonical; it applies to the document, and splits no surrogate pair."""
    widths: list[int] = []
    for op in ops:
        widths += [1 + (one > "\uffff") for one in op["insert"]] if isinstance(op["insert"], str) else [1]
    result: Ops = []
    for _ in range(random.randrange(size + 1)):
        kind = random.randrange(3)
        if kind == 0:
            result.append(some_insert(random))
        elif widths:
            count = random.randrange(1, 5)
            length = sum(widths[:count])
            del widths[:count]
            if kind == 1:
                result.append({"delete": length})
            else:
                attributes = some_attributes(random, True)
                result.append({"retain": length, **({"attributes": attributes} if attributes else {})})
    return gather(atoms(result))
