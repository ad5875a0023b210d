"""The native face of value_log.pyx."""

from syncline.core.documents.undo_log cimport UndoLog


cdef class ValueLog(UndoLog):
    cdef object type
    cdef list steps         # operations; None does nothing
    cdef list sizes         # what each occupies, about; -1: it was not looked at yet
    cdef Py_ssize_t weight  # the sum of those that were
