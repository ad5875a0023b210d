"""Batches of edits without an object each: for native modules only. See splices.pyx."""
