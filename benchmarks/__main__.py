"""Speed of attacks and training beside other libraries and the floor: python -m benchmarks [--rounds 3] [--only PGD ...]."""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from benchmarks import image, peers, scaling, text, training, victim

from immunize.data.loader import Pairs
from immunize.models import load
from immunize.models.memory import keep_freed

PROJECT = Path(__file__).parents[1]
CACHE = PROJECT / ".cache" / "bench"
TEXT, TRAINING = "text", "training"
SIZES, CHUNK, STEPS = (32, 64, 128, 256, 512), 64, 10


def main(rounds: int, only: list[str]) -> None:
    """Print the page as it grows; a full run keeps it."""
    torch.set_num_threads(1)
    peers.reach(PROJECT / ".cache" / "peers")
    page = []
    for line in _page(rounds, only):
        print(line, flush=True)
        page.append(line)
    if not only:
        (PROJECT / "benchmarks" / "README.md").write_text("\n".join(page) + "\n")


def _page(rounds: int, only: list[str]) -> Iterator[str]:
    yield (PROJECT / "benchmarks" / "method.md").read_text().strip()
    yield f"\nMachine: {_processor()}, {os.cpu_count()} cores, 1 thread, torch {torch.__version__}; {rounds} rounds.\n"
    if any(name in image.OURS for name in only or image.OURS):
        yield from _images(rounds, only)
    if not only or TEXT in only:
        yield from _texts(rounds)
    if not only or TRAINING in only:
        yield from _training(rounds)


def _images(rounds: int, only: list[str]) -> Iterator[str]:
    model = victim.fitted(CACHE)
    batch = victim.batch(model)
    yield f"## Image attacks\n\nVictim: {victim.accuracy(model, 1000):.1%} of fresh clean images named right.\n"
    yield from _head("attack by images/CPU-s time/ours success L2 L2/ours forwards backwards time/floor time/steps")
    for name in image.OURS:
        if not only or name in only:
            yield from (_image(name, row) for row in image.rows(name, model, batch, rounds))
    yield ""
    yield from (f"- {name}: {budget}." for name, budget in image.BUDGETS.items() if not only or name in only)
    if sys.platform == "linux" and (not only or "JSMA" in only):
        gib = subprocess.check_output([sys.executable, "-m", "benchmarks.memory"], cwd=PROJECT, text=True)
        yield f"- JSMA at 224 x 224 pixels: {float(gib):.2f} GiB at most, torch included."


def _image(name: str, row: image.Row) -> str:
    cost = row.outcome and [f"{part.float().mean():.1f}" for part in (row.outcome.forwards, row.outcome.backwards)]
    floor = "" if row.times_floor is None else f"{row.times_floor:.2f}"
    steps = "" if row.times_steps is None else f"{row.times_steps:.2f}"
    reached = (
        f"{row.speed:.2f}",
        f"{row.times_ours:.2f}",
        f"{row.success:.3f}",
        f"{row.distance:.3f}",
        f"{row.distance_ours:.2f}",
    )
    return _line((name, row.by, *reached, *(cost or ("", "")), floor, steps))


def _texts(rounds: int) -> Iterator[str]:
    yield "\n## Text and joint attacks\n"
    yield from _head("attack model pairs pairs/CPU-s loop's gain cosine-clean ours loop same-edits")
    models = PROJECT / "models" / "scenes"
    if models.exists():  # made by `make repro`
        yield from _kinds(text.trained(models, rounds))
    yield from _kinds(text.wide(CACHE, min(rounds, 2)))


def _kinds(subject: text.Subject) -> Iterator[str]:
    yield from (_text(attack(subject)) for attack in (text.bert_attack, text.by_gradient, text.sga))


def _text(row: text.Row) -> str:
    cosines = (f"{value:.3f}" for value in (row.clean, row.ours, row.loop))
    speeds = (f"{row.speed:.1f}", f"{row.loop_speed:.2f}", f"{row.gain:.1f}")
    return _line((row.attack, row.model, str(row.pairs), *speeds, *cosines, f"{row.same:.0%}"))


def _training(rounds: int) -> Iterator[str]:
    made = training.read(PROJECT)
    if made is None:  # made by `make repro`
        return
    folder, tables, method, batch = made
    found = training.step(load(folder), Pairs.read(tables, "train"), training.parsed(method), batch, 3 * rounds)
    yield "\n## Training: `mat` of the preset scenes\n"
    yield f"- A step on {batch} images: {found.seconds:.2f} CPU-s, {found.over:.3f} times its {found.passes} bare passes."
    yield f"- Of a step the text attack is {found.text:.1%}."
    case = scaling.Case(str(folder), str(tables), method, batch, steps=STEPS)
    together, apart = scaling.doubled(case._replace(steps=10), 2 * rounds + 1)
    yield f"- Two processes, {batch} images and one thread each: {together:.2f} times the pairs per second of one."
    yield f"- Two that know nothing of each other, which is what the machine has to give: {apart:.2f} times.\n"
    points = [*scaling.against_batch(case, SIZES, CHUNK), scaling.measured(case._replace(batch=2 * batch), 2)]
    scaling.figure(points[:-1], PROJECT / "benchmarks" / "training.svg")
    yield "![Pairs per second and peak memory against the batch](training.svg)\n"
    yield from _head("images chunk processes pairs/s peak-GiB")
    for p in points:
        numbers = (f"{p.speed:.1f}", f"{p.memory / 2**30:.2f}")
        yield _line((str(p.batch), str(p.chunk or "whole"), str(p.processes), *numbers))


def _head(columns: str) -> Iterator[str]:
    names = [name.replace("-", " ", 1) if "/" not in name else name for name in columns.split()]
    yield _line(names)
    yield "|" + "---|" * len(names)


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _processor() -> str:
    """The model's name, which only Linux keeps in a file."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    named = (line.partition(": ")[2] for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=[], choices=[*image.OURS, TEXT, TRAINING])
    arguments = parser.parse_args()
    keep_freed()  # as the stages do
    main(arguments.rounds, arguments.only)
