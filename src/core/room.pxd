from .digest cimport RollingDigest
from .wire cimport Push


cdef class Publication:
    cdef:
        readonly str room
        public long long offset       # set once, by the broker
        public str epoch
        readonly str user
        readonly str name
        readonly double time          # Unix seconds
        readonly str codec            # of data
        readonly bytes data
        bytes _json                   # the built frame, per kind of member; None until asked for
        bytes _msgpack
        Py_ssize_t _other_size        #: of the payload in the codec that is not ``codec``; -1 until its frame is built

    cpdef bytes frame(self, str codec)
    cpdef bytes payload(self, str codec)
    cdef dict _data_with(self, bytes payload)
    cdef bytes _build(self, str codec)


cdef class HistoryRing:
    cdef:
        readonly Py_ssize_t max_count
        readonly Py_ssize_t max_bytes
        readonly double max_age       # seconds; 0: any
        readonly Py_ssize_t size_bytes
        readonly str epoch
        readonly long long offset     # of the newest publication
        object _items                 #: deque of Publication, consecutive offsets, the last one at ``offset``
        RollingDigest _json           #: None until somebody asks
        RollingDigest _msgpack

    cpdef int append(self, Publication publication) except -1
    cdef int _restart(self, Publication publication) except -1
    cpdef Py_ssize_t expire(self, double now) except -1
    cpdef RollingDigest digest(self, str codec)


cdef class Member:
    cdef:
        readonly str kind
        object __weakref__

    cpdef int deliver(self, bytes frame) except -1


cdef class Room:
    cdef:
        readonly str name
        readonly HistoryRing history
        dict _members                 #: Member -> None, in order of arrival

    cpdef Py_ssize_t publish(self, Publication publication) except -1
    cpdef Py_ssize_t broadcast(self, Push push, Member skip=*) except -1
