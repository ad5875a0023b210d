"""Bytes, operations, rooms: no socket, clock, log or environment."""
