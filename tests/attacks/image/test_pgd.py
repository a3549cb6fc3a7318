"""PGD against a loop written out by hand on a linear model, and what more work must never do: weaken it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import pytest
import torch
from torch import Generator, Tensor

from immunize.attacks import PGD
from immunize.attacks.image.pgd import _rescaled
from immunize.batch import Batch
from immunize.config import parse
from immunize.models import Clip
from immunize.models.encode import encode_captions, encode_images
from immunize.objectives import infonce
from immunize.rng import draw_seed, keys
from immunize.threats import Ball

NORMS = pytest.mark.parametrize(("norm", "eps"), [("linf", 0.2), ("l2", 0.7)])
Norm = Literal["linf", "l2"]


def rng() -> Generator:
    return Generator().manual_seed(0)


def value(model: Any, batch: Batch) -> Tensor:
    """-<f(x), g(t)> of each image, its captions summed."""
    image, text = encode_images(model, batch.images), encode_captions(model, batch.captions)
    return torch.zeros(len(batch)).index_add(0, batch.owner, -(image[batch.owner] * text).sum(dim=1))


def by_hand(model: Any, batch: Batch, x: Tensor, attack: PGD) -> Tensor:
    """One image after the other, the gradient -W^T t known in closed form."""
    eps, found = attack.threat.eps, []
    text = encode_captions(model, batch.captions)
    for i, clean in enumerate(batch.images):
        here = x[i]
        gradient = -(model.weight.detach().T @ text[i]).view(clean.shape)
        for _ in range(attack.steps):
            if attack.threat.norm == "linf":
                here = here + attack.step * eps * gradient.sign()
                here = torch.max(torch.min(here, clean + eps), clean - eps).clamp(0, 1)
            else:
                here = here + attack.step * eps * gradient / gradient.norm()
                delta = here - clean
                here = (clean + delta * min(1.0, eps / delta.norm().item())).clamp(0, 1)
        found.append(here)
    return torch.stack(found)


@NORMS
@pytest.mark.parametrize("random_start", [True, False])
def test_against_the_loop_by_hand(linear: Any, squares: Batch, norm: Norm, eps: float, random_start: bool) -> None:
    attack = PGD(Ball(norm, eps), steps=4, step=0.3, random_start=random_start)
    start = attack.threat.sample(squares.images, keys(squares.image_ids), draw_seed(rng()))
    expected = by_hand(linear, squares, start if random_start else squares.images, attack)
    assert torch.allclose(attack(linear, squares, rng()).images, expected, atol=1e-6)


@NORMS
def test_on_a_linear_model_it_finds_the_maximum(linear: Any, squares: Batch, norm: Norm, eps: float) -> None:
    """l_inf: the corner; l_2: along the gradient, the box being far away."""
    attack = PGD(Ball(norm, eps), steps=40, step=0.5)
    gradient = -(encode_captions(linear, squares.captions) @ linear.weight.detach()).view(4, 3, 4, 4)
    best = (squares.images + eps * attack.threat.steepest(gradient)).clamp(0, 1)
    found = value(linear, attack(linear, squares, rng()))
    assert torch.allclose(found, value(linear, replace(squares, images=best)), atol=1e-3)


def test_all_captions_of_an_image_count(linear: Any, squares: Batch) -> None:
    ids = ("a", "b", "c", "d", "e")
    several = replace(squares, captions=(*squares.captions, "xxxxxxxx"), owner=torch.tensor([0, 1, 2, 3, 3]),
                      caption_ids=ids)  # fmt: skip
    attack = PGD(Ball("linf", 0.1), steps=1, step=1.0, random_start=False)
    text = encode_captions(linear, several.captions)
    gradient = -((text[3] + text[4]) @ linear.weight.detach()).view(3, 4, 4)
    expected = (squares.images[3] + 0.1 * gradient.sign()).clamp(0, 1)
    assert torch.allclose(attack(linear, several, rng()).images[3], expected, atol=1e-6)


@NORMS
@pytest.mark.parametrize("steps", [1, 3, 6])
def test_more_steps_are_never_weaker(trained: Clip, batch: Batch, norm: Norm, eps: float, steps: int) -> None:
    """steps + 1 points are judged and each image keeps its best (attacks.md 5.3, 5.4)."""
    attack = PGD(Ball(norm, eps / 4), steps=steps, step=0.5)
    few, many = (value(trained, replace(attack, steps=n)(trained, batch, rng())) for n in (steps, 2 * steps))
    assert (many >= few - 1e-5).all() and (few >= value(trained, batch) - 1e-5).any()


def test_the_last_step_is_judged(linear: Any, squares: Batch) -> None:
    attack = PGD(Ball("linf", 0.2), steps=1, step=0.5, random_start=False)
    moved = (attack(linear, squares, rng()).images - squares.images).abs()
    assert moved.flatten(1).amax(dim=1).tolist() == pytest.approx([0.1] * 4, abs=1e-6)


def test_restarts_are_never_weaker_and_sometimes_stronger(trained: Clip, batch: Batch) -> None:
    attack = PGD(Ball("linf", 8 / 255), steps=1, step=0.5)
    one, four = (value(trained, replace(attack, restarts=n)(trained, batch, rng())) for n in (1, 4))
    assert (four >= one - 1e-6).all() and (four > one + 1e-4).any()


def test_a_mistaken_step_is_not_kept(linear: Any, squares: Batch) -> None:
    """Going down instead of up, the best point is the start: what a failed image returns is never worse than that."""
    away = PGD(Ball("linf", 0.2), steps=3, step=-0.5, random_start=False)
    assert torch.equal(away(linear, squares, rng()).images, squares.images)


def test_the_step_fades_along_a_cosine() -> None:
    attack = PGD(Ball("linf", 0.4), steps=4, step=0.5, decay=True)
    assert [attack.length(k) for k in range(5)] == pytest.approx([0.5, 0.426777, 0.25, 0.073223, 0.0], abs=1e-6)
    assert replace(attack, decay=False).length(3) == pytest.approx(0.5)


def test_infonce_takes_the_other_captions_as_negatives(trained: Clip, batch: Batch) -> None:
    attack = PGD(Ball("linf", 8 / 255), steps=5, objective="infonce")
    text = encode_captions(trained, batch.captions)

    def loss(images: Tensor) -> Tensor:
        return infonce(encode_images(trained, images), text, batch.owner, trained.logit_scale.detach()).mean()

    assert loss(attack(trained, batch, rng()).images) > loss(batch.images) + 0.5


def test_the_size_of_the_objective_does_not_matter(linear: Any, squares: Batch) -> None:
    """A ten-thousandth of the gradient gives the same steps, with no underflow on the way (attacks.md 5.10)."""
    attack = PGD(Ball("l2", 0.5), steps=2, random_start=False)
    expected = attack(linear, squares, rng()).images
    linear.weight.data *= 1e-4
    assert torch.allclose(attack(linear, squares, rng()).images, expected, atol=1e-6)


def test_rescaled_copies_come_back_at_their_size_and_differ() -> None:
    x = torch.rand(2, 3, 8, 8, generator=Generator().manual_seed(3))
    for scale in (0.01, 0.5, 1.5):
        assert _rescaled(x, scale, 0.05, rng()).shape == x.shape
    assert torch.allclose(_rescaled(x, 1.0, 0.0, rng()), x, atol=1e-5)
    assert (_rescaled(x, 0.5, 0.0, rng()) - x).abs().mean() > 0.01


def test_scales_change_the_direction_but_not_the_threat(trained: Clip, batch: Batch) -> None:
    plain = PGD(Ball("linf", 8 / 255), steps=2, random_start=False)
    scaled = replace(plain, scales=(0.5, 1.5))
    one, other = plain(trained, batch, rng()).images, scaled(trained, batch, rng()).images
    assert not torch.equal(one, other) and (other - batch.images).abs().max() <= 8 / 255 + 1e-6


def test_whole_numbers_are_fractions_too() -> None:
    """`initial_const=1` makes other libraries' tensors integers (attacks.md 5.19)."""
    attack = parse({"threat": {"norm": "linf", "eps": 1}, "step": 1}, PGD, "here")
    assert isinstance(attack.step, float) and isinstance(attack.threat.eps, float)
