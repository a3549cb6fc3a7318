"""PGD beside foolbox and adv-lib, in bfloat16 and in float64, and what more work or a larger ball must never do."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any, Literal

import pytest
import torch
from torch import Generator, Tensor, nn

from immunize.attacks import PGD
from immunize.attacks.image import APGD
from immunize.batch import Batch
from immunize.models import Clip
from immunize.threats import Ball

Norm = Literal["linf", "l2"]
Rate = Callable[[Tensor], float]
Mean = Callable[[Callable[[int], Tensor]], float]
BALLS = pytest.mark.parametrize("ball", [Ball("linf", 0.5 / 255), Ball("l2", 0.05)], ids=["linf", "l2"])


def rng(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def foolbox_pgd(classifier: nn.Module, batch: Batch, ball: Ball) -> Tensor:
    import foolbox

    attack = {"linf": foolbox.attacks.LinfPGD, "l2": foolbox.attacks.L2PGD}[ball.norm]
    model = foolbox.PyTorchModel(classifier, bounds=(0, 1), device="cpu")
    return attack(steps=10, rel_stepsize=0.25)(model, batch.images, batch.labels, epsilons=ball.eps)[1]


def adv_lib_pgd(classifier: nn.Module, batch: Batch, ball: Ball) -> Tensor:
    from adv_lib.attacks import pgd_linf

    return pgd_linf(classifier, batch.images, batch.labels, ball.eps, steps=10, relative_step_size=0.25)


@BALLS
def test_as_successful_as_the_best_peer(
    ball: Ball, trained: Clip, classified: Batch, classifier: nn.Module, rate: Rate, over_seeds: Mean
) -> None:
    """Ten steps of a quarter of the radius on the cross-entropy; a radius at which neither nothing nor all falls."""
    peers = [foolbox_pgd] + [adv_lib_pgd] * (ball.norm == "linf")
    best = max(over_seeds(lambda _, peer=peer: peer(classifier, classified, ball)) for peer in peers)
    attack = PGD(ball, steps=10, step=0.25, objective="cross_entropy")
    ours = over_seeds(lambda seed: attack(trained, classified, rng(seed)).images)
    assert 0.3 < best < 0.8 and ours >= best - 0.01 - 1 / len(classified)
    after = attack(trained, classified, rng())
    assert after.outcome is not None and after.outcome.success.float().mean().item() == pytest.approx(
        rate(after.images)
    )
    assert (ball.distance(after.images, classified.images) <= ball.eps + 1e-6).all()


@BALLS
def test_the_clean_start_is_foolboxs_too(
    ball: Ball, trained: Clip, classified: Batch, classifier: nn.Module, rate: Rate
) -> None:
    """The same ten steps from the same point: wherever their last one fools, so does the best of ours."""
    import foolbox

    attack = {"linf": foolbox.attacks.LinfPGD, "l2": foolbox.attacks.L2PGD}[ball.norm]
    model = foolbox.PyTorchModel(classifier, bounds=(0, 1), device="cpu")
    theirs = attack(steps=10, rel_stepsize=0.25, random_start=False)(
        model, classified.images, classified.labels, epsilons=ball.eps
    )[2]
    ours = PGD(ball, steps=10, step=0.25, random_start=False, objective="cross_entropy")(trained, classified, rng())
    assert ours.outcome is not None and 0 < theirs.float().mean() < 1
    assert (theirs & ~ours.outcome.success).sum() <= 1  # where a sign is a matter of rounding


@BALLS
def test_a_tower_in_bfloat16_is_attacked_with_a_float32_perturbation(
    ball: Ball, trained: Clip, classified: Batch, rate: Rate
) -> None:
    """torchattacks' APGD and Square, ART's PGD and pyautoattack's Square crash there (attacks.md 5.10)."""
    half, seen = copy.copy(trained), set()

    def encode(images: Tensor) -> Tensor:
        seen.add(images.dtype)
        with torch.autocast("cpu", torch.bfloat16):
            return trained.encode_image(images)

    object.__setattr__(half, "encode_image", encode)
    for attack in (PGD(ball, steps=10, objective="cross_entropy"), APGD(ball, steps=10, objective="dlr")):
        after, whole = attack(half, classified, rng()), attack(trained, classified, rng())
        assert after.images.dtype == torch.float32 and seen == {torch.float32}
        assert rate(after.images) == pytest.approx(rate(whole.images), abs=0.1)


def test_a_model_in_float64_is_attacked(trained: Clip, classified: Batch, rate: Rate) -> None:
    """pyautoattack's APGD casts its input to float32 and crashes (attacks.md 5.10)."""
    from pyautoattack.autopgd_base import APGDAttack

    double = copy.deepcopy(trained).double()
    ball = Ball("linf", 0.5 / 255)
    for attack in (PGD(ball, objective="cross_entropy"), APGD(ball, steps=10)):
        after, single = attack(double, classified, rng()), attack(trained, classified, rng())
        assert rate(after.images) == pytest.approx(rate(single.images), abs=0.05)
    plain = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10)).double()
    with pytest.raises(RuntimeError, match="dtype"):
        APGDAttack(plain, n_iter=2, eps=0.1, device="cpu").perturb(classified.images.double(), classified.labels)


def test_normalized_inputs_are_refused_with_the_cure(classified: Batch, classifier: nn.Module) -> None:
    """adv-lib and pyautoattack take them without a word (attacks.md 5.11)."""
    normalized = (classified.images - 0.5) / 0.25
    assert adv_lib_pgd(classifier, copy.copy(classified), Ball("linf", 0.1)).isfinite().all()
    with pytest.raises(ValueError, match="put the normalization inside the model"):
        replace(classified, images=normalized)


@BALLS
@pytest.mark.parametrize("field", ["steps", "restarts"])
def test_more_work_fools_a_superset(field: str, ball: Ball, trained: Clip, classified: Batch) -> None:
    """The same seeds walk the same way, only further: nested image by image."""
    attack, sets = PGD(ball, steps=2, step=0.5, objective="cross_entropy"), []
    for amount in (1, 2, 4):
        outcome = replace(attack, **{field: amount})(trained, classified, rng()).outcome
        assert outcome is not None
        sets.append(outcome.success)
    assert (sets[1] >= sets[0]).all() and (sets[2] >= sets[1]).all() and sets[2].any()


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("kind", [PGD, APGD])
def test_a_larger_ball_never_helps_the_defender(kind: Any, norm: Norm, trained: Clip, classified: Batch) -> None:
    """An ascent may take another way in a larger ball, so this is a rate: one image of forty is allowed to come back."""
    unit, rates = {"linf": 0.25 / 255, "l2": 0.025}[norm], []
    for times in (0.0, 0.5, 1.0, 2.0, 4.0, 64.0):
        after = kind(Ball(norm, times * unit), steps=8, objective="margin")(trained, classified, rng())
        rates.append(after.outcome.success.float().mean().item())
    assert rates[0] == 0 and rates[-1] > 0.9
    assert all(more >= less - 0.03 for less, more in pairwise(rates))
