"""The native face of json/positions.pyx: nothing of it is for other modules."""
