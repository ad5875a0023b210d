"""The load generator: many WebSocket connections on one thread, native, and every delivery checked.

``syncline bench --help`` is the way in. It shares nothing with the server, so that neither hides a fault of the other.
"""
