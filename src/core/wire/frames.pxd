from libc.stdint cimport uint8_t, uint32_t


cdef class FrameReader:
    cdef:
        readonly Py_ssize_t max_bytes
        public object inflater    # of deflate.py; None: compression was not agreed
        readonly bint muted       # data frames are passed over
        public bint halted        # set by a callback: nothing more is read now
        # The frame under way
        bytes _head               #: its header, or a control frame, as far as it has come; None: nothing
        Py_ssize_t _missing       # payload bytes of a data frame that have not come yet
        uint32_t _mask
        unsigned int _phase       # payload bytes so far, modulo 4
        # The message under way
        int _opcode               # -1: none
        bint _fin                 # the frame under way is the last one
        bint _compressed
        unsigned int _utf8        # state of the UTF-8 automaton
        uint8_t* _body            # unmasked, of all its frames; owned
        Py_ssize_t _filled
        Py_ssize_t _capacity

    cpdef int message(self, int opcode, bytes payload) except -1
    cpdef int control(self, int opcode, bytes payload) except -1
    cdef Py_ssize_t read(self, const uint8_t* data, Py_ssize_t size) except -1
    cdef Py_ssize_t _complete(self, const uint8_t* data, Py_ssize_t size) except -1
    cdef Py_ssize_t _frame(self, const uint8_t* data, Py_ssize_t size) except -1
    cdef int _take(self, const uint8_t* data, Py_ssize_t size) except -1
    cdef int _check_text(self, const uint8_t* data, Py_ssize_t size) except -1
    cdef int _end_frame(self) except -1
    cpdef int mute(self) except -1
    cdef int _drop_body(self) except -1


cpdef int close_code(bytes payload) except -1
cpdef bytes encode_frame(int opcode, bytes payload, bint compressed=*)
cpdef bytes encode_close(int code, str reason)
cpdef bint is_utf8(bytes data) except -1
cdef bint utf8_valid(const uint8_t* data, Py_ssize_t size) noexcept nogil
