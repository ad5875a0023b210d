"""Makes the asserts of the exported suites explain themselves, as those of test files do."""

from __future__ import annotations

import pytest

for name in ("broker", "events", "outcome", "presence", "store"):
    pytest.register_assert_rewrite(f"syncline.testing.{name}")
