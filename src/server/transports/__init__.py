"""The way in: bytes and back-pressure, nothing else. Stands on sessions."""
