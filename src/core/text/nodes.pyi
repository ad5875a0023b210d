"""The nodes of trees of chunks: for native modules only. See nodes.pyx."""

def live_chunks() -> int:
    """How many nodes of trees are allocated in this process; for leak tests."""

def missing_chunks() -> int:
    """How many nodes were needed beyond what was reserved, in this process; tests hold it at 0."""
