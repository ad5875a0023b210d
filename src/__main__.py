"""``python -m syncline`` and the ``syncline`` command."""

from __future__ import annotations

import sys

from .server.observe import standard

standard.ensure()

if sys.argv[1:2] == ["serve"] and "--check" not in sys.argv:  # before what takes a while to import
    from .server.process import signals

    signals.take()

from .server.cli import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
