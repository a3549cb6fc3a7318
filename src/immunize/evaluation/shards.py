"""Evaluation by several processes: a block of images is a task of Ray, and what comes back is joined in order.

Where they run is no parameter of the pipeline but a matter of the machine, for no result depends on it but `seconds`:
IMMUNIZE_RAY=4 are four processes here, IMMUNIZE_RAY=auto (or another address) those of a Ray cluster.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from pathlib import Path

import torch

from immunize import models
from immunize.attacks import Attack
from immunize.cluster import RETRIES, cluster
from immunize.data.loader import Pairs
from immunize.evaluation.blocks import Finds, Found, attacked, gathered
from immunize.models.encode import encode_captions
from immunize.models.remembering import Remembering

VARIABLE = "IMMUNIZE_RAY"


@dataclass(frozen=True, slots=True)
class Source:
    """What a worker reads for itself, once: a model's folder, a collect folder and its split, below `root`."""

    root: Path
    model: Path
    data: Path
    split: str


@dataclass(frozen=True, slots=True)
class Shard:
    """A block, images start..stop of the source, under one attack after the other; it depends on no other block."""

    source: Source
    attacks: Mapping[str, Attack]
    start: int
    stop: int
    seed: int


def shards(source: Source, attacks: Mapping[str, Attack], count: int, *, seed: int, block: int) -> list[Shard]:
    """The first `count` images, `block` at a time, as the one process takes them."""
    return [Shard(source, attacks, i, min(i + block, count), seed) for i in range(0, count, block)]


def work(shard: Shard) -> list[tuple[str, Found]]:
    """What each attack makes of the shard's images: the same in any process, whatever that did before."""
    with contextlib.chdir(shard.source.root):  # attacks name files too
        model, pairs = _read(shard.source)
        batch = pairs.batch(torch.arange(shard.start, shard.stop), whole=True)
        return list(attacked(model, shard.attacks, batch, shard.seed))


@contextlib.contextmanager
def fanned(
    source: Source, rounds: Sequence[tuple[Mapping[str, Attack], int]], *, seed: int, block: int, cuda: bool = False
) -> Iterator[Finds | None]:
    """Who attacks: workers that are given all blocks of all rounds (attacks, count) at once, or nobody else (None).

    A block whose worker died is tried again; what an attack raises is raised.
    """
    where = wanted()
    if where is None:
        yield None
        return
    code = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    with cluster(where, {"PYTHONPATH": code}) as ray:
        share = min(1.0, torch.cuda.device_count() / where) if cuda and isinstance(where, int) else float(cuda)
        task = ray.remote(num_cpus=1, num_gpus=share, max_retries=RETRIES)(work)
        running = {
            tuple(attacks): [task.remote(shard) for shard in shards(source, attacks, count, seed=seed, block=block)]
            for attacks, count in rounds
        }

        def find(attacks: Mapping[str, Attack], count: int) -> dict[str, Found]:
            found = chain.from_iterable(map(ray.get, running.pop(tuple(attacks))))
            return gathered(found, attacks, count)

        yield find


def wanted() -> int | str | None:
    """What IMMUNIZE_RAY says: a number of processes here, the address of a cluster, or (unset, 0) neither."""
    said = os.environ.get(VARIABLE, "").strip()
    return (int(said) if said.isdecimal() else said) or None


@lru_cache(maxsize=1)
def _read(source: Source) -> tuple[Remembering, Pairs]:
    """The model, which knows the clean captions as the one process does that attacks all blocks, and the pairs."""
    pairs = Pairs.read(source.data, source.split)
    model = Remembering(models.load(source.model))
    encode_captions(model, pairs.captions)
    return model, pairs
