"""Prefect and Ray: a search over parameters, every trial a DVC experiment, as many at once as there is room for.

python flows/sweep.py sweeps/smoke.yaml [--jobs N] [--address auto] [--revision HEAD]
python flows/sweep.py --promote NAME                the parameters of that trial become those of this checkout
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact

from environment import QUIET, environment
from immunize.cluster import RETRIES, cluster
from immunize.config import ConfigurationError
from immunize.pipeline.halving import Halving
from immunize.pipeline.overrides import overridden
from immunize.pipeline.search import Search, Trial, read, trial
from reproduce import ROOT, prefect_client
from stage import StageFailed, run
from trial import records as trials_of
from trial import run_trial
from worktree import call

Record = dict[str, Any]


@flow(name="sweep", persist_result=False)
def sweep(
    search: str, root: str = str(ROOT), revision: str = "HEAD", jobs: int = 1, address: str | None = None
) -> list[Record]:
    """The record of every trial that ended, those of earlier runs included; raises StageFailed where none did.

    Trials start from `revision`, so what is not committed is not in them. A trial that fails is reported and has no
    record; killing a worker loses the trials that it was at, which are tried again, and no finished one.
    """
    log, project, path = get_run_logger(), Path(root), Path(search)
    wanted, commit = read(path), call("git", "rev-parse", revision, root=Path(root))
    points, halving = list(wanted.points()), _halving(wanted)
    records, failed = list[Record](), list[str]()
    code = os.pathsep.join([str(Path(__file__).parent), environment(ROOT)["PYTHONPATH"]])
    with cluster(jobs if address is None else address, {**QUIET, "PYTHONPATH": code}) as ray:
        work = ray.remote(num_cpus=1, max_retries=RETRIES)(_trial)
        running: dict[Any, tuple[int, Trial]] = {}
        while True:
            while len(running) < jobs and (chosen := halving.next()):
                point, rung = chosen
                one = trial(path.stem, wanted, points[point], rung)
                log.info("%s: %s", one.name, dict(one.values))
                running[work.remote(str(project), commit, wanted, one)] = point, one
            if not running:
                break
            (done, *_), _ = ray.wait([*running])
            point, one = running.pop(done)
            score = float("-inf")
            try:
                records.append(ray.get(done))
                score = records[-1]["measures"][next(iter(wanted.measures))]
                log.info("%s: %s", one.name, records[-1]["measures"])
            except Exception as error:  # a trial's own, or Ray's for a worker that died too often
                failed.append(one.name)
                log.error("%s failed: %s", one.name, error)
            halving.tell(point, one.rung, score)
    if not records:
        raise StageFailed(f"{search}: no trial ended well; failed: {', '.join(failed)}")
    _show(project, trials_of(project, commit, path.stem), log.info)
    return records


def _halving(search: Search) -> Halving:
    count = len(list(search.points()))
    return Halving(count) if search.rungs is None else Halving(count, len(search.rungs.values), search.rungs.eta)


def _trial(root: str, revision: str, search: Search, one: Trial) -> Record:
    """In a worker: Ray shows what is printed."""
    return run_trial(Path(root), revision, search, one, lambda line: print(f"{one.name}: {line}", flush=True))


def _show(root: Path, folder: Path, emit: Callable[[str], None]) -> None:
    """The ranked table and the charts, by a child process that may import what a flow must not."""
    run([sys.executable, "-m", "immunize.report.trials", str(folder)], root, emit)
    create_markdown_artifact(key="sweep", markdown=(folder / "trials.md").read_text())


def promote(root: Path, name: str) -> Path:
    """Set in the parameters file of this checkout the point of trial `name`; the file, raises ConfigurationError.

    `fixed` and a rung's value are not set: they are of the search, not of what it found.
    """
    found = (root / ".cache" / "sweep").glob(f"*/*/{name}.json")
    kept = max(found, key=lambda path: path.stat().st_mtime, default=None)
    if kept is None:
        raise ConfigurationError(f"no trial '{name}' below {root / '.cache' / 'sweep'}; its table names them")
    record = json.loads(kept.read_text())
    file = root / record["file"]
    file.write_text(overridden(file.read_text(), record["point"]))
    return file


def main(arguments: list[str] | None = None) -> int:
    """0 when the search ended, 1 when no trial ended well, 2 for a mistake in what was asked."""
    parser = argparse.ArgumentParser(description="Try every point of a grid, each as a DVC experiment.")
    parser.add_argument("search", nargs="?", type=Path, help="a file of sweeps/")
    parser.add_argument("--promote", metavar="NAME", help="set the parameters of that trial in this checkout")
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout to start from")
    parser.add_argument("--revision", default="HEAD", help="the commit that trials start from")
    parser.add_argument("--jobs", type=int, default=1, help="trials at the same time")
    parser.add_argument("--address", help="of a Ray cluster; without it Ray runs on this machine")
    chosen = parser.parse_args(arguments)
    root = chosen.root.resolve()
    try:
        if chosen.promote:
            print(f"set in {promote(root, chosen.promote)}")
            return 0
        if chosen.search is None:
            parser.error("name a search, or a trial to promote")
        search, given = str(chosen.search.resolve()), (chosen.revision, chosen.jobs, chosen.address)
        read(Path(search))
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        return 2
    with prefect_client():
        return 0 if sweep(search, str(root), *given, return_state=True).is_completed() else 1


if __name__ == "__main__":
    sys.exit(main())
