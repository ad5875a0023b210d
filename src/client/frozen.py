"""JSON values that cannot be changed: what a document gives out of its content.

They are lists and dicts (compare, iterate, encode), whose changing methods raise TypeError. A copy of one, by ``copy.deepcopy`` or
pickle, is a plain value again.
"""

from __future__ import annotations

from typing import Any, NoReturn

#: Levels that ``thawed`` goes down; what is deeper is no content anyway.
_LEVELS = 100


def _refuse(self: object, *args: object, **kwargs: object) -> NoReturn:
    raise TypeError("the content of a document changes by operations only; copy.deepcopy() gives a value of one's own")


class FrozenList(list[Any]):
    __slots__ = ()
    __setitem__ = __delitem__ = __iadd__ = __imul__ = _refuse
    append = clear = extend = insert = pop = remove = reverse = sort = _refuse

    def __deepcopy__(self, memo: object) -> list[Any]:
        return [thawed(item) for item in self]

    def __reduce_ex__(self, protocol: object) -> tuple[Any, ...]:
        return list, (thawed(self),)


class FrozenDict(dict[str, Any]):
    __slots__ = ()
    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __deepcopy__(self, memo: object) -> dict[str, Any]:
        return {key: thawed(item) for key, item in self.items()}

    def __reduce_ex__(self, protocol: object) -> tuple[Any, ...]:
        return dict, (thawed(self),)


def frozen(value: Any, before: Any = None, shown: Any = None) -> Any:
    """A copy of a JSON value that cannot be changed.

    ``shown``: what this gave for ``before``, of which ``value`` was made without changing it: the parts that both have are not
    copied again. O(what differs), and the lists and objects that lead there.
    """
    if value is before:
        return shown
    if type(value) is dict:
        if type(before) is not dict:
            before, shown = {}, {}
        return FrozenDict({key: frozen(item, before.get(key), shown.get(key)) for key, item in value.items()})
    if type(value) is list:
        if type(before) is not list:
            before, shown = [], []
        known = dict(zip(map(id, before), shown, strict=True))  # an insert moves what follows
        missing = object()
        result = FrozenList()
        for at, item in enumerate(value):
            copy = known.get(id(item), missing)
            if copy is missing:
                copy = frozen(item, before[at], shown[at]) if at < len(before) else frozen(item)
            list.append(result, copy)
        return result
    return value


def thawed(value: Any, level: int = 0) -> Any:
    """The value as plain lists and dicts, copied. O(value)."""
    if level < _LEVELS:
        if isinstance(value, list):
            return [thawed(item, level + 1) for item in value]
        if isinstance(value, dict):
            return {key: thawed(item, level + 1) for key, item in value.items()}
    return value
