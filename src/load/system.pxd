"""What the generator asks of Linux: epoll, a timer that is a descriptor, sockets. See system.pyx."""

from libc.stdint cimport uint16_t, uint32_t, uint64_t

cdef extern from "<sys/epoll.h>" nogil:
    enum:
        EPOLLIN
        EPOLLOUT
        EPOLLERR
        EPOLLHUP
        EPOLL_CTL_ADD
        EPOLL_CTL_MOD
        EPOLL_CTL_DEL
        EPOLL_CLOEXEC
    ctypedef union epoll_data_t:
        uint64_t u64
    struct epoll_event:
        uint32_t events
        epoll_data_t data
    int epoll_create1(int flags)
    int epoll_ctl(int epoll, int op, int fd, epoll_event *event)
    int epoll_wait(int epoll, epoll_event *events, int size, int timeout_ms)

cdef extern from "<sys/timerfd.h>" nogil:
    enum:
        TFD_NONBLOCK
        TFD_CLOEXEC
        TFD_TIMER_ABSTIME
    struct itimerspec_value "timespec":
        long tv_sec
        long tv_nsec
    struct itimerspec:
        itimerspec_value it_interval
        itimerspec_value it_value
    int timerfd_create(int clock, int flags)
    int timerfd_settime(int fd, int flags, const itimerspec *new, itimerspec *old)

cdef extern from "<sys/socket.h>" nogil:
    enum:
        AF_INET
        SOCK_STREAM
        SOCK_NONBLOCK
        SOCK_CLOEXEC
        SOL_SOCKET
        SO_ERROR
        SO_LINGER
        MSG_NOSIGNAL
    struct sockaddr:
        pass
    struct linger:
        int l_onoff
        int l_linger
    int socket(int family, int kind, int protocol)
    int bind(int fd, const sockaddr *address, unsigned int length)
    int connect(int fd, const sockaddr *address, unsigned int length)
    int setsockopt(int fd, int level, int name, const void *value, unsigned int length)
    int getsockopt(int fd, int level, int name, void *value, unsigned int *length)
    ssize_t recv(int fd, void *buffer, size_t length, int flags)
    ssize_t send(int fd, const void *buffer, size_t length, int flags)

cdef extern from "<netinet/in.h>" nogil:
    enum:
        IPPROTO_IP
        IPPROTO_TCP
        IP_BIND_ADDRESS_NO_PORT
    struct in_addr:
        uint32_t s_addr
    struct sockaddr_in:
        unsigned short sin_family
        uint16_t sin_port
        in_addr sin_addr
    uint16_t htons(uint16_t value)
    uint32_t htonl(uint32_t value)

cdef extern from "<netinet/tcp.h>" nogil:
    enum:
        TCP_NODELAY

cdef extern from "<string.h>" nogil:
    # A GNU extension, in musl too; Python's own headers define _GNU_SOURCE.
    void *memmem(const void *haystack, size_t length, const void *needle, size_t needle_length)

cdef extern from *:
    """
    static inline size_t syncline_span(const char *start, const char *end) { return (size_t)(end - start); }
    """
    # end - start in bytes; Cython's overflow checks, in the debug build, cannot subtract pointers.
    size_t span "syncline_span"(const char *start, const char *end) noexcept nogil

cdef extern from "<unistd.h>" nogil:
    int close(int fd)
    ssize_t read(int fd, void *buffer, size_t length)

cdef uint32_t ip_number(str text) except? 0
cdef object last_error(str more=*)
