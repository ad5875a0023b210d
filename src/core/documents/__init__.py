"""One document, sans-I/O: content and operations behind an engine, exactly once, undo, cursors. On storage and values."""
