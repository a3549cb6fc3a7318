"""Files whole or not at all: a full disk and a folder that takes nothing give one clear error, and change nothing."""

from __future__ import annotations

import errno
import os
import resource
from pathlib import Path

import pytest

from immunize import models
from immunize.models import Clip, whole
from immunize.models.whole import NotWritten


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_all_files_come_and_take_the_place_of_the_former(tmp_path: Path) -> None:
    whole.write(tmp_path / "new", {"a": b"1", "b": memoryview(b"1")})
    whole.write(tmp_path / "new", {"a": b"2", "b": b"22"})
    assert contents(tmp_path / "new") == {"a": b"2", "b": b"22"}


def test_the_systems_own_limit_leaves_every_former_file(tmp_path: Path) -> None:
    """The second of two files goes beyond the limit of the process: the first one, already written, is not put in place."""
    whole.write(tmp_path, {"a": b"1", "b": b"1"})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(NotWritten) as told:
            whole.write(tmp_path, {"a": b"2" * 900, "b": b"2" * 1100})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert str(told.value).startswith(f"{tmp_path} cannot be written (File too large): make room")
    assert contents(tmp_path) == {"a": b"1", "b": b"1"}


def test_a_model_on_a_full_disk_leaves_the_former_model(
    trained: Clip, fresh_model: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models.save(trained, tmp_path, log="[]")
    before = contents(tmp_path)
    full_after(monkeypatch, 2)
    with pytest.raises(NotWritten, match=r"No space left on device.*make room.*still stands"):
        models.save(fresh_model, tmp_path, log="[1]")
    assert contents(tmp_path) == before and "log.json" in before


def full_after(monkeypatch: pytest.MonkeyPatch, files: int) -> None:
    """A disk that takes so many files, and half of the next one."""
    honest, written = whole.put, []

    def put(path: Path, content: bytes | memoryview) -> None:
        written.append(path)
        honest(path, content[: len(content) // 2] if len(written) > files else content)
        if len(written) > files:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(whole, "put", put)


def test_a_file_in_the_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("in the way")
    for act in (lambda: whole.check(tmp_path / "out"), lambda: whole.write(tmp_path / "out", {"a": b""})):
        with pytest.raises(NotWritten, match=r"out cannot be written \(File exists\).*move what is in the way"):
            act()
    assert (tmp_path / "out").read_text() == "in the way"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to a read-only folder")
def test_a_read_only_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(NotWritten, match="Permission denied"):
        whole.check(tmp_path / "out")


def test_a_check_leaves_no_trace(tmp_path: Path) -> None:
    whole.check(tmp_path / "out")
    assert contents(tmp_path / "out") == {}


def test_names_and_contents_are_synced_before_a_former_file_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut may keep any prefix of what was synced: no name may come before its content."""
    acts: list[str] = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (acts.append("sync"), fsync(handle))[1])
    monkeypatch.setattr(os, "replace", lambda one, two: (acts.append(Path(two).name), replace(one, two))[1])
    whole.write(tmp_path, {"a": b"1", "b": b"1"})
    assert acts == ["sync", "sync", "sync", "a", "b", "sync"]  # both files, the folder; the names; the folder
