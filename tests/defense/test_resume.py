"""A run that was interrupted gives the bytes of one that was not: stopped politely, or killed without warning."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from immunize import defense, models
from immunize.attacks import PGD, SGA, BertAttack
from immunize.data.loader import Pairs
from immunize.defense import Method, Training, checkpoint, run, train
from immunize.defense.terms import Contrast
from immunize.models import Clip
from immunize.models.initial import Small
from immunize.threats import Ball, Edits

METHOD = Method(
    outer=(Contrast("attacked", "attacked"),),
    inner=SGA(BertAttack(Edits(), typos=2, importance="gradient"), PGD(Ball("linf", 4 / 255), steps=1), again=False),
)
TRAINING = Training(steps=12, batch=8, lr=1e-3, warmup=2, log=2, checkpoint=2)

KILLED = """
import sys, torch
from pathlib import Path
from immunize import models
from immunize.data.loader import Pairs
from immunize.defense import run
sys.path.insert(0, str(Path(sys.argv[1]).parent))
from test_resume import METHOD, TRAINING
torch.set_num_threads(int(sys.argv[4]))
run("mat", models.load(sys.argv[2]), Pairs.read(Path(sys.argv[3]), "train", 32), METHOD, TRAINING, Path("out"))
"""


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("stop", [1, 4])
def test_stopped_and_resumed_is_undisturbed(stop: int, small: Small, pairs: Pairs, tmp_path: Path) -> None:
    """`stop` records in: the generator is dropped as an exception would, between two checkpoints or on one."""
    whole, parts = small.make(pairs.captions, 0), small.make(pairs.captions, 0)
    training = Training(steps=10, batch=8, lr=1e-3, warmup=2, log=2, checkpoint=4)
    records = list(train(whole, pairs, METHOD, training, tmp_path / "whole"))
    assert list(islice(train(parts, pairs, METHOD, training, tmp_path / "parts"), stop)) == records[:stop]
    again = small.make(pairs.captions, 7)  # whatever the weights: the saved ones count
    if stop < 3:
        again.load_state_dict(small.make(pairs.captions, 0).state_dict())
    assert list(train(again, pairs, METHOD, training, tmp_path / "parts")) == records
    assert checkpoint.fingerprint(again) == checkpoint.fingerprint(whole)


@pytest.mark.slow
def test_killed_without_warning_and_run_again(
    fresh_model: Clip, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """kill -9 once a checkpoint stands, in a process with other string hashes; then run again."""
    monkeypatch.chdir(tmp_path)
    pairs = Pairs.read(world, "train", 32)
    models.save(fresh_model, tmp_path / "first")
    monkeypatch.setattr(defense, "SCRATCH", tmp_path / "elsewhere")
    run("mat", models.load("first"), pairs, METHOD, TRAINING, tmp_path / "undisturbed")
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, __file__, "first", str(world), str(torch.get_num_threads())],
        env={**os.environ, "PYTHONHASHSEED": "1"}, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        while not list(Path(".cache").glob("train/*/state.pt")):
            assert child.poll() is None
            time.sleep(0.005)
    finally:
        child.send_signal(signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL, "the child had finished before it was killed: give it more steps"
    assert not files(tmp_path / "out")
    (left,) = Path(".cache").glob("train/*/state.pt")
    done = (checkpoint._read(left) or {})["step"]
    steps: list[int] = []
    honest = Method.loss

    def counted(self: Method, *given: Any) -> Tensor:
        steps.append(1)
        return honest(self, *given)

    monkeypatch.setattr(Method, "loss", counted)
    run("mat", models.load("first"), pairs, METHOD, TRAINING, tmp_path / "out")
    assert files(tmp_path / "out") == files(tmp_path / "undisturbed")
    assert 0 < done < 12 and len(steps) == 12 - done  # it did go on, and did not start again
    assert not left.exists()
