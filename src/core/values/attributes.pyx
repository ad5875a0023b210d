"""JSON values from outside, and attribute maps: what Quill's AttributeMap does, to the letter.

A value that was read (`read_attributes`, `read_embed`) belongs to its deltas: a copy, checked, never changed and never
handed out again but as a copy, so that deltas and documents share it. None stands for no attributes at all, as for an
empty map. In a map, null means that the attribute is taken away; what is inserted has no nulls.

Values are compared as JavaScript does: 1 and 1.0 are the same number (a float without a fraction is read as an int), True
and 1 are not.

Source: quill-delta 5.1, AttributeMap.ts. All are O(size of the values).
"""

from cpython.dict cimport PyDict_Next
from cpython.object cimport PyObject
from cpython.unicode cimport PyUnicode_DATA, PyUnicode_GET_LENGTH, PyUnicode_KIND, PyUnicode_READ
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy

cimport cython

from syncline.core.values.json_values cimport check_number
from syncline.core.ot.components cimport invalid, require_well_formed

# Bounds for what comes from outside; an editor is far below. Formatting adds up in a document, so what is read back from
# the store is bound by the document's own limit only.
cdef Py_ssize_t MAX_KEYS = 64                  # attributes of one op
cdef Py_ssize_t MAX_NAME = 255                 # characters of an attribute's name
cdef int64_t MAX_ATTRIBUTES_WEIGHT = 16_384    # characters of one op's attributes in JSON, about
cdef int64_t MAX_EMBED_WEIGHT = 1_048_576      # Quill's images are embeds with a data URL
cdef int MAX_DEPTH = 16

# `{}` has these in JavaScript: quill-delta takes them for attributes that are already there.
cdef frozenset INHERITED = frozenset(
    (
        "constructor", "hasOwnProperty", "isPrototypeOf", "propertyIsEnumerable", "toLocaleString", "toString", "valueOf",
        "__proto__", "__defineGetter__", "__defineSetter__", "__lookupGetter__", "__lookupSetter__",
    )
)

cdef object MISSING = object()


# -------------------------------------------------------------------------------------------------------- reading


cdef object read_value(object value, int depth, int64_t *room):
    """A checked copy; ``room`` falls by the weight."""
    cdef dict mapped
    cdef list listed
    room[0] -= 4
    if value is None or type(value) is bool:
        pass
    elif type(value) is str:
        require_well_formed(value)
        room[0] -= PyUnicode_GET_LENGTH(value)
    elif type(value) is int or type(value) is float:
        value = check_number(value)
        room[0] -= 4
    elif depth == 0 and (type(value) is dict or type(value) is list):
        raise invalid(f"attributes and embeds may be nested {MAX_DEPTH} deep")
    elif type(value) is dict:
        mapped = {}
        for name, inner in (<dict>value).items():
            if type(name) is not str:
                raise invalid("names in attributes and embeds must be strings")
            if name == "__proto__":
                raise invalid(f"{name} cannot be a name")
            require_well_formed(name)
            room[0] -= PyUnicode_GET_LENGTH(name)
            mapped[name] = read_value(inner, depth - 1, room)
        value = mapped
    elif type(value) is list:
        listed = []
        for inner in <list>value:
            listed.append(read_value(inner, depth - 1, room))
        value = listed
    else:
        raise invalid("attributes and embeds must be JSON")
    if room[0] < 0:
        raise invalid("attributes or an embed are too large")
    return value


cdef dict read_attributes(object value, bint trusted):
    """A map from outside, None for an empty one. ``trusted`` leaves the bounds on size out.

    Raises SynclineError(operation_invalid).
    """
    cdef dict result = {}
    cdef int64_t room = (<int64_t>1 << 40) if trusted else MAX_ATTRIBUTES_WEIGHT
    if type(value) is not dict:
        raise invalid("attributes must be an object")
    if not trusted and len(<dict>value) > MAX_KEYS:
        raise invalid(f"more than {MAX_KEYS} attributes")
    for name, inner in (<dict>value).items():
        if type(name) is not str:
            raise invalid("the names of attributes must be strings")
        if name in INHERITED:
            raise invalid(f"{name} cannot be the name of an attribute")
        if not trusted and not 0 < PyUnicode_GET_LENGTH(name) <= MAX_NAME:
            raise invalid(f"the name of an attribute has 1 to {MAX_NAME} characters")
        require_well_formed(name)
        room -= PyUnicode_GET_LENGTH(name)
        result[name] = read_value(inner, MAX_DEPTH - 1, &room)
    return result if result else None


cdef dict read_embed(object value, bint trusted):
    """An object with one key, the embed's type. Raises SynclineError(operation_invalid)."""
    cdef int64_t room = (<int64_t>1 << 40) if trusted else MAX_EMBED_WEIGHT
    if type(value) is not dict or len(<dict>value) != 1:
        raise invalid("an insert is a text, or an embed: an object with one key, its type")
    value = read_value(value, MAX_DEPTH, &room)
    for name in value:
        if name == "" or name in INHERITED:
            raise invalid("that cannot be the type of an embed")
    return value


cdef object copied(object value):
    """For handing out."""
    if type(value) is dict:
        return {name: copied(inner) for name, inner in (<dict>value).items()}
    if type(value) is list:
        return [copied(inner) for inner in <list>value]
    return value


# ------------------------------------------------------------------------------------------------------ comparing


