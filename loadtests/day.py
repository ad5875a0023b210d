"""``locust -f loadtests/day.py``: the mixed scenario over a day in small, with morning, peak, lunch and evening.

``--run-time`` is the length of the day, ``--users`` its peak.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

from locust import LoadTestShape

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from loadtests.scenarios import MixedUser

__all__ = ["Day", "MixedUser"]

# Share of the peak that is there in each two hours of the day.
HOURS = (0.1, 0.05, 0.05, 0.1, 0.5, 0.9, 0.7, 1.0, 0.8, 0.5, 0.4, 0.2)


class Day(LoadTestShape):
    use_common_options = True

    def tick(self) -> tuple[int, float] | None:
        assert self.runner is not None
        parsed: Any = self.runner.environment.parsed_options
        peak, seconds = int(parsed.num_users or 100), float(parsed.run_time or 300)
        shape: Any = self
        step = int(shape.get_run_time() / seconds * len(HOURS))
        if step >= len(HOURS):
            return None
        users = max(1, math.ceil(HOURS[step] * peak))
        # People come and go within a third of the two hours.
        change = abs(users - shape.get_current_user_count())
        return users, max(float(parsed.spawn_rate or 1), change * 3 * len(HOURS) / seconds)
