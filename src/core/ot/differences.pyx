"""What two texts, or two lists, have in common: a longest common subsequence by the greedy algorithm of Myers, within bounds.

Source: Eugene W. Myers, An O(ND) Difference Algorithm and Its Variations (1986). The path that it takes for d changes follows from
the furthest points reached with d - 1; they are kept, row by row, and read backwards. Work is O(both + changes^2) where what is common
comes in long runs, O(both x changes) at worst; it is counted, and given up at MOST_WORK beyond O(both): some milliseconds.
"""

from cpython.unicode cimport PyUnicode_DATA, PyUnicode_GET_LENGTH, PyUnicode_KIND, PyUnicode_READ, PyUnicode_Substring
from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport free, malloc, realloc

# Characters or elements of both, from where they differ on: they are copied.
cdef Py_ssize_t LONGEST = 4_000_000

# Steps: about seven milliseconds.
cdef int64_t MOST_WORK = 1_000_000

# Changes: their rows take half their square in numbers, 2 MB.
cdef Py_ssize_t MOST_CHANGES = 1000

# Of one text: others would have to follow each of them.
cdef Py_ssize_t MOST_SPLICES = 100


def splices(str before not None, str after not None, list budget=None):
    """(start, deleted, inserted) for each change, in order: characters of ``before``, as it is before all of them.

    The fewest changes by characters, where those are few; what is left of a text between two larger changes by chance is not kept. One
    splice, of all that differs, where that would be much work. At most MOST_SPLICES. O(both), and up to MOST_WORK steps. ``budget``: how
    many may be done; those that may be needed are taken from it.
    """
    cdef Py_ssize_t old = PyUnicode_GET_LENGTH(before), new = PyUnicode_GET_LENGTH(after), head = 0, tail = 0, index
    cdef int old_kind = PyUnicode_KIND(before), new_kind = PyUnicode_KIND(after)
    cdef void *old_data = PyUnicode_DATA(before)
    cdef void *new_data = PyUnicode_DATA(after)
    cdef int32_t *cells = NULL
    cdef list hunks = None
    while head < min(old, new) and PyUnicode_READ(old_kind, old_data, head) == PyUnicode_READ(new_kind, new_data, head):
        head += 1
    while tail < min(old, new) - head and PyUnicode_READ(old_kind, old_data, old - tail - 1) == PyUnicode_READ(
        new_kind, new_data, new - tail - 1
    ):
        tail += 1
    old -= head + tail
    new -= head + tail
    if old == 0 and new == 0:
        return []
    if old and new and may_search(old, new, budget):
        cells = <int32_t *>malloc((old + new) * sizeof(int32_t))
        if cells == NULL:
            raise MemoryError()
        try:
            for index in range(old):
                cells[index] = PyUnicode_READ(old_kind, old_data, head + index)
            for index in range(new):
                cells[old + index] = PyUnicode_READ(new_kind, new_data, head + index)
            hunks = between(runs(cells, old, cells + old, new), old, new)
        finally:
            free(cells)
    if hunks is None:
        hunks = [(0, old, 0, new)]
    return [
        (head + start, end - start, PyUnicode_Substring(after, head + first, head + last))
        for start, end, first, last in gathered(hunks)
    ]


def common(list before not None, list after not None, list budget=None):
    """Pairs of indexes of a longest common subsequence, in order; None where that is much work. Numbers of 32 bits. ``budget``: as of
    ``splices``."""
    cdef Py_ssize_t old = len(before), new = len(after), index
    cdef int32_t *cells
    if not may_search(old, new, budget):
        return None
    cells = <int32_t *>malloc((old + new + 1) * sizeof(int32_t))
    if cells == NULL:
        raise MemoryError()
    try:
        for index in range(old):
            cells[index] = before[index]
        for index in range(new):
            cells[old + index] = after[index]
        found = runs(cells, old, cells + old, new)
    finally:
        free(cells)
    if found is None:
        return None
    return [(start + step, first + step) for start, first, length in found for step in range(length)]


cdef bint may_search(Py_ssize_t old, Py_ssize_t new, list budget) except -1:
    """Takes from the budget what the search may need: no more than both, times both."""
    cdef int64_t both = old + new
    if both > LONGEST:
        return False
    if budget is None:
        return True
    both += min(MOST_WORK, both * both)
    if both > budget[0]:
        return False
    budget[0] -= both
    return True


