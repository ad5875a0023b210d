cdef class Assembler:
    cdef:
        readonly Py_ssize_t max_bytes
        list _parts               #: fragments of the message that has begun
        Py_ssize_t _size
        int _opcode               # of the message that has begun; -1: none
        unsigned int _utf8        # state of the UTF-8 automaton over the fragments

    cpdef object feed(self, int opcode, bint fin, bint reserved, bytes payload)


cpdef bytes encode_frame(int opcode, bytes payload)
cpdef bytes encode_close(int code, str reason)
cpdef bint is_utf8(bytes data) except -1
