"""Image attacks on the victim: CPU seconds beside the peers' and beside the floor, the victim's own passes."""

from __future__ import annotations

import copy
import statistics
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple, cast

import torch
from benchmarks.peers import PEERS
from benchmarks.timing import Timing, in_turns
from benchmarks.victim import CLASSES, EPS, ZeroShot
from torch import Generator, Tensor, nn

from immunize.attacks import Attack
from immunize.attacks.black_box.square import Square
from immunize.attacks.image.apgd import APGD
from immunize.attacks.image.carlini_wagner import CarliniWagner
from immunize.attacks.image.deepfool import DeepFool
from immunize.attacks.image.jsma import JSMA
from immunize.attacks.image.pgd import PGD
from immunize.batch import Batch, Outcome
from immunize.threats import Ball

LINF = Ball("linf", EPS)
VALUES = 12  # what the peers' gamma = 0.001 of 3 x 64 x 64 comes to; six pairs
FLOOR_PASSES = 4


def _ascents(ball: Ball) -> dict[str, dict[str, Attack]]:
    """PGD-10 and APGD-20 in that ball, with and without early stop."""
    return {
        "PGD": {
            "ours": PGD(ball, steps=10, objective="cross_entropy"),
            "ours, early stop": PGD(ball, steps=10, objective="cross_entropy", early_stop=True),
        },
        "APGD": {"ours": APGD(ball, steps=20), "ours, early stop": APGD(ball, steps=20, early_stop=True)},
    }


OURS: Mapping[str, Mapping[str, Attack]] = {
    **_ascents(LINF),
    **{f"{name}, 8/255": ways for name, ways in _ascents(Ball("linf", 2 * EPS)).items()},
    "DeepFool": {"ours": DeepFool(steps=50)},
    "C&W": {"ours": CarliniWagner(steps=50, searches=1, constant=1.0)},
    "Square": {"ours": Square(LINF, queries=100)},
    "JSMA": {
        "ours, as many values": JSMA(Ball("l0", VALUES / 3), targeted=True),
        "ours, as many pixels": JSMA(Ball("l0", float(VALUES)), targeted=True),
    },
}
BUDGETS = {
    "PGD": "10 steps of eps/4, eps 4/255",
    "APGD": "20 steps, cross-entropy, one start, eps 4/255",
    "PGD, 8/255": "the same at twice the radius, where nearly every image falls",
    "APGD, 8/255": "the same",
    "DeepFool": "at most 50 steps, overshoot 0.02",
    "C&W": "one search, c = 1, 50 steps, learning rate 0.01",
    "Square": "100 queries, p = 0.8, the schedule rescaled to them, eps 4/255",
    "JSMA": f"towards the next class, theta = 1, {VALUES} values or pixels of three values",
}
STEPPING = {"PGD": 10, "APGD": 20, "PGD, 8/255": 10, "APGD, 8/255": 20}  # forward and backward passes asked for
FEWER = {"JSMA": 16, "JSMA torchattacks": 1}  # images, where 32 would take minutes


class Row(NamedTuple):
    """One way to run one attack, its time over that of ours (the last of ours) and over that of its floors.

    distance: mean l_2 of what fools; distance_ours: over that of ours, on the images that both fool.
    times_floor: over the passes it counted. times_steps: over `steps` forward and backward passes, for those without early
    stop.
    """

    by: str
    speed: float
    times_ours: float
    success: float
    distance: float
    distance_ours: float
    outcome: Outcome | None
    times_floor: float | None
    times_steps: float | None


def rows(name: str, model: ZeroShot, batch: Batch, rounds: int) -> list[Row]:
    """Ours, the peers and the floor of one attack, in turns."""
    peers = PEERS[name]
    batch = batch.take(torch.arange(FEWER.get(name, len(batch))))
    ways: dict[str, Callable[[], Batch | Tensor]] = {by: _ours(a, model, batch) for by, a in OURS[name].items()}
    if name in STEPPING:
        ways["ours, compiled"] = _ours(OURS[name]["ours"], _compiled(model, batch), batch)
    ways |= {by: _peer(name, by, model, batch) for by in peers}
    floors = {"forward": lambda: forward(model, batch), "both": lambda: both(model, batch)}
    timings = in_turns({**ways, **floors}, rounds, rivals=peers)
    reference = timings[list(OURS[name])[-1]]
    steps = STEPPING.get(name)
    return [_row(by, timings, reference, steps if "early" not in by else None, model, batch) for by in ways]


