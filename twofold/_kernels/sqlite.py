"""Rows of an SQLite statement become arrays, by calling SQLite's C interface from compiled code.

What `sqlite3_step` and the functions for its columns do is said at https://sqlite.org/c3ref.
"""

import numpy as np

from twofold._kernels.external import (
    call_double_of_pointer,
    call_int_of_pointer,
    call_int_of_pointer_int,
    call_long_of_pointer,
    call_pointer_of_pointer_int,
)
from twofold._kernels.jit import device, kernel
from twofold._kernels.words import load_byte

# Of these the addresses are handed over, in this order.
FUNCTIONS = ("step", "column_value", "value_type", "value_int64", "value_double",
             "column_text", "column_bytes")  # fmt: skip
_STEP, _VALUE, _TYPE, _INTEGER, _DOUBLE, _TEXT, _BYTES = range(len(FUNCTIONS))

ROW, DONE = 100, 101  # SQLite's answers; others are errors
NO_ROOM, ODD = -1, -2  # ours: the texts are full; a row that Python has to look at

_IS_INTEGER, _IS_FLOAT, _IS_TEXT, _IS_NULL = 1, 2, 3, 5  # SQLite's types


@kernel
def read_rows(functions, statement, has_row, drop_nulls, is_text, ids, texts, values):
    """Read rows of a statement until the arrays are full.

    Parameters
    ----------
    functions : tuple of int
        Addresses of FUNCTIONS.
    statement : int
        Address of a prepared statement with two ids and perhaps a value.
    has_row : bool
        Whether it stands at a row that is not read yet.
    drop_nulls : bool
        Pass over rows with a NULL id.
    is_text : tuple of bool
        Which of the ids are texts, all others are integers.
    ids : tuple of int64 arrays of the same size
        Filled with integers, or with where texts end.
    texts : tuple of uint8 arrays
        Filled with texts, one after the other.
    values : float64 array
        Of the same size, or empty where there are none.

    Returns
    -------
    tuple of int
        How many pairs there are in the arrays, how many were passed over, and why there are no
        more: `ROW`, the arrays are full; `DONE`, there are no more; `NO_ROOM` for the texts of
        the row at which it stands; `ODD`, it stands at a row with something of another type, or
        a value that is not finite; or an error of SQLite.
    """
    n, n_null = 0, 0
    used = (0, 0)
    while n + n_null < ids[0].size:
        if not has_row:
            status = call_int_of_pointer(functions[_STEP], statement)
            if status != ROW:
                return n, n_null, status
        has_row = False
        # An integer takes one call that locks the database, where sqlite3_column_int64 takes two.
        u = call_pointer_of_pointer_int(functions[_VALUE], statement, 0)
        v = call_pointer_of_pointer_int(functions[_VALUE], statement, 1)
        u_type = call_int_of_pointer(functions[_TYPE], u)
        v_type = call_int_of_pointer(functions[_TYPE], v)
        w, w_type = np.int64(0), np.int32(_IS_INTEGER)
        if values.size:
            w = call_pointer_of_pointer_int(functions[_VALUE], statement, 2)
            w_type = call_int_of_pointer(functions[_TYPE], w)
        if drop_nulls and (u_type == _IS_NULL or v_type == _IS_NULL):
            # What is left of the row is not used, but sqlite3 would refuse texts that are no UTF-8.
            if (
                (u_type == _IS_TEXT and not _is_ascii(functions, statement, 0))
                or (v_type == _IS_TEXT and not _is_ascii(functions, statement, 1))
                or w_type == _IS_TEXT
            ):
                return n, n_null, ODD
            n_null += 1
            continue
        if u_type != (_IS_TEXT if is_text[0] else _IS_INTEGER):
            return n, n_null, ODD
        if v_type != (_IS_TEXT if is_text[1] else _IS_INTEGER):
            return n, n_null, ODD
        if values.size:
            if w_type != _IS_INTEGER and w_type != _IS_FLOAT:
                return n, n_null, ODD
            values[n] = call_double_of_pointer(functions[_DOUBLE], w)
            if not abs(values[n]) < float("inf"):
                return n, n_null, ODD
        new = (
            _copy(functions, statement, 0, texts[0], used[0])
            if is_text[0]
            else call_long_of_pointer(functions[_INTEGER], u),
            _copy(functions, statement, 1, texts[1], used[1])
            if is_text[1]
            else call_long_of_pointer(functions[_INTEGER], v),
        )
        for axis in range(2):
            if is_text[axis] and new[axis] < 0:
                return n, n_null, new[axis]
        ids[0][n], ids[1][n] = used = new
        n += 1
    return n, n_null, ROW


@device
def _copy(functions, statement, column, texts, start):
    """Write a text behind the others; return where it ends, or `NO_ROOM` or `ODD`."""
    address = call_pointer_of_pointer_int(functions[_TEXT], statement, column)
    size = call_int_of_pointer_int(functions[_BYTES], statement, column)
    if address == 0:  # there was no memory for it
        return ODD
    if texts.size - start < size:
        return NO_ROOM
    for i in range(size):
        texts[start + i] = load_byte(address + i)
    return start + size


@device
def _is_ascii(functions, statement, column):
    address = call_pointer_of_pointer_int(functions[_TEXT], statement, column)
    size = call_int_of_pointer_int(functions[_BYTES], statement, column)
    for i in range(size):  # noqa: SIM110 - which numba does not compile
        if load_byte(address + i) >= 0x80:
            return False
    return True
