"""DeepFool beside adv-lib's and foolbox's: how often, how near, at what cost."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any

import pytest
import torch
from torch import Generator, Tensor, nn

from immunize.attacks.image import DeepFool
from immunize.batch import Batch
from immunize.models import Clip
from immunize.threats import Ball

NORMS = pytest.mark.parametrize("norm", ["l2", "linf"])


def adv_lib_df(classifier: nn.Module, batch: Batch, norm: str) -> Tensor:
    from adv_lib.attacks.deepfool import df

    return df(classifier, batch.images, batch.labels, steps=50, norm=2 if norm == "l2" else inf)


def foolbox_df(classifier: nn.Module, batch: Batch, norm: str) -> Tensor:
    import foolbox

    attack: Any = {"l2": foolbox.attacks.L2DeepFoolAttack, "linf": foolbox.attacks.LinfDeepFoolAttack}[norm]
    victim = foolbox.PyTorchModel(classifier, bounds=(0, 1), device="cpu")
    return attack(steps=50, candidates=10)(victim, batch.images, batch.labels, epsilons=None)[1]


@NORMS
@pytest.mark.parametrize("peer", [adv_lib_df, foolbox_df])
def test_as_successful_and_as_near(
    peer: Any, norm: Any, trained: Clip, classified: Batch, classifier: nn.Module, rate: Callable[[Tensor], float]
) -> None:
    theirs, ball = peer(classifier, classified, norm), Ball(norm, inf)
    after = DeepFool(ball)(trained, classified, Generator().manual_seed(0))
    assert rate(after.images) >= rate(theirs) - 0.01 and rate(theirs) > 0.5
    with torch.no_grad():
        both = [classifier(x).argmax(dim=1) != classified.labels for x in (after.images, theirs)]
    ours, bar = (ball.distance(x, classified.images)[both[0] & both[1]].mean() for x in (after.images, theirs))
    assert ours <= 1.02 * bar


@NORMS
def test_fewer_backward_passes(norm: Any, trained: Clip, classified: Batch) -> None:
    """adv-lib takes nine for each image and step, 25.6 on the victim of attacks.md section 4."""
    after = DeepFool(Ball(norm, inf))(trained, classified, Generator().manual_seed(0))
    assert after.outcome is not None
    assert after.outcome.backwards.float().mean() < 14 and after.outcome.forwards.float().mean() < 6
