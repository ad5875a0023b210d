"""JSON documents, slowly and obviously: random values and operations whose effect is done by hand, and a plain ``apply``.

Everything random comes from one ``random.Random``, so that hypothesis can shrink it and a fuzz run can repeat it.
"""

from __future__ import annotations

import copy
from random import Random
from typing import Any

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
