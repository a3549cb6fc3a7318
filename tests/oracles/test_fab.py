"""FAB-T beside pyautoattack's: how often, how near, at what cost."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

import pytest
import torch
from torch import Generator, Tensor, nn

from immunize.attacks.image import FAB
from immunize.batch import Batch
from immunize.models import Clip
from immunize.threats import Ball

Rate = Callable[[Tensor], float]
BALLS = pytest.mark.parametrize("ball", [Ball("linf", 0.5 / 255), Ball("l2", 0.05)], ids=["linf", "l2"])


def pyautoattack_fab(classifier: nn.Module, batch: Batch, ball: Ball) -> Tensor:
    from pyautoattack.fab_pt import FABAttack_PT

    norm = {"linf": "Linf", "l2": "L2"}[ball.norm]
    attack = FABAttack_PT(
        classifier, norm=norm, n_iter=6, eps=ball.eps, device="cpu", targeted=True, n_target_classes=3
    )
    return attack.perturb(batch.images, batch.labels)


@BALLS
def test_as_successful_and_as_near(
    ball: Ball, trained: Clip, classified: Batch, classifier: nn.Module, rate: Rate
) -> None:
    """Theirs looks at two points a step and bisects at the end, ours at one."""
    theirs = pyautoattack_fab(classifier, classified, ball)
    after = FAB(ball, steps=6, targets=3, early_stop=True)(trained, classified, Generator().manual_seed(0))
    assert 0.3 < rate(theirs) < 0.8 and rate(after.images) >= rate(theirs) - 0.01 - 2 / len(classified)
    assert (ball.distance(after.images, classified.images) <= ball.eps + 1e-6).all()
    nearest = FAB(Ball(ball.norm, inf), steps=6, targets=3)(trained, classified, Generator().manual_seed(0))
    assert nearest.outcome is not None
    with torch.no_grad():
        both = nearest.outcome.success & (classifier(theirs).argmax(dim=1) != classified.labels)
    ours, bar = (ball.distance(x, classified.images)[both].mean() for x in (nearest.images, theirs))
    assert both.any() and ours <= 1.02 * bar
    assert nearest.outcome.forwards.unique().tolist() == [1 + 3 * 7]
