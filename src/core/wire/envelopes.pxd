cdef class Push:
    cdef:
        readonly str event
        readonly str skip           # id of the connection that must not get it; "" none
        readonly str key            # it makes earlier pushes of this key in the room worthless; "": it does not
        str _codec                  # of _body
        bytes _body                 # the encoded `data`
        bytes _json                 # the built frame, per kind of member; None until asked for
        bytes _msgpack

    cpdef bytes body(self, str codec)
    cpdef bytes frame(self, str codec)
    cpdef bytes pack(self)
