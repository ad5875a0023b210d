"""What the generator asks of Linux: epoll, a timer that is a descriptor, sockets. The declarations are in system.pxd."""

import os
import socket as sockets

from libc.errno cimport errno
from libc.stdint cimport uint32_t


cdef uint32_t ip_number(str text) except? 0:
    """An IPv4 address as a sockaddr_in holds it. Raises OSError for what is none."""
    cdef bytes packed = sockets.inet_aton(text)
    return (<uint32_t *><char *>packed)[0]


cdef object last_error(str more=""):
    """The OSError of the call that has just failed."""
    cdef int number = errno
    return OSError(number, os.strerror(number) + more)
