"""What a process on a CPU keeps between steps: freed memory, and compiled matrix products."""

from __future__ import annotations

import ctypes
import os
import sys

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # of mallopt, in glibc's malloc.h
_LARGEST = (1 << 31) - 1  # an int; larger blocks are still mapped one by one

_PRODUCTS = 64  # more than one layer's, forward and backward, need between two uses
_PRODUCT_CACHES = ("LRU_CACHE_CAPACITY", "ONEDNN_PRIMITIVE_CACHE_CAPACITY")  # torch's own, and oneDNN's beneath it


def keep_freed_memory() -> bool:
    """Have this process reuse freed memory rather than give it back to the system.

    By default glibc maps every block above some megabytes anew and unmaps it when it is freed, so that each activation
    of each training step on a CPU is paid for in page faults: a tenth of the time for small batches, a third for
    batches of 64 scenes. Peak memory stays the same; it is just not returned until the process ends.

    Returns:
        True where the C library took the setting (glibc), False elsewhere.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    settings = ((_MMAP_THRESHOLD, _LARGEST), (_TRIM_THRESHOLD, _LARGEST), (_TOP_PAD, 1 << 26))
    return all(mallopt(option, value) == 1 for option, value in settings)


def keep_few_products() -> None:
    """Have torch keep the code of a few matrix products in bfloat16; to be called before the first of them.

    oneDNN compiles one for each shape, of half a megabyte, and torch keeps up to 1,024 of them twice over. Scenes make
    ever new shapes, so that most are never used again: a gigabyte, which lies scattered among the memory that steps
    reuse, so that new steps find no room there and take as much again. A user's own setting stays.
    """
    for name in _PRODUCT_CACHES:
        os.environ.setdefault(name, str(_PRODUCTS))
