"""Freed memory is kept where the C library can."""

from __future__ import annotations

import platform
import sys

import pytest

from synthdrive.models import host_memory


def test_keeps_memory_on_glibc_alone(monkeypatch):
    if platform.libc_ver()[0] == "glibc":
        assert host_memory.keep_freed_memory()
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not host_memory.keep_freed_memory()


def test_a_c_library_without_the_setting_is_no_error(monkeypatch):
    if not sys.platform.startswith("linux"):
        pytest.skip("other platforms are left alone")
    monkeypatch.setattr(host_memory.ctypes, "CDLL", lambda name: object())
    assert not host_memory.keep_freed_memory()
