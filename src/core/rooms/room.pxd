from .delivery_proof cimport RollingDigest
from ..wire.envelopes cimport Push


cdef class Room


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
        public str skip               # the connection that does not get it; "": all do. Of this node, not kept
        readonly str key              # what it is the newest of, in a room of the class latest; "": its user
        Py_ssize_t _length            #: of ``data`` as it was given
        bint _unchecked               # ``data`` is as it was stored, by an older server perhaps
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
    cpdef Py_ssize_t drop_to(self, Py_ssize_t size) except -1
    cpdef RollingDigest digest(self, str codec)


cdef class Member:
    cdef:
        readonly str kind
        bint _packed                  # its frames are MessagePack
        object __weakref__

    cpdef int deliver(self, bytes frame) except -1
    cpdef int deliver_latest(self, bytes frame, object key) except -1
    cpdef int deliver_volatile(self, bytes frame) except -1
    cdef int offer(self, bytes frame, Room room) except -1


cdef class Room:
    cdef:
        readonly str name
        readonly HistoryRing history
        readonly str room_class
        readonly long long before_offset   # the position before the publication that is given out now, or was last
        readonly str before_epoch
        int _class
        list _members                 #: Member
        dict _places                  #: Member -> its place in _members
        bint _shared                  # a fan-out walks over _members: it must not change

    cdef int _own(self) except -1
    cpdef Py_ssize_t publish(self, Publication publication, Member skip=*) except -1
    cpdef Py_ssize_t broadcast(self, Push push, Member skip=*) except -1
    cdef Py_ssize_t _fan_out(self, Publication publication, Push push, Member skip, int way, object key) except -1
