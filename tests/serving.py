"""A real server inside the test's event loop, on a free port, over memory or SQLite."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from syncline.server import app as app_module
from syncline.server.app import App
from syncline.server.config.schema import Config
from syncline.server.node import Node
from tests.waiting import until

#: ``async with serve(limits={"rooms": 2}) as app:``; several in one test share the database file.
Serve = Callable[..., contextlib.AbstractAsyncContextManager[App]]


def configure(backend: str, folder: Path, **sections: dict[str, Any]) -> Config:
    """Defaults on a free port, with some fields of some sections replaced."""
    base: dict[str, dict[str, Any]] = {
        "server": {"port": 0, "drain_seconds": 2.0},
        "store": {"backend": backend, "path": str(folder / "syncline.db"), "synchronous": "normal"},
        "broker": {"backend": backend},
        "presence": {"backend": backend, "grace_seconds": 0.0},
        "documents": {"idle_seconds": 0.0},
    }
    config = Config()
    for name in {*base, *sections}:
        fields = {**base.get(name, {}), **sections.get(name, {})}
        config = dataclasses.replace(config, **{name: dataclasses.replace(getattr(config, name), **fields)})
    return config


@contextlib.asynccontextmanager
async def serving(folder: Path, backend: str = "memory", **sections: dict[str, Any]) -> AsyncIterator[App]:
    """``async with serving(tmp_path, limits={"rooms": 2}) as app``."""
    async with app_module.running(configure(backend, folder, **sections)) as app:
        yield app


def ws_url(app: App) -> str:
    return app.url.replace("http://", "ws://") + "/ws"


async def leak_free(app: App) -> None:
    """Returns once nothing is left of any connection."""
    node = app.node
    await until(
        lambda: (
            not (
                node.sessions.connections
                or node.sessions.users
                or node.hub.rooms
                or node.documents.live
                or len(node.presence)
                or len(node.pings)
                or len(node.arrivals)
            )
        )
    )


def samples(node: Node) -> dict[str, float]:
    """`name{label="value"}` -> value, as a scraper reads them."""
    found = {}
    for family in text_string_to_metric_families(node.metrics.render().decode()):
        for sample in family.samples:
            labels = ",".join(f'{key}="{value}"' for key, value in sorted(sample.labels.items()))
            found[sample.name + (f"{{{labels}}}" if labels else "")] = sample.value
    return found
