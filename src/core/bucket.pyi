"""A token bucket: so many units a second, so many at once. See bucket.pyx."""

class Bucket:
    """``rate`` units a second flow in, up to ``burst``; it begins full. ``now``: the caller's clock, in seconds."""

    @property
    def rate(self) -> float: ...
    @property
    def burst(self) -> float: ...
    def __init__(self, rate: float, burst: float, now: float) -> None:
        """Raises ValueError unless both are positive."""
    def take(self, now: float, cost: float) -> float:
        """Takes ``cost`` and returns 0, or takes nothing and returns the seconds until it would be there.

        A cost above ``burst`` passes when the bucket is at least half full, and all of it is taken: what is not there is owed, so
        that over time ``rate`` holds, whatever the sizes.
        """
    def give_back(self, cost: float) -> int:
        """For who took here and was refused elsewhere."""
    def full_at(self) -> float:
        """When it will be full again, if nobody takes."""
