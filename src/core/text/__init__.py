"""Texts as UTF-16: a gap buffer, when large a tree of chunks; edits, offsets both ways. On ot."""
