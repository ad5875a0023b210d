"""The process: its signals, its sockets, what systemd is told, whether it is ready. Stands on config and seams."""
