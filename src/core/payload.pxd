"""The native face of payload.pyx."""


cpdef int check_payload(str codec, bytes payload) except -1
