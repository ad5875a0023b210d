"""What of a configuration that was read again holds without a restart.

Parts of the server hold the whole ``Config`` and read it when they need it: it is given the new sections all at once (``Config.swap``).
What a part took from it when it was made it takes anew (``Node.reconfigured``).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from .check import conflicts
from .keys import KEYS, Key
from .load import ConfigError
from .schema import Config


@dataclass(frozen=True, slots=True)
class Reload:
    """What is new. ``config``: the sections as they are from now on; ``changed``: keys that hold at once; ``waiting``: those that need a
    restart, and stay as they were until then."""

    config: Config
    changed: tuple[Key, ...]
    waiting: tuple[Key, ...]


def _value(config: Config, key: Key) -> Any:
    return getattr(getattr(config, key.section), key.name)


def plan(running: Config, read: Config) -> Reload:
    """Changes nothing. Raises ConfigError when what would hold at once contradicts what needs a restart."""
    new = [key for key in KEYS.values() if _value(running, key) != _value(read, key)]
    sections = {}
    for section in fields(Config):
        make: Any = section.default_factory  # the section's dataclass
        keys = [key for key in KEYS.values() if key.section == section.name]
        sections[section.name] = make(**{key.name: _value(running if key.restart else read, key) for key in keys})
    config = Config(**sections)
    problems = [f"{paths[0]}: {text}" for paths, text in conflicts(config)]
    if problems:
        raise ConfigError([f"{problem}; together with what needs a restart" for problem in problems])
    return Reload(config, tuple(key for key in new if not key.restart), tuple(key for key in new if key.restart))