cdef bint same_value(object a, object b) except -1:
    cdef Py_ssize_t index
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    if type(a) is dict:
        return same_attributes(<dict>a, <dict>b)
    if type(a) is list:
        if len(<list>a) != len(<list>b):
            return False
        for index in range(len(<list>a)):
            if not same_value((<list>a)[index], (<list>b)[index]):
                return False
        return True
    return a == b


cdef bint same_attributes(dict a, dict b) except -1:
    """The order of keys is no difference. None is the same as None only."""
    cdef Py_ssize_t at = 0
    cdef PyObject *name
    cdef PyObject *value
    if a is b:
        return True
    if a is None or b is None or len(a) != len(b):
        return False
    while PyDict_Next(a, &at, &name, &value):
        other = b.get(<object>name, MISSING)
        if other is MISSING or not same_value(<object>value, other):
            return False
    return True


cdef int64_t weight_of(object value) except -1:
    """Characters in JSON, about; as the bounds above count."""
    cdef int64_t total = 4
    if type(value) is str:
        total += PyUnicode_GET_LENGTH(value)
    elif type(value) is dict:
        for name, inner in (<dict>value).items():
            total += PyUnicode_GET_LENGTH(name) + weight_of(inner)
    elif type(value) is list:
        for inner in <list>value:
            total += weight_of(inner)
    elif type(value) is int or type(value) is float:
        total += 4
    return total


@cython.overflowcheck(False)  # wraps on purpose
cdef inline uint64_t mix(uint64_t state) noexcept:  # arithmetic; Murmur3's finish
    state = (state ^ (state >> 33)) * <uint64_t>0xFF51AFD7ED558CCDULL
    state = (state ^ (state >> 33)) * <uint64_t>0xC4CEB9FE1A85EC53ULL
    return state ^ (state >> 33)


@cython.overflowcheck(False)  # wraps on purpose
cdef uint64_t hash_of(object value) except? 0:
    """64 bits, the same on every machine; an object's do not depend on the order of its keys."""
    cdef uint64_t state = 14695981039346656037ULL
    cdef Py_ssize_t index
    cdef int kind
    cdef void *data
    cdef double number
    cdef uint64_t bits
    if value is None:
        return mix(1)
    if type(value) is bool:
        return mix(3 if value else 2)
    if type(value) is int:
        return mix((<uint64_t><int64_t>value) * 8 + 4)
    if type(value) is float:
        number = value
        memcpy(&bits, &number, 8)
        return mix(bits ^ 5)
    if type(value) is str:
        kind = PyUnicode_KIND(value)
        data = PyUnicode_DATA(value)
        for index in range(PyUnicode_GET_LENGTH(value)):
            state = (state ^ <uint64_t>PyUnicode_READ(kind, data, index)) * 1099511628211ULL
        return mix(state ^ 6)
    if type(value) is list:
        for inner in <list>value:
            state = mix(state ^ hash_of(inner))
        return mix(state ^ 7)
    for name, inner in (<dict>value).items():
        state += mix(hash_of(name) * 31 + hash_of(inner))
    return mix(state ^ 8)


# ------------------------------------------------------------------------------------------------- attribute maps


cdef dict without_nulls(dict attributes):
    """What a text has that is inserted with them; None when nothing is left."""
    cdef Py_ssize_t at = 0
    cdef PyObject *name
    cdef PyObject *value
    if attributes is None:
        return None
    while PyDict_Next(attributes, &at, &name, &value):
        if <object>value is None:
            return {key: kept for key, kept in attributes.items() if kept is not None} or None
    return attributes


cdef dict compose_attributes(dict first, dict second, bint keep_null):
    """First ``first``, then ``second``. A retain keeps nulls: what it is composed onto may have the attribute."""
    cdef dict result
    cdef Py_ssize_t at = 0
    cdef PyObject *name
    cdef PyObject *value
    if second is None:
        return first
    if not keep_null:
        if first is None:
            return without_nulls(second)
        result = {key: kept for key, kept in second.items() if kept is not None}
    elif first is None:
        return second
    else:
        result = second.copy()
    while PyDict_Next(first, &at, &name, &value):
        if <object>name not in second:
            result[<object>name] = <object>value
    return result if result else None


cdef dict transform_attributes(dict first, dict second, bint priority):
    """``second`` after ``first``, which wins when it has ``priority``."""
    cdef dict result
    if first is None or second is None or not priority:
        return second
    result = {name: value for name, value in second.items() if name not in first}
    return result if result else None


cdef dict invert_attributes(dict attributes, dict base):
    """What undoes ``attributes`` on a text that has ``base``. A list or an object never counts as the value that is
    there already (AttributeMap compares references).
    """
    cdef dict result = {}
    if base is not None:
        for name, value in base.items():
            if name in attributes:
                other = attributes[name]
                if type(value) is dict or type(value) is list or not same_value(value, other):
                    result[name] = value
    for name in attributes:
        if base is None or name not in base:
            result[name] = None
    return result if result else None


cdef dict diff_attributes(dict before, dict after):
    """What makes ``after`` of ``before``."""
    cdef dict result
    if same_attributes(before, after):
        return None
    result = {}
    if before is not None:
        for name, value in before.items():
            if after is None or name not in after:
                result[name] = None
            elif not same_value(value, after[name]):
                result[name] = after[name]
    if after is not None:
        for name, value in after.items():
            if before is None or name not in before:
                result[name] = value
    return result if result else None