def forward(model: ZeroShot, batch: Batch) -> None:
    """The floor of a query: FLOOR_PASSES forward passes."""
    with torch.no_grad():
        for _ in range(FLOOR_PASSES):
            model(batch.images)


def both(model: ZeroShot, batch: Batch) -> None:
    """The floor of a step: FLOOR_PASSES forward and backward passes to the pixels."""
    for _ in range(FLOOR_PASSES):
        x = batch.images.clone().requires_grad_()
        torch.autograd.grad(model(x).sum(), x)


def _ours(attack: Attack, model: ZeroShot, batch: Batch) -> Callable[[], Batch]:
    if isinstance(attack, JSMA):
        batch = replace(batch, targets=tuple(str((k + 1) % CLASSES) for k in batch.labels.tolist()))
    return lambda: attack(model, batch, Generator().manual_seed(0))


def _compiled(model: ZeroShot, batch: Batch) -> ZeroShot:
    """The victim behind torch.compile, compiled here for images with and without a gradient."""
    fast = copy.copy(model)
    fast._modules = {**model._modules, "visual": cast(nn.Module, torch.compile(model.visual))}
    PGD(LINF, steps=1)(fast, batch, Generator())
    return fast


def _peer(name: str, by: str, model: ZeroShot, batch: Batch) -> Callable[[], Tensor]:
    count = FEWER.get(f"{name} {by}", len(batch))
    return lambda: PEERS[name][by](model, batch.images[:count], batch.labels[:count])


def _row(
    by: str, timings: Mapping[str, Timing], reference: Timing, steps: int | None, model: ZeroShot, batch: Batch
) -> Row:
    timing = timings[by]
    outcome = timing.result.outcome if isinstance(timing.result, Batch) else None
    moved, ours = _distance(model, batch, timing.result), _distance(model, batch, reference.result)
    count = len(moved)
    fooled, both = moved.isfinite(), moved.isfinite() & ours[:count].isfinite()
    return Row(
        by=by,
        speed=count / timing.median,
        times_ours=len(batch) / count * timing.over(reference),
        success=fooled.float().mean().item(),
        distance=moved[fooled].mean().item(),
        distance_ours=(moved[both].mean() / ours[:count][both].mean()).item(),
        outcome=outcome,
        times_floor=None if outcome is None else _over_floor(timing, outcome, timings),
        times_steps=None if steps is None else timing.over(timings["both"]) * FLOOR_PASSES / steps,
    )


@torch.no_grad()
def _distance(model: ZeroShot, batch: Batch, result: Batch | Tensor) -> Tensor:
    """l_2 distance of each image that fools, infinite for the others."""
    images = result.images if isinstance(result, Batch) else result
    count = len(images)
    moved = (images - batch.images[:count]).flatten(1).norm(dim=1)
    return moved.masked_fill(model(images).argmax(dim=1) == batch.labels[:count], torch.inf)


def _over_floor(timing: Timing, outcome: Outcome, timings: Mapping[str, Timing]) -> float:
    """Time over that of the counted passes alone, at the full batch's speed; the median over rounds."""
    count, forwards, backwards = len(outcome.forwards), outcome.forwards.sum(), outcome.backwards.sum()
    steps = torch.minimum(forwards, backwards)
    ratios = []
    for seconds, one, two in zip(timing.seconds, timings["forward"].seconds, timings["both"].seconds):
        passes = steps * two + (forwards - steps) * one + (backwards - steps) * (two - one)
        ratios.append(seconds / (passes.item() / count / FLOOR_PASSES))
    return statistics.median(ratios)
