"""`python leash.py COMMAND...` runs COMMAND until it ends or until stdin closes, and then leaves no process behind.

A flow holds the other end of stdin. When it cancels, times out, crashes or is killed with -9, the kernel closes that
end, and the leash ends the command with all its descendants: no training process survives the flow that started it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time

import psutil

GRACE_SECONDS = 5.0
RELEASED = 143  # what a shell reports for SIGTERM
PR_SET_CHILD_SUBREAPER = 36


def main(command: list[str]) -> int:
    """The exit code of the command, or RELEASED when stdin was closed first."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the flow, which closes stdin
    if sys.platform == "linux":  # orphans below come back to this process instead of escaping to init
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    released = threading.Event()
    threading.Thread(target=_end_when_closed, args=(released,), daemon=True).start()
    code = child.wait()
    _end_descendants()  # also after a normal end: what a killed stage started outlives it
    return RELEASED if released.is_set() else code


def _end_when_closed(released: threading.Event) -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    released.set()
    _end_descendants()


def _end_descendants() -> None:
    """SIGTERM to all below this process, whatever session they moved to; SIGKILL to what is left after the grace."""
    deadline = time.monotonic() + GRACE_SECONDS
    while descendants := [p for p in psutil.Process().children(recursive=True) if _alive(p)]:
        for process in descendants:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGTERM if time.monotonic() < deadline else signal.SIGKILL)
        time.sleep(0.1)


def _alive(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.status() != psutil.STATUS_ZOMBIE
    return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
