"""Large texts as a tree of chunks: for native modules only. See chunks.pyx."""
