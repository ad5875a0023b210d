"""The pieces of work whose instructions `make guard` counts, in time: `make bench`. A round does ``units`` of each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from workloads import WORKLOADS, Workload


def call(run: Callable[[], Any]) -> Any:
    return run()


@pytest.mark.parametrize("work", WORKLOADS, ids=lambda work: work.name)
def test_workload(benchmark: Any, work: Workload) -> None:
    run, check = work.prepare(work.count)
    check(run())

    def prepare() -> tuple[tuple[Callable[[], Any]], dict[str, Any]]:
        return (work.prepare(work.count)[0],), {}

    benchmark.extra_info["units"] = work.count
    benchmark.pedantic(call, setup=prepare, rounds=40, warmup_rounds=2)
