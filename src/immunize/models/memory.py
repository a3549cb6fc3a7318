"""What becomes of memory that is freed: kept for the next step, which asks for the same sizes again."""

from __future__ import annotations

import os
from ctypes import CDLL

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # mallopt(3)
KEPT, LARGEST = 2**31 - 1, 2**25  # bytes: the most that either takes


def keep_freed() -> None:
    """Blocks up to 32 MB that are freed stay with the process, under glibc; elsewhere nothing changes.

    By itself it gives them back to the system and gets them again page by page, in every step.
    """
    mallopt = getattr(CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None:
        mallopt(TRIM_THRESHOLD, KEPT)
        mallopt(MMAP_THRESHOLD, LARGEST)
