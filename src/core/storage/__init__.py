"""Commits: a window of them in memory, and how they and snapshots are written for the store. On text."""
