"""``python -m tests.server.backends.nobody FILE``: opens a database as somebody without rights, and prints what it is told.

In a process of its own, which gives up being root once all is imported.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from syncline.server.backends.sqlite import SqliteStore, open_database
from syncline.server.seams.outcome import Unavailable
from syncline.testing import ManualClock


def main() -> None:
    if os.geteuid() == 0:
        os.setgid(65534)
        os.setuid(65534)
    try:
        asyncio.run(SqliteStore(open_database(Path(sys.argv[1])), ManualClock()).start())
    except Unavailable as error:
        print(error)
    else:
        print("opened")


if __name__ == "__main__":
    main()
