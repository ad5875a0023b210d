"""The native face of replay.pyx: nothing is called natively from outside."""