cdef list between(list shared, Py_ssize_t old, Py_ssize_t new):
    """(start, end, start, end) of what is not shared."""
    cdef list hunks = []
    cdef Py_ssize_t at = 0, to = 0, start, first, length
    if shared is None:
        return None
    for start, first, length in [*shared, (old, new, 0)]:
        if start > at or first > to:
            hunks.append((at, start, to, first))
        at, to = start + length, first + length
    return hunks


cdef list gathered(list hunks):
    """Two become one where what lies between them is no longer than either: it is the same by chance. And so on until few are left."""
    cdef Py_ssize_t least = 0, gap
    cdef list kept
    cdef tuple one, last
    while True:
        kept = []
        for one in hunks:
            while kept:
                last = kept[len(kept) - 1]
                gap = one[0] - last[1]
                if gap > least and (gap > changed(last) or gap > changed(one)):
                    break
                one = (last[0], one[1], last[2], one[3])
                kept.pop()
            kept.append(one)
        if len(kept) <= MOST_SPLICES:
            return kept
        hunks, least = kept, 2 * least + 1


cdef Py_ssize_t changed(tuple hunk) except -1:
    return max(<Py_ssize_t>(hunk[1] - hunk[0]), <Py_ssize_t>(hunk[3] - hunk[2]))


# --------------------------------------------------------------------------------------------------------------- Myers


cdef list runs(const int32_t *a, Py_ssize_t n, const int32_t *b, Py_ssize_t m):
    """(start in a, start in b, length) of the runs that both share, in order; None where that is much work."""
    cdef int32_t *rows = NULL
    cdef int32_t *grown
    cdef Py_ssize_t changes = 0, room = 0, needed, k, x, y
    cdef int64_t work = 0
    try:
        while changes <= MOST_CHANGES and work <= MOST_WORK + n + m:
            needed = row_start(changes + 1)
            if needed > room:
                room = 2 * needed + 64
                grown = <int32_t *>realloc(rows, room * sizeof(int32_t))
                if grown == NULL:
                    raise MemoryError()
                rows = grown
            for k in range(-changes, changes + 1, 2):
                x = step_to(rows, changes, k, n, m, NULL)
                if x >= 0:
                    y = x - k
                    while x < n and y < m and a[x] == b[y]:
                        x += 1
                        y += 1
                        work += 1
                    if x == n and y == m:
                        return backwards(rows, changes, n, m)
                rows[row_start(changes) + (k + changes) // 2] = x
            work += changes + 1
            changes += 1
        return None
    finally:
        free(rows)


cdef Py_ssize_t row_start(Py_ssize_t changes) noexcept:  # arithmetic
    """Where the row of so many changes starts: it has one more."""
    return changes * (changes + 1) // 2


cdef Py_ssize_t step_to(
    const int32_t *rows, Py_ssize_t changes, Py_ssize_t k, Py_ssize_t n, Py_ssize_t m, Py_ssize_t *origin
) noexcept:  # reads within the row before
    """Where diagonal k (x - y) is entered with so many changes, furthest; -1: nowhere. ``origin``: gets the diagonal one comes from."""
    cdef Py_ssize_t right = -1, down = -1, at
    cdef const int32_t *row = rows + row_start(changes - 1)
    if changes == 0:
        return 0
    at = (k + changes) // 2
    if at > 0 and 0 <= row[at - 1] < n:
        right = row[at - 1] + 1
    if at < changes and row[at] >= 0 and row[at] - (k + 1) < m:
        down = row[at]
    if origin != NULL:
        origin[0] = k - 1 if right > down else k + 1
    return max(right, down)


cdef list backwards(const int32_t *rows, Py_ssize_t changes, Py_ssize_t n, Py_ssize_t m):
    cdef list found = []
    cdef Py_ssize_t x = n, k = n - m, start, origin = 0
    while changes >= 0:
        start = step_to(rows, changes, k, n, m, &origin)
        if x > start:
            found.append((start, start - k, x - start))
        if changes:
            x = rows[row_start(changes - 1) + (origin + changes - 1) // 2]
            k = origin
        changes -= 1
    found.reverse()
    return found
