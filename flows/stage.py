"""One DVC stage as a child process on a leash.

Apart from the flows because `flow.serve()` ships a flow by value: module state beside it would be duplicated.
"""

from __future__ import annotations

import collections
import contextlib
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from environment import environment

Outcome = Literal["Cached", "Restored", "Ran"]
LEASH = Path(__file__).with_name("leash.py")
UNCHANGED = "didn't change, skipping"
RESTORED = "is cached - skipping run, checking out outputs"
BUSY = re.compile(r"Unable to acquire lock|is busy, it is being blocked by")

_running: set[subprocess.Popen[str]] = set()


class StageFailed(RuntimeError):
    """A stage ended with an error, or ran out of time; the message ends with the last lines it printed."""


class PipelineBusy(StageFailed):
    """Another dvc process holds a lock on the stage's files; trying again later is right."""


def reproduce_stage(
    stage: str, root: Path, emit: Callable[[str], None], flags: tuple[str, ...] = (), timeout: float | None = None
) -> Outcome:
    """`dvc repro --single-item STAGE`: did it run, was it up to date, or did its outputs come out of the run-cache?"""
    dvc = [sys.executable, "-m", "dvc", "--wait-for-lock", "repro", "--single-item", *flags, stage]
    lines = run(dvc, root, emit, timeout)
    if any(UNCHANGED in line for line in lines):
        return "Cached"
    return "Restored" if any(RESTORED in line for line in lines) else "Ran"


def run(command: list[str], root: Path, emit: Callable[[str], None], timeout: float | None = None) -> list[str]:
    """The lines that the command printed, each emitted as it came; raises StageFailed or PipelineBusy."""
    name = " ".join(command[1:])
    tail: collections.deque[str] = collections.deque(maxlen=25)
    expired = threading.Event()

    def expire() -> None:
        expired.set()
        _release(process)

    with _leashed(command, root) as process:
        timer = threading.Timer(timeout or threading.TIMEOUT_MAX, expire)
        timer.daemon = True  # Prefect's own timeout does not stop a child process
        timer.start()
        try:
            for line in filter(None, map(str.rstrip, process.stdout or ())):
                tail.append(line)
                emit(line)
            code = process.wait()
        finally:
            timer.cancel()
    text = "\n".join(tail)
    if expired.is_set():
        raise StageFailed(f"{name} was stopped after its {timeout:g} seconds (meta.prefect.timeout_seconds)\n{text}")
    if code:
        raise (PipelineBusy if BUSY.search(text) else StageFailed)(f"{name} exited with {code}\n{text}")
    return list(tail)


def release_all() -> None:
    """Ends every child process of this process, and returns when they are gone."""
    for process in list(_running):
        _release(process)
    for process in list(_running):
        process.wait()


@contextlib.contextmanager
def _leashed(command: list[str], root: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, str(LEASH), *command],
        cwd=root,
        env=environment(root),
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    _running.add(process)
    try:
        yield process
    finally:
        _release(process)
        process.wait()
        if process.stdout:
            process.stdout.close()
        _running.discard(process)


def _release(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(OSError, ValueError):
        if process.stdin:
            process.stdin.close()
