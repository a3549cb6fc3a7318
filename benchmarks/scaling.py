"""Pairs per second and peak memory of training, in processes of their own: python -m benchmarks.scaling '<json>'."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch
from benchmarks.training import parsed
from matplotlib import rc_context

from immunize.data.loader import Pairs
from immunize.defense import Training, train
from immunize.defense.team import joined
from immunize.models import load
from immunize.models.memory import keep_freed
from immunize.report.theme import STYLE, canvas, save

PROJECT = Path(__file__).parents[1]


class Case(NamedTuple):
    """Training `method` from `model` on `pairs`; steps: those timed, after one that is not."""

    model: str
    pairs: str
    method: dict[str, Any]
    batch: int
    chunk: int | None = None
    steps: int = 3


class Point(NamedTuple):
    """Images with a caption per second of wall time, and the most memory of the leading process, in bytes."""

    batch: int
    chunk: int | None
    processes: int
    speed: float
    memory: int


def measured(case: Case, processes: int = 1) -> Point:
    """The case in so many processes of one thread each."""
    launch = (
        ["torch.distributed.run", "--standalone", "--nproc_per_node", str(processes), "-m"] if processes > 1 else []
    )
    path = os.pathsep.join([str(PROJECT), str(PROJECT / "src"), os.environ.get("PYTHONPATH", "")])
    printed = subprocess.run(
        [sys.executable, "-m", *launch, "benchmarks.scaling", json.dumps(case)],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}, check=True, stdout=subprocess.PIPE, text=True,
    ).stdout  # fmt: skip
    speed, memory = json.loads(printed.strip().splitlines()[-1])
    return Point(case.batch, case.chunk, processes, speed, memory)


def at_once(case: Case, count: int) -> float:
    """Pairs per second of so many processes that know nothing of each other, all together: what the machine has to give."""
    with ThreadPoolExecutor(count) as pool:
        return sum(point.speed for point in pool.map(measured, [case] * count))


def doubled(case: Case, rounds: int) -> tuple[float, float]:
    """Two processes with a batch each over one with one: training one model together, and apart; medians over rounds."""
    together, apart = [], []
    for _ in range(rounds):
        alone = measured(case).speed
        together.append(measured(case._replace(batch=2 * case.batch), 2).speed / alone)
        apart.append(at_once(case, 2) / alone)
    return statistics.median(together), statistics.median(apart)


def against_batch(case: Case, sizes: Sequence[int], chunk: int) -> list[Point]:
    """Whole batches, and the same in chunks of `chunk` images where they are larger."""
    cases = [case._replace(batch=size) for size in sizes]
    return [measured(c) for c in cases] + [measured(c._replace(chunk=chunk)) for c in cases if c.batch > chunk]


def figure(points: Sequence[Point], path: Path) -> None:
    """Speed and memory against the batch, whole and in chunks."""
    with rc_context(STYLE):
        drawing, panels = canvas(1, 2, (8.6, 3.2))
        for chunk in dict.fromkeys(point.chunk for point in points):
            own = [point for point in points if point.chunk == chunk]
            label = "whole" if chunk is None else f"chunks of {chunk}"
            sizes = [point.batch for point in own]
            panels[0].plot(sizes, [point.speed for point in own], marker="o", label=label)
            panels[1].plot(sizes, [point.memory / 2**30 for point in own], marker="o", label=label)
        for panel, title in zip(panels, ("Pairs per second", "Peak memory, GiB"), strict=True):
            panel.set(title=title, xlabel="images a step", ylim=(0, None))
            panel.legend()
    save(drawing, path)


def main(case: Case) -> None:
    """Train, and print the pairs per second and the peak in bytes: of the device where there is one, else resident."""
    torch.set_num_threads(1)
    with joined() as team, TemporaryDirectory() as folder:
        pairs, model = Pairs.read(Path(case.pairs), "train"), load(case.model)
        last = case.steps + 1
        training = Training(steps=last, batch=case.batch, warmup=1, log=1, checkpoint=last, chunk=case.chunk)
        steps = train(model, pairs, parsed(case.method), training, Path(folder))
        next(steps)
        start = time.perf_counter()
        done = sum(1 for _ in steps)
        speed = done * case.batch / (time.perf_counter() - start)
        if team.leads:
            print(json.dumps([speed, _peak()]), flush=True)


def _peak() -> int:
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(peak.split()[1]) * 1024


if __name__ == "__main__":
    keep_freed()  # as the stage does
    main(Case(*json.loads(sys.argv[1])))
