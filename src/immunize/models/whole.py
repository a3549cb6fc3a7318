"""Files that are on the disk whole or not at all, whatever ends the process or the power."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path


class NotWritten(RuntimeError):
    """What could not be written, why, and what to do; what stood there before still stands."""


def check(folder: Path) -> None:
    """Make the folder and write a byte that leaves no trace: a run that cannot be kept is refused before its first step.

    Raises NotWritten.
    """
    with told(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"\0")


def write(folder: Path, files: Mapping[str, bytes | memoryview]) -> None:
    """Write all the files or none: each is on the disk as <name>.partial before the first one gets its name.

    The last file loses its former self first and gets its name last, so whoever finds it finds all of them. Raises
    NotWritten where the disk is full or the folder cannot be written.
    """
    partial = {name: folder / f"{name}.partial" for name in files}
    with told(folder, *partial.values()):
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            put(partial[name], content)
        (folder / [*files][-1]).unlink(missing_ok=True)
        sync(folder)
        for name, path in partial.items():
            os.replace(path, folder / name)
        sync(folder)


@contextmanager
def told(folder: Path, *partial: Path) -> Iterator[None]:
    """What the system refuses in here becomes a NotWritten, and the unfinished files give their room back."""
    try:
        yield
    except OSError as error:
        for path in partial:
            with suppress(OSError):  # the first error is the one to tell
                path.unlink(missing_ok=True)
        raise NotWritten(
            f"{error.filename or folder} cannot be written ({error.strerror}): make room, or move what is in the way, and "
            "run the same again. What stood there before still stands"
        ) from error


def put(path: Path, content: bytes | memoryview) -> None:
    """Write one file and wait until the disk has it."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync(folder: Path) -> None:
    """Wait until the disk has the names in a folder."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
