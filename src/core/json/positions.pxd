"""The native face of json_positions.pyx: nothing of it is for other modules."""
