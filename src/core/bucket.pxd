cdef class Bucket:
    cdef:
        readonly double rate    # units a second
        readonly double burst   # units at most
        double _left            # below zero: owed
        double _at              # when _left was right, in the caller's seconds

    cpdef double take(self, double now, double cost) except? -1
    cpdef int give_back(self, double cost) except -1
