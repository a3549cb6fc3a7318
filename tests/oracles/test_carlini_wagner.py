"""Carlini and Wagner's attack beside adv-lib's and foolbox's: how often, how near, and what becomes of failures."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any

import pytest
import torch
from torch import Generator, Tensor, nn

from immunize.attacks.image import CarliniWagner
from immunize.batch import Batch
from immunize.models import Clip
from immunize.threats import Ball

BOX = Ball("l2", inf)


def rng() -> Generator:
    return Generator().manual_seed(0)


def adv_lib_cw(classifier: nn.Module, batch: Batch, c: float = 1.0, steps: int = 50) -> Tensor:
    from adv_lib.attacks.carlini_wagner.l2 import carlini_wagner_l2

    settings: dict[str, Any] = {"binary_search_steps": 1, "initial_const": c, "max_iterations": steps}
    return carlini_wagner_l2(classifier, batch.images, batch.labels, learning_rate=0.01, **settings)


def foolbox_cw(classifier: nn.Module, batch: Batch, c: float = 1.0, steps: int = 50) -> Tensor:
    import foolbox

    victim = foolbox.PyTorchModel(classifier, bounds=(0, 1), device="cpu")
    attack = foolbox.attacks.L2CarliniWagnerAttack(binary_search_steps=1, steps=steps, stepsize=0.01, initial_const=c)
    return attack(victim, batch.images, batch.labels, epsilons=None)[1]


@pytest.mark.parametrize("peer", [adv_lib_cw, foolbox_cw])
def test_as_successful_and_as_near(
    peer: Any, trained: Clip, classified: Batch, classifier: nn.Module, rate: Callable[[Tensor], float]
) -> None:
    theirs = peer(classifier, classified)
    black = (theirs == 0).flatten(1).all(dim=1).view(-1, 1, 1, 1)
    theirs = torch.where(black, classified.images, theirs)  # what foolbox gives where it fails is no success
    after = CarliniWagner(steps=50, searches=1)(trained, classified, rng())
    assert rate(after.images) >= rate(theirs) - 0.01 and rate(theirs) > 0.5
    with torch.no_grad():
        both = [classifier(x).argmax(dim=1) != classified.labels for x in (after.images, theirs)]
    ours, bar = (BOX.distance(x, classified.images)[both[0] & both[1]].mean() for x in (after.images, theirs))
    assert ours <= 1.02 * bar
    assert after.outcome is not None and after.outcome.backwards.float().mean() < 40


def test_where_foolbox_fails_it_returns_black_and_ours_does_not(
    trained: Clip, classified: Batch, classifier: nn.Module
) -> None:
    """And counts black as success where black is misclassified (attacks.md 5.3)."""
    theirs = foolbox_cw(classifier, classified, c=1e-6, steps=3)
    after = CarliniWagner(steps=3, constant=1e-6, learning_rate=1e-4, searches=1)(trained, classified, rng())
    assert after.outcome is not None
    black = (theirs == 0).flatten(1).all(dim=1)
    failed = ~after.outcome.success
    assert (black & failed).any()
    assert ((after.images - classified.images).abs().amax(dim=(1, 2, 3)) < 1e-2)[failed].all()
    with torch.no_grad():
        fooled = classifier(after.images).argmax(dim=1) != classified.labels
    assert torch.equal(fooled, after.outcome.success)
