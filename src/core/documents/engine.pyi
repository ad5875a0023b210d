"""The seam between a document and what it is a document of. See engine.pyx."""

class Caret:
    """A client's selection; positions are the engine's."""

class Engine:
    """Not for use by itself."""

    @property
    def undone(self) -> bool:
        """Whether anything can be undone at all."""
