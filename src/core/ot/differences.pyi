"""What two texts, or two lists, have in common. See differences.pyx."""

def splices(before: str, after: str, budget: list[int] | None = None) -> list[tuple[int, int, str]]:
    """(start, deleted, inserted) for each change, in order: characters of ``before``, as it is before all of them.

    The fewest changes by characters, where those are few; what is left of a text between two larger changes by chance is not kept. One
    splice, of all that differs, where that would be much work. At most 100. O(both), and up to a million steps: some milliseconds.
    ``budget``: how many may be done; those that may be needed are taken from it.
    """

def common(before: list[int], after: list[int], budget: list[int] | None = None) -> list[tuple[int, int]] | None:
    """Pairs of indexes of a longest common subsequence, in order; None where that is much work. Numbers of 32 bits. ``budget``: as of
    ``splices``."""
