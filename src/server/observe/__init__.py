"""Logs, counters, metrics. Stands on limits, whose refusals it shows."""
