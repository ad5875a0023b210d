"""JSON documents, slowly and obviously: random values and operations whose effect is done by hand; and what core/json/json0.pyx does, over
plain lists and dicts, without bounds.

Everything random comes from one ``random.Random``, so that hypothesis can shrink it and a fuzz run can repeat it.
"""

from __future__ import annotations

import copy
from random import Random
from typing import Any, TypeAlias

from syncline.core.errors import SynclineError
from tests.oracle import text0
from tests.oracle.json_values import MAX_DEPTH, MAX_INTEGER, Value, check_claim, check_index, check_key, check_value
from tests.oracle.text0 import Side, cross, invalid, out_of_range, units

Component: TypeAlias = dict[str, Any]
Op: TypeAlias = list[Component]

KEYS = ["a", "b", "c", "é", "💃"]
WORDS = ["", "x", "yz", "é漢", "💃", "abc"]


def random_value(random: Random, depth: int = 3) -> Any:
    """Small, with every kind of value."""
    kind = random.randrange(9 if depth else 6)
    if kind == 0:
        return None
    if kind == 1:
        return random.random() < 0.5
    if kind == 2:
        return random.choice([0.5, -2.25, 1e300])
    if kind == 3:
        return random.randrange(-5, 50)
    if kind < 6:
        return "".join(random.choice(WORDS) for _ in range(random.randrange(4)))
    if kind == 6:
        return {random.choice(KEYS): random_value(random, depth - 1) for _ in range(random.randrange(4))}
    return [random_value(random, depth - 1) for _ in range(random.randrange(5))]


