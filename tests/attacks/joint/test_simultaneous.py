"""Simultaneous: the first joint gradient by hand, and what of it is left when one half may not move."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Generator

from immunize.attacks import PGD, BertAttack, Simultaneous
from immunize.attacks.text import Relaxed
from immunize.attacks.text.draft import Draft
from immunize.attacks.text.relaxed_text import RelaxedText
from immunize.batch import Batch
from immunize.models import Clip
from immunize.models.encode import encode_captions, encode_images
from immunize.rng import draw_seed, keys
from immunize.threats import Ball, Edits

BALL = Ball("linf", 8 / 255)
MIXED = Relaxed(Edits(words=2), typos=8, steps=4)
IMAGE = PGD(BALL, steps=3)
LAST = BertAttack(Edits(words=2), typos=8)


def rng() -> Generator:
    return Generator().manual_seed(0)


def apart(model: Clip, batch: Batch, after: Batch) -> float:
    image, text = encode_images(model, after.images), encode_captions(model, after.captions)
    return float(-(image[batch.owner] * text).sum(dim=1).mean())


def test_one_step_moves_both_by_the_same_gradient(trained: Clip, batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    """d -<f(x), g(w)> / dx and / dw at the clean pair, each from the one value."""
    found: list[torch.Tensor] = []
    ascend = RelaxedText.ascend

    def record(self: RelaxedText, gradient: torch.Tensor, entropy: float = 0.0) -> None:
        found.append(gradient)
        ascend(self, gradient, entropy)

    monkeypatch.setattr(RelaxedText, "ascend", record)
    attack = Simultaneous(replace(MIXED, steps=1), replace(IMAGE, steps=0, random_start=False))
    together, relaxed = attack._together(trained, batch, rng())
    x = batch.images.clone().requires_grad_()
    with Draft.of(trained, batch, MIXED.threat, None) as draft:
        starts = (keys(batch.caption_ids) ^ draw_seed(rng())).tolist()
        fresh = RelaxedText(draft, MIXED.choices(draft, starts))
        with torch.enable_grad():
            weights = fresh.weights.requires_grad_()
            value = -(trained.encode_image(x)[batch.owner] * fresh.encode()).sum()
            slope, gradient = torch.autograd.grad(value, (weights, x))
    assert len(found) == 1 and torch.allclose(found[0], slope, atol=1e-5)
    stepped = BALL.project(batch.images + 0.25 * BALL.eps * gradient.sign(), batch.images)
    moved = ((together.images - stepped).abs() < 1e-6).flatten(1).float().mean(dim=1)
    still = (together.images == batch.images).flatten(1).all(dim=1)
    assert ((moved > 0.99) | still).all() and (moved > 0.99).any()  # the better of the two points is kept
    assert len(relaxed) == len(fresh) and not torch.equal(relaxed.weights, fresh.weights)


def test_without_words_it_is_the_ascent_on_the_image(trained: Clip, batch: Batch) -> None:
    after = Simultaneous(replace(MIXED, threat=Edits(words=0)), IMAGE)(trained, batch, rng())
    assert after.captions == batch.captions and not torch.equal(after.images, batch.images)
    source = rng()
    draw_seed(source)
    first = replace(IMAGE, steps=4)(trained, batch, source)
    assert apart(trained, batch, after) >= apart(trained, batch, first) - 1e-5  # three more steps from there


def test_without_a_ball_it_is_the_mixtures_alone(trained: Clip, batch: Batch) -> None:
    after = Simultaneous(MIXED, replace(IMAGE, threat=Ball("linf", 0.0)))(trained, batch, rng())
    assert torch.equal(after.images, batch.images) and after.captions != batch.captions
    assert apart(trained, batch, after) > apart(trained, batch, batch) + 0.01


def test_it_is_stronger_than_either_half(trained: Clip, batch: Batch) -> None:
    both = apart(trained, batch, Simultaneous(MIXED, IMAGE, LAST)(trained, batch, rng()))
    assert both > apart(trained, batch, replace(IMAGE, steps=7)(trained, batch, rng()))
    assert both > apart(trained, batch, LAST(trained, batch, rng()))


def test_every_pass_is_counted(trained: Clip, batch: Batch) -> None:
    """Five points together and four of the image; the texts look once at each stage."""
    outcome = Simultaneous(MIXED, IMAGE)(trained, batch, rng()).outcome
    assert outcome is not None
    assert outcome.forwards.tolist() == [1 + 5 + 1 + 4] * 6 and outcome.backwards.tolist() == [4 + 3] * 6
    assert (outcome.texts >= 2 * (1 + 5 + 1)).all()  # two captions: as they were, five mixtures, as they were


@pytest.mark.parametrize(
    ("image", "named"),
    [({"objective": "margin"}, "objective"), ({"targeted": True}, "targeted"), ({"restarts": 2}, "restarts")],
)
def test_settings_without_a_meaning_are_refused(image: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=f"image.{named}"):
        Simultaneous(MIXED, replace(IMAGE, **image))  # type: ignore[arg-type]
