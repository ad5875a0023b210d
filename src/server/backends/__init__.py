"""Implementations of the seams: one driver library a file. Named by app and cli alone."""
