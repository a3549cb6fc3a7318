"""One perturbation for all: fitted in closed form on a linear model, kept, cut, and better than chance on new images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Generator

from immunize.attacks.image import Universal
from immunize.attacks.image.universal import fit, load, save
from immunize.attacks.victim import Victim
from immunize.batch import Batch
from immunize.data.loader import Pairs
from immunize.models import Clip
from immunize.models.encode import encode_captions
from immunize.threats import Ball

LINF = Ball("linf", 8 / 255)


def rng() -> Generator:
    return Generator().manual_seed(0)


def test_on_a_linear_model_the_fit_is_a_corner_of_the_ball(linear: Any, squares: Batch) -> None:
    """-sum <f(x + delta), g(t)> is linear in delta: eps times the sign, or the direction, of -sum W^T g(t)."""
    gradient = -(encode_captions(linear, squares.captions).sum(dim=0) @ linear.weight.detach()).view(3, 4, 4)
    linf = fit(linear, [squares], Ball("linf", 0.1), epochs=12, objective="away", limit=1e9)
    assert torch.allclose(linf, 0.1 * gradient.sign(), atol=1e-6)
    l2 = fit(linear, [squares], Ball("l2", 0.1), epochs=12, objective="away", limit=1e9)
    assert torch.allclose(l2, 0.1 * gradient / gradient.norm(), atol=1e-5)


def test_every_image_gets_the_same_and_new_images_suffer(trained: Clip, pairs: Pairs, tmp_path: Path) -> None:
    seen, unseen = (pairs.batch(torch.arange(a, a + 24)) for a in (0, 24))
    delta = fit(trained, [seen.take(torch.arange(12)), seen.take(torch.arange(12, 24))], LINF)
    chance = LINF.eps * (torch.rand(delta.shape, generator=rng()) - 0.5).sign()
    values = []
    for name, one in (("fitted", delta), ("chance", chance)):
        save(one, tmp_path / name)
        after = Universal(LINF, str(tmp_path / name))(trained, unseen, rng())
        assert after.outcome is not None and after.outcome.forwards.tolist() == [1] * 24
        assert torch.allclose(after.images, (unseen.images + one).clamp(0, 1), atol=1e-6)
        values.append(after.outcome.value.mean())
    assert values[0] > values[1] + 0.1


def test_an_image_that_is_fooled_long_since_does_not_count(linear: Any, squares: Batch) -> None:
    """Above the limit there is no gradient: with all images there, delta stays where it is."""
    assert torch.equal(fit(linear, [squares], LINF, objective="away", limit=-1e9), torch.zeros(3, 4, 4))


def test_a_smaller_threat_cuts_what_is_kept(linear: Any, squares: Batch, tmp_path: Path) -> None:
    path = tmp_path / "folder" / "delta"
    save(0.2 * torch.ones(3, 4, 4), path)
    assert torch.equal(load(path), 0.2 * torch.ones(3, 4, 4))
    for ball in (Ball("linf", 0.05), Ball("l2", 0.3)):
        after = Universal(ball, str(path))(linear, squares, rng())
        assert ball.distance(after.images, squares.images).tolist() == pytest.approx([ball.eps] * 4, rel=1e-4)


def test_the_model_and_the_batch_are_left_alone(trained: Clip, batch: Batch) -> None:
    copy = batch.images.clone()
    with torch.no_grad():
        fit(trained, [batch], LINF, epochs=1)
    assert torch.equal(batch.images, copy) and all(p.grad is None for p in trained.parameters())


def test_a_step_helps(trained: Clip, batch: Batch) -> None:
    delta = fit(trained, [batch], LINF)
    with Victim.of(trained, batch, "cross_entropy") as victim:
        before, after = (
            victim.query((victim.clean + d).clamp(0, 1), victim.all).value.sum() for d in (0 * delta, delta)
        )
    assert after > before and delta.abs().max() <= LINF.eps + 1e-7


def test_what_is_wrong_is_said(linear: Any, squares: Batch, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="threat"):
        Universal(Ball("l0", 5.0), "delta")
    with pytest.raises(ValueError, match="threat"):
        fit(linear, [squares], Ball("l0", 5.0))
    save(torch.zeros(3, 8, 8), tmp_path / "delta")
    attack = Universal(LINF, str(tmp_path / "delta"))
    with pytest.raises(ValueError, match="path"):
        attack(linear, squares, rng())
    with pytest.raises(ValueError, match="path"):
        replace(attack, threat=Ball("l2", 1.0))(linear, squares, rng())
