"""Training methods and the one loop that runs them."""

from __future__ import annotations

import json
from collections import deque
from pathlib import Path

from immunize.config import dump
from immunize.data.loader import Pairs
from immunize.defense import checkpoint
from immunize.defense.checkpoint import Unreadable
from immunize.defense.course import Course
from immunize.defense.method import Method
from immunize.defense.team import here
from immunize.defense.train import Diverged, Training, train
from immunize.models import Clip, save, whole
from immunize.models.whole import NotWritten
from immunize.progress import watch

SCRATCH = Path(".cache/train")

__all__ = ["Course", "Diverged", "Method", "NotWritten", "Training", "Unreadable", "run", "train"]


def run(
    name: str, model: Clip, pairs: Pairs, method: Method | Course, training: Training, folder: Path, inputs: str = ""
) -> None:
    """Train `model` and write it to `folder` with log.json; a killed run goes on from SCRATCH and gives the same bytes.

    `inputs`: a hash of what else the run reads, such as the language model of its inner attack. Several processes
    that a launcher started (`defense.team`) train together, and the first of them writes. Raises NotWritten (a full disk, a
    folder that cannot be written: told before the first step where it can be), Unreadable (no good checkpoint is left) and
    Diverged. After each of them the last good checkpoint is kept, and the same call goes on from it.
    """
    said = method.said if isinstance(method, Course) else dump(method)
    settings = [name, said, dump(training), pairs.hash(), checkpoint.fingerprint(model), inputs]
    scratch = checkpoint.place(SCRATCH, *settings)
    steps = train(model, pairs, method, training, scratch)
    if not here().leads:
        deque(steps, maxlen=0)
        return
    whole.check(folder)
    whole.check(scratch)
    records = list(watch(steps, training.steps, name))
    save(model, folder, log=json.dumps(records, indent=0) + "\n")
    checkpoint.forget(scratch)
