"""The server. ARCHITECTURE.md, Arrows."""
