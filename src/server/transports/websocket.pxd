from ...core.wire.frames cimport FrameReader
from ..sessions.connection cimport Connection


cdef class Sockets:
    cdef:
        readonly object host
        object _pings
        readonly object buffer               # bytearray: what is being read, of one socket at a time
        public unsigned int wheel            # the turn in which the ping wheel is
        object _loop
        object _counters
        object _clock
        object _read_at                      # when what is being looked at was read


cdef class WebSocket(FrameReader):
    cdef:
        readonly Sockets sockets
        readonly object session              # None after the end
        readonly Connection connection       # None before ``open`` and after the end
        readonly bint lost                   # the socket is gone
        public unsigned int heard            # PingWheel's: the turn in which something last came (32 bits: 17 years of turns)
        public unsigned int sent             # PingWheel's: that in which something was last written
        public unsigned int pinged           # PingWheel's: that of the oldest ping that nothing has come after; 0: none
        Py_ssize_t _written                  # bytes, since it is open
        Py_ssize_t _taken                    # of them the peer had acknowledged when the ping wheel last looked
        Py_ssize_t _ahead                    # of them were there before the last ping
        object _socket                       # the event loop's transport; None when lost
        object _closing                      # timer that cuts the socket; None: no close frame was sent
        bytes _rest                          #: read, but not looked at while paused; None: nothing
        int _descriptor                      # the socket's; -1: not to be written to directly
        bint _direct                         # the event loop holds nothing that must go first
        double _since                        # when what is unread began to come; 0: nothing is
        bint _reading                        # inside ``read``
        bint _paused                         # by the session
        Py_ssize_t _looked                   # bytes of messages of this turn
        bint _done                           # the peer's close frame came, or it broke the protocol: the rest is ignored
        unsigned char _opcode                # of messages in the session's codec

    cdef int _received(self, const unsigned char* data, Py_ssize_t size) except -1
    cdef int _peer_closed(self, bytes payload) except -1
    cdef int _pause(self) except -1
    cdef int _go_on(self) except -1
