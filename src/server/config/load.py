"""Reads the configuration: TOML file, then environment, then command line, over the defaults of schema.py.

Every error is reported at once, each with where and what was found, and what is allowed. Secrets are never quoted.
"""

from __future__ import annotations

import difflib
import json
import math
import os
import re
import stat
import tomllib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import fields
from typing import Any, Final

from .check import conflicts
from .keys import KEYS, PREFIX, SECTIONS, VARIABLES, Key
from .schema import Config

#: Of a file; the example with every key and its text has 60 KB.
MOST_BYTES: Final = 1_048_576
#: Errors that are told; of more, which is no configuration, the rest is counted.
MOST_PROBLEMS: Final = 100

_SETTING = re.compile(rb"^[^#\n]*=", re.MULTILINE)
_INTEGER = re.compile(r"[+-]?[0-9]+(_[0-9]+)*")
_TRUE, _FALSE = frozenset({"true", "yes", "on", "1"}), frozenset({"false", "no", "off", "0"})


class ConfigError(Exception):
    """``problems``: one line each. ``str`` of it is for the operator."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = list(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        count = len(self.problems)
        head = "the configuration has an error:" if count == 1 else f"the configuration has {count} errors:"
        told = ["  " + problem for problem in self.problems[:MOST_PROBLEMS]]
        rest = [f"  and {count - MOST_PROBLEMS} more"] if count > MOST_PROBLEMS else []
        return "\n".join([head, *told, *rest])


# -- values ------------------------------------------------------------------------------------------------------------


class _Wrong(Exception):
    """A value that its key does not allow."""


def _show(value: Any, *, secret: bool = False) -> str:
    kinds = {bool: "a boolean", int: "an integer", float: "a number", str: "a string", list: "a list", dict: "a table"}
    kind = kinds.get(type(value), "a " + type(value).__name__)
    if secret:
        return f"{kind} (not shown)"
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
    except ValueError:  # Python writes no integer of more than 4,300 digits
        text = "one of thousands of digits"
    return f"{text if len(text) <= 60 else text[:57] + '...'} ({kind})"


def _within(key: Key, value: float) -> bool:
    low = -math.inf if key.low is None else key.low
    high = math.inf if key.high is None else key.high
    # NaN fails every comparison.
    return low <= value <= high


def _check(key: Key, value: Any) -> Any:
    """``value`` as the type of ``key``. Raises _Wrong."""
    kind = key.type
    if kind == "bool":
        if isinstance(value, bool):
            return value
    elif kind in ("int", "float"):
        types = (int,) if kind == "int" else (int, float)
        if isinstance(value, types) and not isinstance(value, bool) and _within(key, value):
            with suppress(OverflowError):  # an integer that no float is near
                return value if kind == "int" else float(value)
    elif kind == "str":
        if isinstance(value, str) and (not key.choices or value in key.choices):
            return value
    elif kind == "list[str]":
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return list(value)
    else:
        raise AssertionError(f"{key.path}: no rule for the type {kind}")
    found = _show(value, secret=key.secret)
    close = difflib.get_close_matches(value, key.choices, 1) if isinstance(value, str) and not key.secret else []
    hint = f'; did you mean "{close[0]}"?' if close else ""
    raise _Wrong(f"found {found}, allowed is {key.allowed}{hint}")


def _from_text(key: Key, text: str) -> Any:
    """The text of an environment variable as a value for ``_check``; what does not parse stays text and fails there."""
    stripped = text.strip()
    if key.type == "bool":
        lowered = stripped.lower()
        return True if lowered in _TRUE else False if lowered in _FALSE else text
    if key.type == "float" or (key.type == "int" and _INTEGER.fullmatch(stripped)):
        try:
            return float(stripped) if key.type == "float" else int(stripped)
        except ValueError:  # also of an integer with more digits than Python reads
            return text
    if key.type == "list[str]":
        if stripped.startswith("["):
            try:
                return json.loads(stripped)
            except ValueError:
                return text
        return [item.strip() for item in stripped.split(",") if item.strip()]
    return text


# -- sources -----------------------------------------------------------------------------------------------------------


def _read(path: str, *, again: bool) -> bytes:
    """Raises _Wrong, OSError. Waits for nobody when ``again``."""
    waits = os.O_NONBLOCK if again else 0
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | waits)) as file:
        if again and not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise _Wrong("is no file that can be read again; start with a file in order to reload it")
        text = file.read(MOST_BYTES + 1)
    if len(text) > MOST_BYTES:
        raise _Wrong(f"has more than {MOST_BYTES} bytes: that is no configuration")
    if again and not _SETTING.search(text):
        raise _Wrong("has no setting at all; if the defaults are meant, restart")
    return text


class _Lines:
    """Finds the line of a key in TOML text, for messages. By eye, not by grammar: tomllib does not tell."""

    _HEADER = re.compile(r"\s*\[\s*([\w.\-\"']+)\s*\]")
    _NAME = re.compile(r"[\w.\-\"' ]+")

    def __init__(self, text: str) -> None:
        self._lines: dict[str, int] = {}
        section = ""
        for at, line in enumerate(text.splitlines(), 1):
            if header := self._HEADER.match(line):
                section = re.sub("[\"']", "", header[1])
                self._lines.setdefault(section, at)
            elif "=" in line and self._NAME.fullmatch(before := line.partition("=")[0].strip()):
                name = re.sub("[\"' ]", "", before)
                self._lines.setdefault(f"{section}.{name}" if section else name, at)

    def where(self, file: str, path: str) -> str:
        line = self._lines.get(path)
        return file if line is None else f"{file}:{line}"


class _Loader:
    """Collects values and problems over all sources; later sources win."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.values: dict[str, Any] = {}
        self.wheres: dict[str, str] = {}
        self.refused: set[str] = set()

    def _near(self, word: str, words: Iterable[str], cutoff: float = 0.6) -> str:
        """The one of ``words`` that was meant; "": none is like it, or nobody will be told."""
        if len(self.problems) >= MOST_PROBLEMS:
            return ""
        return next(iter(difflib.get_close_matches(word, words, 1, cutoff)), "")

    def _suggest(self, path: str) -> str:
        """A sentence that names the key that was meant, or nothing."""
        name = path.rpartition(".")[2]
        elsewhere = (key.path for key in KEYS.values() if key.name == name)  # the right name in the wrong section
        meant = self._near(path, KEYS, 0.75) or next(elsewhere, "")
        return f"; did you mean {meant}?" if meant else ""

    def _take(self, where: str, key: Key, value: Any) -> None:
        try:
            self.values[key.path] = _check(key, value)
        except _Wrong as wrong:
            self.problems.append(f"{where}: {key.path}: {wrong}")
            self.refused.add(key.path)
        self.wheres[key.path] = where

    def file(self, path: str, *, again: bool) -> None:
        try:
            text = _read(path, again=again).decode("utf-8")
            data = tomllib.loads(text)
        except _Wrong as wrong:
            self.problems.append(f"{path}: {wrong}")
            return
        except OSError as error:
            self.problems.append(f"{path}: cannot be read: {error.strerror or error}")
            return
        except UnicodeDecodeError as error:
            self.problems.append(f"{path}: not UTF-8 (byte {error.start})")
            return
        except ValueError as error:  # TOMLDecodeError, and what Python says of an integer with thousands of digits
            self.problems.append(f"{path}: not TOML: {error}")
            return
        except RecursionError:
            self.problems.append(f"{path}: not TOML: nested too deeply")
            return
        lines = _Lines(text)
        for section, content in data.items():
            where = lines.where(path, section)
            if section not in SECTIONS:
                meant = self._near(section, SECTIONS)
                hint = (
                    f"; did you mean [{meant}]?"
                    if meant
                    else ""
                    if isinstance(content, dict)
                    else self._suggest(section)
                )
                noun = "section" if isinstance(content, dict) else "key"
                self.problems.append(
                    f"{where}: {section}: no such {noun}{hint or '; sections: ' + ', '.join(SECTIONS)}"
                )
                continue
            if not isinstance(content, dict):
                self.problems.append(f"{where}: {section}: found {_show(content)}, allowed is a section, [{section}]")
                continue
            for name, value in content.items():
                dotted = f"{section}.{name}"
                key = KEYS.get(dotted)
                where = lines.where(path, dotted)
                if key is None:
                    self.problems.append(f"{where}: {dotted}: no such key{self._suggest(dotted)}")
                else:
                    self._take(where, key, value)

    def environment(self, environ: Mapping[str, str]) -> None:
        for variable in sorted(environ):
            if not variable.startswith(PREFIX):
                continue
            key = VARIABLES.get(variable)
            if key is not None:
                self._take(f"environment {variable}", key, _from_text(key, environ[variable]))
                continue
            rest = variable.removeprefix(PREFIX)
            if "__" in rest:
                meant = self._near(variable, VARIABLES, 0.75)
                hint = f"; did you mean {meant}?" if meant else ""
                self.problems.append(f"environment {variable}: no such key{hint}")
                continue
            # SYNCLINE_SERVER_PORT for SYNCLINE_SERVER__PORT. Names that are near no key belong to somebody else.
            for key in KEYS.values():
                if rest == f"{key.section}_{key.name}".upper():
                    self.problems.append(f"environment {variable}: no such key; did you mean {key.variable}?")

    def overrides(self, overrides: Mapping[str, object]) -> None:
        for path, value in overrides.items():
            key = KEYS.get(path)
            if key is None:
                self.problems.append(f"command line: {path}: no such key{self._suggest(path)}")
            else:
                self._take("command line", key, value)

    def config(self) -> Config:
        sections = {}
        for section in fields(Config):
            given = {
                key.name: self.values[key.path]
                for key in KEYS.values()
                if key.section == section.name and key.path in self.values
            }
            make: Any = section.default_factory  # the section's dataclass
            sections[section.name] = make(**given)
        return Config(**sections)

    def cross_check(self, config: Config) -> None:
        """What one field alone cannot tell. Skipped where one of the fields is wrong already."""
        for paths, text in conflicts(config):
            if not self.refused.intersection(paths):
                wheres = [self.wheres[path] for path in paths if path in self.wheres]
                self.problems.append(f"{wheres[0] if wheres else 'defaults'}: {paths[0]}: {text}")


def load(
    path: str | None,
    environ: Mapping[str, str],
    overrides: Mapping[str, object] | None = None,
    *,
    again: bool = False,
) -> Config:
    """The configuration from ``path`` (None: no file), ``environ`` and ``overrides`` ("server.port" -> value).

    ``again``: by a server that runs; what cannot be read twice (a pipe) is refused, and so is a file without a single setting: more
    likely somebody is writing it just now than means the defaults. Raises ConfigError with every problem of all sources.
    """
    loader = _Loader()
    if path is not None:
        loader.file(path, again=again)
    loader.environment(environ)
    loader.overrides(overrides or {})
    config = loader.config()
    loader.cross_check(config)
    if loader.problems:
        raise ConfigError(loader.problems)
    return config
