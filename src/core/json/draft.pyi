"""A JSON document while an operation is made on it. See json/draft.pyx."""

from typing import final

@final
class Draft:
    """A document that is being changed: containers are copied when they are first written to."""
