"""Tests of memory in training: freed memory is reused, and the cache of matrix products is limited."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from synthdrive.training import devices


def test_freed_memory_is_kept_only_with_glibc(monkeypatch):
    if platform.libc_ver()[0] == "glibc":
        assert devices.keep_freed_memory()
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not devices.keep_freed_memory()


def test_a_c_library_without_the_setting_causes_no_error(monkeypatch):
    if not sys.platform.startswith("linux"):
        pytest.skip("the setting is used on Linux only")
    monkeypatch.setattr(devices.ctypes, "CDLL", lambda name: object())
    assert not devices.keep_freed_memory()


_PRODUCTS = """
import ctypes, torch
from synthdrive.training import devices

devices.limit_product_cache()
field = [(name, ctypes.c_size_t) for name in "arena ordblks smblks hblks hblkhd usmblks fsmblks used free top".split()]
heap = ctypes.CDLL(None).mallinfo2
heap.restype = type("Heap", (ctypes.Structure,), {"_fields_": field})
weight = torch.ones(64, 64, dtype=torch.bfloat16)
for rows in range(300):
    if rows == 100:
        before = heap().used
    torch.ones(500 + rows, 64, dtype=torch.bfloat16) @ weight
print((heap().used - before) / 2**20)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="measures used memory with glibc")
def test_matrix_products_of_many_shapes_do_not_fill_the_memory():
    environment = {key: value for key, value in os.environ.items() if "CACHE_CAPACITY" not in key}
    done = subprocess.run([sys.executable, "-c", _PRODUCTS], capture_output=True, text=True, env=environment)
    assert float(done.stdout) < 10, done.stderr  # MB; 100 if all products were cached


def test_a_cache_size_set_by_the_user_is_kept(monkeypatch):
    monkeypatch.setattr(os, "environ", {"LRU_CACHE_CAPACITY": "7"})
    devices.limit_product_cache()
    assert os.environ == {"LRU_CACHE_CAPACITY": "7", "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64"}
