cdef class Assembler:
    cdef:
        readonly Py_ssize_t max_bytes
        list _parts               #: fragments of the message that has begun
        Py_ssize_t _size
        int _opcode               # of the message that has begun; -1: none
        unsigned int _utf8        # state of the UTF-8 automaton over the fragments
        bint _compressed          # the message that has begun
        public object inflater    # of deflate.py; None: compression was not agreed

    cpdef object feed(self, int opcode, bint fin, int reserved, bytes payload)


cpdef bytes encode_frame(int opcode, bytes payload, bint compressed=*)
cpdef bytes encode_close(int code, str reason)
cpdef bint is_utf8(bytes data) except -1
