"""Two processes that train together: the losses and weights of one with the whole batch, and one of them writes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from immunize import models
from immunize.config import parse
from immunize.data.loader import Pairs
from immunize.defense import Method, Training, train
from immunize.defense.team import Team, here, joined
from immunize.models import Clip
from immunize.models.initial import Small

pytestmark = pytest.mark.slow

ASCENT = {"kind": "pgd", "threat": {"norm": "linf", "eps": "8/255"}, "steps": 1}
LEAF = {"kind": "leaf", "threat": {"words": 1}, "rho": 3}
JOINT = {"kind": "sga", "again": False, "text": LEAF, "image": ASCENT}
ATTACKED = {"kind": "contrast", "image": "attacked", "text": "attacked"}
METHODS: dict[str, Any] = {
    "finetune": {"outer": [{"kind": "contrast"}]},
    "immunized": {"outer": [ATTACKED, {"kind": "fused"}, {"kind": "divergence", "by": "reference"}], "inner": JOINT},
    "vision": {"outer": [{"kind": "contrast", "image": "attacked"}], "inner": ASCENT, "trains": "vision"},
    "norms": {"outer": [{"kind": "contrast"}]},  # on a model whose batch norms train
}
TRAINING = Training(steps=3, batch=15, lr=1e-3, warmup=1, log=1, checkpoint=2)  # shares of 8 and 7

CHILD = """
import sys, torch
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_team import METHODS, TRAINING
from immunize import models
from immunize.config import parse
from immunize.data.loader import Pairs
from immunize.defense import Method, checkpoint, run
from immunize.defense.team import here, joined
torch.set_num_threads(1)
with joined() as team:
    pairs = Pairs.read(Path(sys.argv[2]), "train")
    for name, method in METHODS.items():
        model = models.load("norms" if name == "norms" else "first")
        run(name, model, pairs, parse(method, Method, name), TRAINING, Path("out") / name)
        Path(f"{name}-{team.rank}").write_text(checkpoint.fingerprint(model))
    with team.leader_first():
        Path("order").open("a").write(str(team.rank))
    try:
        here().agree(team.rank, "a folder of its own")
    except RuntimeError as error:
        Path(f"said-{team.rank}").write_text(str(error))
"""


@pytest.fixture(scope="module")
def first(small: Small, pairs: Pairs) -> Clip:
    return replace(small, frozen_statistics=True).make(pairs.captions, 0)


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory, first: Clip, small: Small, pairs: Pairs, world: Path) -> Path:
    """The folder in which two gloo processes have trained every method."""
    folder = tmp_path_factory.mktemp("together")
    models.save(first, folder / "first")
    models.save(small.make(pairs.captions, 0), folder / "norms")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    (folder / "child.py").write_text(CHILD)
    environment = {
        name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    }
    done = subprocess.run(
        [*launch, "child.py", str(Path(__file__).parent), str(world)],
        cwd=folder, env={**environment, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("name", [name for name in METHODS if name != "norms"])
def test_two_processes_are_one_with_the_whole_batch(
    name: str, together: Path, first: Clip, pairs: Pairs, tmp_path: Path
) -> None:
    """Losses to 1e-4, and weights to a hundredth of the way they went: Adam makes a step of the noise in a tiny gradient."""
    alone = models.load(together / "first")
    records = list(train(alone, pairs, parse(METHODS[name], Method, name), TRAINING, tmp_path))
    written = json.loads((together / "out" / name / "log.json").read_text())
    for one, other in zip(written, records, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-4)
        assert one["gradient"] == pytest.approx(other["gradient"], rel=1e-2)
    start, mine, theirs = (
        torch.cat([p.detach().flatten() for p in model.parameters()])
        for model in (first, alone, models.load(together / "out" / name))
    )
    assert 0 < (theirs - mine).norm() + 1e-12 < 0.01 * (mine - start).norm()


@pytest.mark.parametrize("name", METHODS)
def test_both_hold_the_same_bytes(name: str, together: Path) -> None:
    """Weights, and the running statistics of batch norms that train."""
    prints = [(together / f"{name}-{rank}").read_text() for rank in (0, 1)]
    assert prints[0] == prints[1]


def test_one_of_them_writes_and_the_leader_goes_first(together: Path) -> None:
    assert {path.name for path in (together / "out").iterdir()} == set(METHODS)
    assert not list((together / ".cache").glob("train/*"))  # what it kept meanwhile is gone
    assert (together / "order").read_text() == "01"


def test_processes_that_go_on_from_different_steps_say_so(together: Path) -> None:
    for rank in (0, 1):
        assert "a folder of its own: put it on a disk that all of them share" in (together / f"said-{rank}").read_text()


def test_alone_nothing_is_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with joined() as team:
        assert team == here() == Team() and team.leads


@pytest.mark.parametrize(("count", "size"), [(8, 2), (15, 2), (7, 3), (3, 3)])
def test_shares_are_all_images_once_in_order(count: int, size: int) -> None:
    shares = [Team(rank, size).rows(count) for rank in range(size)]
    assert torch.cat(shares).tolist() == list(range(count))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
