"""Freed memory stays under glibc, which is measured, and nothing happens elsewhere."""

from __future__ import annotations

import platform
import subprocess
import sys
from unittest.mock import patch

import pytest

from immunize.models import memory

RESIDENT = """
import runpy, sys
from pathlib import Path
keep_freed = runpy.run_path(sys.argv[2])["keep_freed"]  # alone: the package brings torch

def resident():
    return next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if "VmRSS" in line)

if sys.argv[1] == "keep":
    keep_freed()
blocks = [bytearray(8 * 2**20) for _ in range(8)]
for block in blocks:
    block[::4096] = b"x" * len(block[::4096])
before = resident()
del block, blocks
print((before - resident()) // 1024)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told to")
def test_what_is_freed_stays_with_the_process() -> None:
    command = [sys.executable, "-c", RESIDENT]
    given_back = {
        how: int(subprocess.check_output([*command, how, memory.__file__], text=True)) for how in ("keep", "leave")
    }
    assert given_back["leave"] > 48 and given_back["keep"] < 16  # of 64 MiB


def test_without_glibc_nothing_happens() -> None:
    with patch.object(memory, "CDLL", lambda _: object()):
        memory.keep_freed()
