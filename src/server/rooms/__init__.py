"""Rooms on this node: who is in them, what is published, what is told of presence. Stands on sessions."""
