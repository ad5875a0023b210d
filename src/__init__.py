"""Syncline: a real-time platform server. Python outside, Cython where every message passes."""

__version__ = "0.1.0"