def length(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def random_component(random: Random, holder: dict[str, Any], lists: float = 0.4) -> dict[str, Any]:
    """One component for ``holder["root"]``, and its effect done there."""
    parent: Any = holder
    key: Any = "root"
    path: list[Any] = []
    while True:
        here = parent[key]
        if isinstance(here, dict | list) and here and random.random() < 0.65:
            parent, key = here, random.choice(list(here) if isinstance(here, dict) else range(len(here)))
            path.append(key)
        else:
            break
    if isinstance(parent, list) and random.random() < lists:
        to = random.randrange(len(parent))
        parent.insert(to, parent.pop(key))
        return {"p": path, "lm": to}
    if isinstance(here, str) and random.random() < 0.8:
        start = random.randrange(len(here) + 1)
        if random.random() < 0.5 and start < len(here):
            end = random.randrange(start + 1, len(here) + 1)
            name, text = "d", here[start:end]
            parent[key] = here[:start] + here[end:]
        else:
            name, text = "i", random.choice(WORDS[1:])
            parent[key] = here[:start] + text + here[start:]
        position = length(here[:start])
        if random.random() < 0.5:
            return {"p": [*path, position], "s" + name: text}
        return {"p": path, "t": "text0", "o": [{"p": position, name: text}]}
    if type(here) is int and random.random() < 0.8:
        change = random.randrange(-3, 4)
        parent[key] = here + change
        return {"p": path, "na": change}
    if isinstance(here, list) and random.random() < 0.8:
        at = random.randrange(len(here) + 1)
        if at < len(here) and random.random() < 0.4:
            return {"p": [*path, at], "ld": here.pop(at)}
        value = random_value(random, 1)
        here.insert(at, copy.deepcopy(value))
        return {"p": [*path, at], "li": value}
    if isinstance(here, dict) and random.random() < 0.8:
        name = random.choice(KEYS)
        if name in here and random.random() < 0.5:
            return {"p": [*path, name], "od": here.pop(name)}
        value = random_value(random, 1)
        component = {"p": [*path, name], "oi": value}
        if name in here:
            component["od"] = here[name]
        here[name] = copy.deepcopy(value)
        return component
    value = random_value(random, 2)
    parent[key] = copy.deepcopy(value)
    if isinstance(parent, list):
        return {"p": path, "ld": here, "li": value}
    return {"p": path, "od": here, "oi": value}


def random_operation(random: Random, content: Any, most: int = 3) -> tuple[list[dict[str, Any]], Any]:
    """(operation, the content after it)."""
    holder = {"root": copy.deepcopy(content)}
    operation = [copy.deepcopy(random_component(random, holder)) for _ in range(random.randrange(1, most + 1))]
    return operation, holder["root"]


# ------------------------------------------------------------------------------------------------------- a document


class Draft:
    """A document that is being changed: containers are copied when they are first written to."""

    def __init__(self, content: Value) -> None:
        self.holder: dict[str | int, Value] = {"": content}
        self.fresh: dict[int, Value] = {id(self.holder): self.holder}  # keeps them alive, so that no id comes back

    def parent(self, path: list[str | int]) -> tuple[Any, Any]:
        """What holds the place that ``path`` names, writable, and the key there. The root is held under ""."""
        node: Any = self.holder
        key: str | int = ""
        for step in path:
            child = lookup(node, key)
            if type(child) is not dict and type(child) is not list:
                raise invalid("a path leads through what is no container")
            if id(child) not in self.fresh:
                child = child.copy()
                self.fresh[id(child)] = child
                node[key] = child
            node, key = child, step
        return node, key


def lookup(node: Any, key: str | int) -> Value:
    """What a container holds at ``key``. Raises SynclineError."""
    if type(node) is dict:
        if type(key) is not str or key not in node:
            raise invalid("a path leads to a key that is not there")
        return node[key]
    if type(key) is not int:
        raise invalid("the elements of a list have indexes")
    if key >= len(node):
        raise out_of_range("an index past the end of its list")
    return node[key]


# ---------------------------------------------------------------------------------------------------- operations


#: Components of one operation, edits of strings counted one by one.
MAX_COMPONENTS = 1000
FORMS = frozenset(
    frozenset(form.split())
    for form in ("p na", "p lm", "p oi", "p od", "p oi od", "p li", "p ld", "p li ld", "p si", "p sd", "p t o")
)


# -------------------------------------------------------------------------------------------- what comes from outside


def parse(value: object) -> Op:
    """An operation from outside, checked in one pass and in canonical form. O(operation).

    Raises SynclineError(operation_invalid) as ``check_value``, and for wrong shapes, paths and sizes. Whether it fits
    the document is for ``resolve``.
    """
    if type(value) is not list:
        raise invalid("an operation is a list of components")
    result: Op = []
    count = 0
    for item in value:
        component = parse_component(item)
        count += len(component["o"]) if "o" in component else 1
        if count > MAX_COMPONENTS:
            raise invalid(f"more than {MAX_COMPONENTS} components")
        if component.get("o", True):
            result.append(component)
    return result


CHECKS = {"oi": check_value, "li": check_value, "od": check_claim, "ld": check_claim}


def parse_component(value: object) -> Component:
    if type(value) is not dict or frozenset(value) not in FORMS:
        raise invalid("a component has a path p and na, lm, oi, od, li, ld, si, sd, or t and o")
    path = parse_path(value["p"])
    if "t" in value:
        if value["t"] != "text0":
            raise invalid("the only subtype is text0")
        return {"p": path, "t": "text0", "o": parse_edits(value["o"])}
    if "na" in value:
        number = check_value(value["na"])
        if type(number) is not int:
            raise invalid("na adds an integer of at most 2^53 - 1")
        return {"p": path, "na": number}
    if "si" in value or "sd" in value:
        if not path:
            raise invalid("the path of si and sd ends with a position")
        edit = {"p": path[-1], ("i" if "si" in value else "d"): value["si" if "si" in value else "sd"]}
        return {"p": path[:-1], "t": "text0", "o": parse_edits([edit])}
    if "oi" in value or "od" in value:
        if path and type(path[-1]) is not str:
            raise invalid("the path of oi and od ends with a key")
        if not path and len(value) != 3:
            raise invalid("the root is replaced: od and oi")
    elif not path or type(path[-1]) is not int:
        raise invalid("the path of li, ld and lm ends with an index")
    depth = len(path)
    return {"p": path} | {
        name: check_index(item) if name == "lm" else CHECKS[name](item, depth)
        for name, item in value.items()
        if name != "p"
    }


def parse_path(value: object) -> list[str | int]:
    if type(value) is not list:
        raise invalid("a path is a list of keys and indexes")
    if len(value) > MAX_DEPTH:
        raise invalid(f"a path of more than {MAX_DEPTH} steps")
    return [check_key(step) if type(step) is str else check_index(step) for step in value]


def parse_edits(value: object) -> list[text0.Edit]:
    if type(value) is not list:
        raise invalid("o is a list of edits")
    if len(value) > MAX_COMPONENTS:
        raise invalid(f"more than {MAX_COMPONENTS} components")
    result = []
    for edit in value:
        if type(edit) is not dict or len(edit) != 2 or "p" not in edit or not ("i" in edit or "d" in edit):
            raise invalid("an edit of a string has p and either i or d")
        name = "i" if "i" in edit else "d"
        if type(edit[name]) is not str:
            raise invalid("i and d are strings")
        if units(edit[name]):
            result.append({"p": check_index(edit["p"]), name: edit[name]})
    return result


# --------------------------------------------------------------------------------------------------- apply and friends


def resolve(content: Value, op: Op) -> tuple[Value, Op]:
    """The content after ``op``, and ``op`` with what is really there in its ``od`` and ``ld``.

    Raises SynclineError (operation_invalid, operation_out_of_range) when it does not fit; nothing has changed then.
    O(components x (path + width of the containers on it)).
    """
    draft = Draft(content)
    told = [resolve_component(draft, component) for component in op]
    return draft.holder[""], told


def resolve_component(draft: Draft, component: Component) -> Component:
    path = component["p"]
    node, key = draft.parent(path)
    if "o" in component:
        text = lookup(node, key)
        if type(text) is not str:
            raise invalid("text is edited where there is none")
        node[key] = text0.apply(text, component["o"])
    elif "na" in component:
        number = lookup(node, key)
        if type(number) is not int or abs(number + component["na"]) > MAX_INTEGER:
            raise invalid("na where there is no integer, or beyond 2^53 - 1")
        node[key] = number + component["na"]
    elif "oi" in component or "od" in component:
        return resolve_key(node, key, component)
    elif type(node) is not list:
        raise invalid("li, ld and lm are for lists")
    elif "lm" in component:
        if component["lm"] >= len(node):
            raise out_of_range("an index past the end of its list")
        item = lookup(node, key)
        del node[key]
        node.insert(component["lm"], item)
    elif "ld" in component:
        there = lookup(node, key)
        if "li" in component:
            node[key] = component["li"]
        else:
            del node[key]
        return component | {"ld": there}
    else:
        if key > len(node):
            raise out_of_range("an index past the end of its list")
        node.insert(key, component["li"])
    return component


def resolve_key(node: Any, key: str | int, component: Component) -> Component:
    if type(node) is not dict:
        raise invalid("oi and od are for objects")
    if "od" not in component:
        if key in node:
            raise invalid("oi without od where the key exists")
        node[key] = component["oi"]
        return component
    there = lookup(node, key)
    if "oi" in component:
        node[key] = component["oi"]
    else:
        del node[key]
    return component | {"od": there}


def apply(content: Value, op: Op) -> Value:
    """The content after ``op``. As ``resolve``."""
    return resolve(content, op)[0]


def invert(op: Op, content: Value) -> Op:
    """What undoes ``op``, which applies to ``content``. Raises as ``resolve``."""
    return invert_told(resolve(content, op)[1])


def invert_told(op: Op) -> Op:
    """What undoes an operation that tells the truth, as ``resolve`` gives it. O(components)."""
    return [invert_component(component) for component in reversed(op)]


INVERSE = {"oi": "od", "od": "oi", "li": "ld", "ld": "li"}


def invert_component(component: Component) -> Component:
    path = component["p"]
    if "o" in component:
        return component | {"o": text0.invert(component["o"])}
    if "na" in component:
        return {"p": path, "na": -component["na"]}
    if "lm" in component:
        return {"p": [*path[:-1], component["lm"]], "lm": path[-1]}
    return {INVERSE.get(name, name): value for name, value in component.items()}


def compose(first: Op, second: Op) -> Op:
    """What ``first`` and then ``second`` do; neighbours that touch the same place become one."""
    result = list(first)
    for component in second:
        append(result, component)
    return result


def append(op: Op, component: Component) -> None:
    """Adds a component to the end, into the last one where the two are about the same place."""
    last = op[-1] if op else None
    if last is None or last["p"] != component["p"]:
        op.append(component)
    elif "o" in component and "o" in last:
        op[-1] = component | {"o": text0.compose(last["o"], component["o"])}
        if not op[-1]["o"]:
            op.pop()
    elif "na" in component and "na" in last and abs(component["na"] + last["na"]) <= MAX_INTEGER:
        op[-1] = component | {"na": component["na"] + last["na"]}
    elif "li" in last and "ld" in component and "li" not in component and type(last["li"]) not in (list, dict):
        # Inserted and taken away again; what it had replaced stays away. As upstream: not for containers. What is taken away is what was
        # inserted, whatever ``ld`` says.
        op.pop()
        if "ld" in last:
            op.append({"p": last["p"], "ld": last["ld"]})
    elif "od" in last and "oi" not in last and "oi" in component and "od" not in component:
        op[-1] = last | {"oi": component["oi"]}
    elif "oi" in last and "od" in component:
        op.pop()
        rest = {name: value for name, value in last.items() if name != "oi"}
        if "oi" in component:
            rest["oi"] = component["oi"]
        if len(rest) > 1:
            op.append(rest)
    elif "lm" in component and component["lm"] == component["p"][-1]:
        pass
    else:
        op.append(component)


# ----------------------------------------------------------------------------------------------------------- transform


def transform(op: Op, other: Op, side: Side, *, victims: bool = True) -> Op:
    """``op`` as it must be made after ``other``; both were made on the same content. "left" wins ties.

    Without ``victims``, what ``op`` removes (``od``, ``ld``) stays as it says: ``resolve`` puts in what is there, and nothing is decided
    by it. With them each component of ``other`` costs the size of what it changes in there; without, the cost is the components'.
    Raises SynclineError(operation_invalid) when they cannot have been.
    """
    step = transform_component if victims else transform_place
    if side == "left":
        return cross(op, other, step, append)[0]
    return cross(other, op, step, append)[1]


def reach(component: Component) -> int:
    """How many steps of paths lie above what it changes, and one: a text and a number are a step below their place."""
    return len(component["p"]) + ("o" in component or "na" in component)


def operand(above: Component, below: Component) -> int | None:
    """The step in the path of ``below`` that ``above`` is about; None when they do not meet, -1 for the root."""
    last = reach(above) - 1
    if last < 0:
        return -1
    if last >= reach(below) or below["p"][:last] != above["p"][:last]:
        return None
    return last


def step_of(component: Component, at: int) -> str | int | None:
    """The step itself; None at the root and below a text or number."""
    path: list[str | int] = component["p"]
    return path[at] if 0 <= at < len(path) else None


def transform_component(result: Op, component: Component, other: Component, side: Side) -> None:
    """Appends to ``result`` what ``component`` is after ``other``: at most one component."""
    within = operand(component, other)
    if within is not None and reach(other) > reach(component) and ("ld" in component or "od" in component):
        component = with_changed_victim(component, other, within)
    transform_place(result, component, other, side)


def transform_place(result: Op, component: Component, other: Component, side: Side) -> None:
    """As ``transform_component``, with what it removes as it says."""
    at = operand(other, component)
    if at is None or not may_meet(component, other, at):
        append(result, component)
        return
    moved: Component | None
    if "o" in other or "na" in other:
        both = "o" in other and "o" in component and other["p"] == component["p"]  # else not made on one content
        moved = transform_text(component, other, side) if both else component
    elif "oi" in other or "od" in other:
        moved = past_key(component, other, at, side)
    elif "lm" in other:
        moved = past_move(component, other, at, side)
    elif "ld" in other:
        moved = (past_replacement if "li" in other else past_removal)(component, other, at, side)
    else:
        moved = past_insert(component, other, at, side)
    if moved is not None:
        append(result, moved)


def may_meet(component: Component, other: Component, at: int) -> bool:
    """False when the two cannot have been made on one content: ``resolve`` will refuse what comes of it."""
    if "li" in other or "ld" in other or "lm" in other:
        return type(step_of(component, at)) is int
    return True


def with_changed_victim(component: Component, other: Component, within: int) -> Component:
    """``component`` removes something that ``other`` changes: it then removes the changed thing."""
    if step_of(component, within) != step_of(other, within):
        return component
    name = "ld" if "ld" in component else "od"
    inner = other | {"p": other["p"][len(component["p"]) :]}
    try:
        return component | {name: apply(component[name], [inner])}
    except SynclineError:
        return component  # it was not true what it says was there; ``resolve`` puts it right


def transform_text(component: Component, other: Component, side: Side) -> Component | None:
    edits = text0.transform(component["o"], other["o"], side)
    return component | {"o": edits} if edits else None


def at_step(component: Component, at: int, step: int) -> Component:
    """The component with another index in its path."""
    path: list[str | int] = component["p"]
    return component if path[at] == step else component | {"p": [*path[:at], step, *path[at + 1 :]]}


def past_key(component: Component, other: Component, at: int, side: Side) -> Component | None:
    """``other`` sets, replaces or removes a key."""
    if step_of(component, at) != step_of(other, at):
        return component
    same = reach(component) == reach(other)
    if "oi" not in other:  # removed: only a new value survives
        return {"p": component["p"], "oi": component["oi"]} if same and "oi" in component else None
    if "oi" in component and same and side == "left":  # the last word
        return {"p": component["p"], "od": other["oi"], "oi": component["oi"]}
    return None


def past_insert(component: Component, other: Component, at: int, side: Side) -> Component:
    """``other`` inserts an element."""
    index, place = component["p"][at], other["p"][at]
    same = reach(component) == reach(other)
    if same and "li" in component and "ld" not in component and index == place:
        return at_step(component, at, index + (side == "right"))
    if same and "lm" in component and place <= component["lm"]:
        component = component | {"lm": component["lm"] + 1}
    return at_step(component, at, index + (place <= index))


def past_replacement(component: Component, other: Component, at: int, side: Side) -> Component | None:
    """``other`` replaces an element."""
    if component["p"][at] != other["p"][at]:
        return component
    if reach(component) != reach(other):
        return None
    if "ld" not in component:
        return component
    # Both take the same element away: one of two new ones stays.
    return component | {"ld": other["li"]} if "li" in component and side == "left" else None


def past_removal(component: Component, other: Component, at: int, side: Side) -> Component | None:
    """``other`` removes an element."""
    index, place = component["p"][at], other["p"][at]
    same = reach(component) == reach(other)
    if same and "lm" in component:
        if place == index:
            return None
        to = component["lm"]
        if place < to or (place == to and index < to):
            component = component | {"lm": to - 1}
    if place == index:
        if not same:
            return None
        if "ld" in component:
            return {"p": component["p"], "li": component["li"]} if "li" in component else None
    return at_step(component, at, index - (place < index))


def past_move(component: Component, other: Component, at: int, side: Side) -> Component | None:
    """``other`` moves an element."""
    index, origin, target = component["p"][at], other["p"][at], other["lm"]
    same = reach(component) == reach(other)
    if same and "lm" in component:
        return move_past_move(component, other, at, side)
    if same and "li" in component and "ld" not in component:  # into a gap, which the move may shift
        return at_step(component, at, index - (index > origin) + (index > target))
    return at_step(component, at, carried(index, origin, target))


def carried(index: int, origin: int, target: int) -> int:
    """Where an element is after one was moved."""
    if index == origin:
        return target
    return index - (index > origin) + (index > target or (index == target and origin > target))


def move_past_move(component: Component, other: Component, at: int, side: Side) -> Component | None:
    """Two moves within one list, as ot-json0 has them."""
    start, end = component["p"][at], component["lm"]
    origin, target = other["p"][at], other["lm"]
    if origin == target:
        return component
    if start == origin:  # the same element: one of them moves it
        if side == "right":
            return None
        return at_step(component, at, target) | {"lm": target if start == end else end}
    index = start - (start > origin)
    lm = end
    if start > target:
        index += 1
    elif start == target and origin > target:
        index += 1
        lm += start == end
    if end > origin or (end == origin and end > start):
        lm -= 1
    if end > target:
        lm += 1
    elif end == target:
        if (target > origin and end > start) or (target < origin and end < start):
            lm += side == "right"
        elif end > start:
            lm += 1
        elif end == origin:
            lm -= 1
    return at_step(component, at, index) | {"lm": lm}
