"""One trial of a sweep: a DVC experiment in a clone of its own, brought home when it is done."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from immunize.pipeline.choose import params
from immunize.pipeline.overrides import overridden
from immunize.pipeline.search import Search, Trial, measured
from stage import run
from worktree import call, dvc


def run_trial(root: Path, revision: str, search: Search, trial: Trial, emit: Callable[[str], None]) -> dict[str, Any]:
    """The record of the trial, also written to `record_of(root, revision, trial)`; a trial that has one is not run again.

    `dvc exp run` of `revision` with the trial's values, its DVC cache that of `root`; the experiment is then one of `root`
    (`dvc exp show`, `dvc exp apply NAME`). Raises StageFailed, and ConfigurationError for a key that is not there.
    """
    kept = record_of(root, revision, trial)
    if kept.exists():
        return dict(json.loads(kept.read_text()))
    start = time.monotonic()
    with clone(root, revision, trial.name) as path:
        (path / search.file).write_text(overridden((path / search.file).read_text(), dict(trial.values)))
        (path / "params.yaml").write_text(params(search.preset, path))
        run([sys.executable, "-m", "dvc", "exp", "run", "--name", trial.name, *search.stages], path, emit)
        metrics = json.loads((path / search.metrics).read_text())
        measures = measured(search, metrics)
        home = ("git", "fetch", "--quiet", "--no-write-fetch-head", str(path))
        call(*home, "+refs/exps/*:refs/exps/*", "^refs/exps/exec/*", root=root)
    record = {
        "name": trial.name,
        "file": search.file,
        "point": dict(trial.point),
        "rung": trial.rung,
        "values": dict(trial.values),
        "measures": measures,
        "metrics": metrics,
        "seconds": round(time.monotonic() - start, 1),
    }
    kept.parent.mkdir(parents=True, exist_ok=True)
    part = kept.with_suffix(".part")
    part.write_text(json.dumps(record, indent=2))
    part.replace(kept)
    return record


def record_of(root: Path, revision: str, trial: Trial) -> Path:
    """Where the record of a finished trial is kept: apart for each revision, for other code may come out otherwise."""
    return records(root, revision, trial.search) / f"{trial.name}.json"


def records(root: Path, revision: str, search: str) -> Path:
    """The folder of a search's records, its table and its charts."""
    return root / ".cache" / "sweep" / search / revision[:12]


@contextlib.contextmanager
def clone(root: Path, revision: str, name: str) -> Iterator[Path]:
    """A clone of `root` at `revision` beside it, so that ../shared is the same place; removed at the end.

    A clone and not a worktree: trials run side by side, and what DVC notes of a running experiment is kept in git refs.
    """
    path = root.parent / f"{root.name}.sweep-{name}"
    shutil.rmtree(path, ignore_errors=True)  # what a killed trial left behind
    try:
        call("git", "clone", "--quiet", "--shared", "--no-checkout", str(root), str(path), root=root)
        call("git", "checkout", "--quiet", "--detach", revision, root=path)
        settings = root / ".dvc" / "config.local"
        if settings.exists():
            shutil.copy(settings, path / ".dvc" / "config.local")
        dvc("cache", "dir", "--local", dvc("cache", "dir", root=root), root=path)
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
