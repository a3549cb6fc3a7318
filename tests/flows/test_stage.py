"""One stage as a child process; needs no server."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import stage
from stage import PipelineBusy, StageFailed, reproduce_stage


def quiet(line: str) -> None:
    pass


def test_cached_ran_and_restored_are_told_apart(toy, preset_line):
    lines: list[str] = []
    assert reproduce_stage("immunize@mat", toy, lines.append) == "Cached"
    preset_line("joint: 12.0", "joint: 13.0")
    assert reproduce_stage("immunize@mat", toy, lines.append) == "Ran"
    preset_line("joint: 13.0", "joint: 12.0")
    assert reproduce_stage("immunize@mat", toy, lines.append) == "Restored"
    assert any("python work.py immunize toy mat" in line for line in lines)
    assert reproduce_stage("immunize@mat", toy, lines.append, ("--force",)) == "Ran"  # though up to date


def test_a_failure_ends_with_what_the_stage_said(toy, preset_line):
    preset_line("mat: {joint: 12.0, seconds: 0}", "mat: {joint: 12.0, seconds: 0, fail: true}")
    with pytest.raises(StageFailed, match="mat was asked to fail"):
        reproduce_stage("immunize@mat", toy, quiet)


@pytest.mark.slow
def test_a_time_limit_ends_the_stage_its_helpers_and_nothing_else(toy, preset_line, processes):
    preset_line("mat: {joint: 12.0, seconds: 0}", "mat: {joint: 12.0, seconds: 60}")
    began = time.monotonic()
    with pytest.raises(StageFailed, match="stopped after its 3 seconds"):
        reproduce_stage("immunize@mat", toy, quiet, timeout=3.0)
    assert time.monotonic() - began < 10
    assert processes() == []
    preset_line("seconds: 60", "seconds: 0")
    assert reproduce_stage("immunize@mat", toy, quiet) == "Restored"  # the next run is not in its way


@pytest.mark.slow
def test_release_all_ends_a_stage_of_another_thread(toy, preset_line, processes, eventually):
    preset_line("mat: {joint: 12.0, seconds: 0}", "mat: {joint: 12.0, seconds: 60}")
    failures: list[StageFailed] = []

    def work() -> None:
        try:
            reproduce_stage("immunize@mat", toy, quiet)
        except StageFailed as error:
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    eventually(lambda: len(processes()) >= 4)  # leash, dvc, shell, stage, helper
    stage.release_all()
    thread.join(10)
    assert len(failures) == 1
    assert processes() == []


@pytest.mark.slow
def test_no_stage_survives_the_process_that_started_it(toy, preset_line, processes, eventually):
    """kill -9 of it; a polite end is `test_reproduce`'s."""
    preset_line("mat: {joint: 12.0, seconds: 0}", "mat: {joint: 12.0, seconds: 60}")
    code = f"import stage, pathlib; stage.reproduce_stage('immunize@mat', pathlib.Path({str(toy)!r}), print)"
    flows = {"PYTHONPATH": os.pathsep.join([str(Path(stage.__file__).parent), os.environ["PYTHONPATH"]])}
    starter = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, **flows}, stdout=subprocess.PIPE)
    try:
        eventually(lambda: len(processes()) >= 4)
        starter.kill()
        starter.wait(10)
        eventually(lambda: not processes(), 10)
    finally:
        starter.kill()
        starter.communicate()


@pytest.mark.slow
def test_kill_9_of_the_stage_itself_and_then_the_same_bytes(toy, shell, preset_line, processes, eventually):
    preset_line("mat: {joint: 12.0, seconds: 0}", "mat: {joint: 13.0, seconds: 1}")
    undisturbed = Path(shutil.copytree(toy, toy.parent / "undisturbed", symlinks=True))
    shell("dvc", "repro", "-q", cwd=undisturbed)

    def kill() -> None:
        eventually(lambda: [p for p in processes() if "work.py" in p.cmdline()])
        [p.kill() for p in processes() if "work.py" in p.cmdline()]

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(StageFailed):
        reproduce_stage("immunize@mat", toy, quiet)
    killer.join()
    shell("dvc", "repro", "-q", cwd=toy)
    for file in ("reports/toy/metrics.json", "models/toy/immunize/mat/model.json", "dvc.lock"):
        assert (toy / file).read_bytes() == (undisturbed / file).read_bytes()


def test_files_in_use_by_another_dvc_are_busy_not_failed(toy):
    holder = {"pid": os.getpid(), "cmd": "dvc repro"}
    (toy / ".dvc/tmp/rwlock").write_text(json.dumps({"write": {str(toy / "models/toy/immunize/mat"): holder}}))
    with pytest.raises(PipelineBusy):
        reproduce_stage("immunize@mat", toy, quiet, ("--force",))
