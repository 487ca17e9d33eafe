"""Freed memory of a process, given back to the system before and after each trial.

A worker runs one trial after another. glibc keeps most of what a trial freed, in pieces, and the
next trial with images of another size finds none that fits: on large images the process grows.
"""

import ctypes
import gc


def give_memory_back() -> None:
    """Gives freed memory back; nothing happens where the C library is not glibc."""
    gc.collect()
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):
        return
    trim(ctypes.c_size_t(0))
