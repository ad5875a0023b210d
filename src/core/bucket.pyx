"""A token bucket: so many units a second, so many at once. The clock is the caller's.

Refills when asked, so it needs no timer, and allocates nothing.
"""


cdef class Bucket:
    """``rate`` units a second flow in, up to ``burst``; it begins full."""

    def __init__(self, double rate, double burst, double now):
        if not rate > 0 or not burst > 0:
            raise ValueError("rate and burst must be positive")
        self.rate = rate
        self.burst = burst
        self._left = burst
        self._at = now

    cpdef double take(self, double now, double cost) except? -1:
        """Takes ``cost`` and returns 0, or takes nothing and returns the seconds until it would be there.

        A cost above ``burst`` passes when the bucket is at least half full, and all of it is taken: what is not there is owed, so
        that over time ``rate`` holds, whatever the sizes.
        """
        cdef double needed = cost if cost <= self.burst else self.burst / 2
        if now > self._at:
            self._left = min(self.burst, self._left + (now - self._at) * self.rate)
            self._at = now
        if needed > self._left:
            return (needed - self._left) / self.rate
        self._left -= cost
        return 0.0

    cpdef int give_back(self, double cost) except -1:
        """For who took here and was refused elsewhere."""
        self._left = min(self.burst, self._left + cost)
        return 0

    def full_at(self):
        """When it will be full again, if nobody takes."""
        return self._at + (self.burst - self._left) / self.rate
