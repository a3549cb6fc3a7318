"""The sweep on the toy: experiments of DVC, run by Ray, resumed, and not lost with a worker."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from immunize.config import ConfigurationError
from immunize.pipeline.search import read, trial
from sweep import promote
from trial import record_of, run_trial

FLOW = Path(__file__).parents[2] / "flows" / "sweep.py"
Eventually = Callable[..., None]


@pytest.fixture
def search(toy: Path) -> Path:
    """Three trials of the toy, one of which fails."""
    path = toy / "sweeps" / "joint.yaml"
    path.parent.mkdir()
    grid = {"immunize.mat.joint": [3.0, 7.0, 5.0]}
    measures = {"robust": ["mat.joint.tr_r1"], "other": ["finetune.joint.tr_r1"]}
    path.write_text(yaml.safe_dump({"preset": "toy", "grid": grid, "measures": measures}))
    return path


def kept(toy: Path) -> dict[float, dict[str, Any]]:
    """The records on disk, by the value tried."""
    found = [json.loads(path.read_text()) for path in (toy / ".cache" / "sweep" / "joint").glob("*/*.json")]
    return {record["point"]["immunize.mat.joint"]: record for record in found}


def beside(toy: Path) -> list[Path]:
    return [path for path in toy.parent.iterdir() if path != toy]


def test_a_trial_is_an_experiment_of_this_checkout(toy: Path, search: Path, shell: Any) -> None:
    found = read(search)
    one = trial("joint", found, {"immunize.mat.joint": 7.0}, 0)
    lines: list[str] = []
    record = run_trial(toy, "HEAD", found, one, lines.append)
    assert record["measures"] == {"robust": 7.0, "other": 1.0} and lines
    assert json.loads(record_of(toy, "HEAD", one).read_text()) == record
    assert not beside(toy) and shell("git", "status", "--short", "--untracked-files=no", cwd=toy) == ""
    assert one.name in shell("dvc", "exp", "list", cwd=toy)
    ref = f"{shell('git', 'for-each-ref', '--format=%(refname)', 'refs/exps', cwd=toy).strip()}"
    assert json.loads(shell("git", "show", f"{ref}:reports/toy/metrics.json", cwd=toy))["mat"]["joint"]["tr_r1"] == 7.0
    lines.clear()
    assert run_trial(toy, "HEAD", found, one, lines.append) == record and not lines  # kept, not run again
    other = record_of(toy, shell("git", "rev-parse", "HEAD", cwd=toy).strip(), one)
    assert other != record_of(toy, "HEAD", one) and not other.exists()  # nothing is kept of another revision
    assert promote(toy, one.name) == toy / "presets" / "toy.yaml"
    assert yaml.safe_load((toy / "presets" / "toy.yaml").read_text())["immunize"]["mat"]["joint"] == 7.0


def test_what_is_wrong_is_said(toy: Path, search: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = read(search)
    with pytest.raises(ConfigurationError, match="no 'tecoa' here"):
        run_trial(toy, "HEAD", found, trial("joint", found, {"immunize.tecoa.joint": 7.0}, 0), print)
    with pytest.raises(ConfigurationError, match="no trial 'joint-00'"):
        promote(toy, "joint-00")
    assert not beside(toy)


@pytest.mark.slow
def test_the_whole_search_and_a_worker_that_dies(toy: Path, search: Path, server: str, eventually: Eventually) -> None:
    """One worker is killed in the middle: its trial is tried again, the other two are run once, and all are ranked."""
    text = (toy / "presets" / "toy.yaml").read_text()
    (toy / "presets" / "toy.yaml").write_text(
        text.replace("mat: {joint: 12.0, seconds: 0}", "mat: {joint: 12.0, seconds: 3}")
    )
    subprocess.run(["git", "commit", "-qam", "slower"], cwd=toy, check=True)
    command = [sys.executable, str(FLOW), str(search), "--root", str(toy), "--jobs", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as flow:
        eventually(lambda: len(kept(toy)) == 1, seconds=120)
        eventually(lambda: beside(toy), seconds=60)
        worker = next(p for p in psutil.Process(flow.pid).children(recursive=True) if "_trial" in p.name())
        os.kill(worker.pid, signal.SIGKILL)
        printed = flow.communicate(timeout=240)[0]
    assert flow.returncode == 0, printed
    assert sorted(kept(toy)) == [3.0, 5.0, 7.0] and not beside(toy)
    (page,) = (toy / ".cache" / "sweep" / "joint").glob("*/trials.md")
    table = page.read_text().splitlines()
    assert [row.split(" | ")[2] for row in table[2:]] == ["7.0", "5.0", "3.0"] and table[2].startswith("| * |")
