"""FGSM is one step as long as the radius: in closed form on a linear model, and what it costs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import pytest
import torch
from torch import Generator

from immunize.attacks.image import FGSM
from immunize.attacks.victim import Victim
from immunize.batch import Batch
from immunize.models import Clip
from immunize.models.encode import encode_captions
from immunize.objectives import Bank, fooled, margin
from immunize.threats import Ball, Waveform

Norm = Literal["linf", "l2"]


def rng() -> Generator:
    return Generator().manual_seed(0)


@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.2), ("l2", 0.7)])
def test_one_step_of_the_radius(linear: Any, squares: Batch, norm: Norm, eps: float) -> None:
    """-<W x, t> falls along W^T t."""
    gradient = -(encode_captions(linear, squares.captions) @ linear.weight.detach()).view(4, 3, 4, 4)
    step = gradient.sign() if norm == "linf" else gradient / gradient.flatten(1).norm(dim=1).view(4, 1, 1, 1)
    found = FGSM(Ball(norm, eps), objective="away")(linear, squares, rng()).images
    assert torch.allclose(found, (squares.images + eps * step).clamp(0, 1), atol=1e-6)


def test_two_forwards_and_one_backward(trained: Clip, batch: Batch) -> None:
    after = FGSM(Ball("linf", 4 / 255))(trained, batch, rng())
    assert after.outcome is not None
    assert after.outcome.forwards.tolist() == [2] * 6 and after.outcome.backwards.tolist() == [1] * 6


def test_towards_a_target_the_margin_of_the_target_rises(trained: Clip, batch: Batch) -> None:
    aimed = replace(batch, targets=batch.captions[2:8])
    attack = FGSM(Ball("linf", 4 / 255), objective="margin", targeted=True)
    after = attack(trained, aimed, rng())
    with Victim.of(trained, aimed, "margin", targeted=True) as victim:
        before = victim.query(victim.clean, victim.all).value
    assert after.outcome is not None and (after.outcome.value > before).float().mean() > 0.8


def test_a_step_that_makes_things_worse_is_not_handed_on() -> None:
    """f = |x - 0.4|: the slope at 0.45 points up, at 0.35 down; a ball of 0.3 crosses the kink from neither."""
    clean = torch.tensor([0.45, 0.05]).view(2, 1, 1, 1)
    bank = Bank(torch.eye(2), torch.tensor([[True, False], [True, False]]), torch.tensor(1.0))

    def encode(x: torch.Tensor) -> torch.Tensor:
        height = 1 - (x.flatten(1) - 0.2).abs()  # rises to 0.2, falls behind it
        return torch.cat([2 + 0 * height, height], dim=1)

    best = FGSM(Ball("linf", 0.4), objective="margin").search(Victim(encode, clean, bank, torch.arange(2), "margin"), 0)
    assert best.x.flatten().tolist() == pytest.approx([0.05, 0.05])  # the second would have landed on 0.45
    assert not fooled(bank.logits(encode(best.x)), bank).any()
    assert (best.value == margin(encode(best.x), bank)).all()


def test_sound_has_a_radius_of_its_own() -> None:
    clean = torch.sin(torch.linspace(0, 60, 400))[None, None] * torch.tensor([0.5, 0.05]).view(2, 1, 1)
    kernel = torch.randn(400, 4, generator=rng())
    bank = Bank(torch.eye(4), torch.eye(4).bool()[:2], torch.tensor(1.0))
    victim = Victim(lambda x: x.flatten(1) @ kernel, clean, bank, torch.arange(2), "margin")
    best = FGSM(Waveform(-20.0), objective="margin").search(victim, 0)
    assert (best.x - clean).abs().amax(dim=(1, 2)).tolist() == pytest.approx([0.05, 0.005], rel=1e-2)
