"""The attack away from the model before training, and the smaller threat of a curriculum."""

from __future__ import annotations

import pytest
import torch
from torch import Generator

from immunize.attacks import LEAF, PGD, SGA, Worst
from immunize.batch import Batch
from immunize.config import ConfigurationError, parse
from immunize.data.loader import Pairs
from immunize.defense import Method
from immunize.defense.inner import Drift, scaled
from immunize.defense.sampling import pairs_of_step
from immunize.defense.terms import Anchor, Contrast
from immunize.models import Clip
from immunize.models.blending import frozen_copy
from immunize.models.encode import encode_captions, encode_images
from immunize.threats import Ball, Edits

BALL = Ball("linf", 8 / 255)
IMAGE, TEXT = PGD(BALL, steps=4, step=0.5), LEAF(Edits(words=1), rho=8)


@pytest.fixture
def step(pairs: Pairs) -> Batch:
    return pairs_of_step(pairs, 0, 8, 0, captions=2)


@pytest.fixture
def reference(trained: Clip) -> Clip:
    """Near the trained model, but another."""
    copy = frozen_copy(trained)
    with torch.no_grad():
        for parameter in copy.parameters():
            parameter += 0.02 * torch.randn(parameter.shape, generator=rng())
    return copy


def rng() -> Generator:
    return Generator().manual_seed(0)


def test_images_go_far_from_where_the_reference_has_them(trained: Clip, reference: Clip, step: Batch) -> None:
    """Farther than at the random start, and farther than an attack on the pairs takes them; captions stay."""
    model = trained
    before = encode_images(reference, step.images)

    def far(batch: Batch) -> torch.Tensor:
        return (encode_images(model, batch.images) - before).square().sum(dim=1)

    found = Drift(image=IMAGE)(model, reference, step, rng())
    started = Drift(image=PGD(BALL, steps=0))(model, reference, step, rng())
    assert (far(found) > far(started)).all() and far(found).mean() > far(IMAGE(model, step, rng())).mean()
    assert (found.images - step.images).abs().max() <= 8 / 255 + 1e-6 and found.captions == step.captions
    assert found.outcome is not None and torch.allclose(found.outcome.value, far(found), atol=1e-4)


def test_each_caption_goes_away_from_its_own_embedding(trained: Clip, reference: Clip, step: Batch) -> None:
    """Two captions of one image have two anchors; the images stay, and an edit is inside the threat."""
    found = Drift(text=TEXT)(trained, reference, step, rng())
    assert found.images is step.images and found.originals == step.captions
    changed = [sum(a != b for a, b in zip(x.split(), y.split())) for x, y in zip(step.captions, found.captions)]
    assert max(changed) == 1 and sum(changed) > len(changed) / 2
    before = encode_captions(reference, step.captions)
    moved, stayed = (
        (encode_captions(trained, c) - before).square().sum(dim=1) for c in (found.captions, step.captions)
    )
    assert all(bool(moved[c] > stayed[c] + 1e-4) == bool(count) for c, count in enumerate(changed))
    guided = TEXT(trained, step, rng())  # away from the images: another aim, hence not as far
    assert moved.mean() > (encode_captions(trained, guided.captions) - before).square().sum(dim=1).mean()


def test_both_halves(trained: Clip, step: Batch) -> None:
    found = Drift(IMAGE, TEXT)(trained, frozen_copy(trained), step, rng())
    assert found.captions != step.captions and not torch.equal(found.images, step.images)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"kind": "drift"}, "image, text: name an attack"),
        ({"kind": "drift", "image": {"kind": "pgd", "threat": BALL, "objective": "margin"}}, "has its own objective"),
        ({"kind": "drift", "image": {"kind": "fgsm", "threat": BALL}}, "drift.image"),
    ],
)
def test_what_makes_no_sense_is_refused(value: dict, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        parse({"outer": [{"kind": "anchor"}], "inner": value}, Method, "here")


def test_without_the_reference_it_says_so(fresh_model: Clip, step: Batch) -> None:
    with pytest.raises(ValueError, match="drift is away from the model before training"):
        Method((Anchor(),), Drift(IMAGE)).loss(fresh_model, step, rng())


def test_every_ball_of_an_attack_is_scaled_and_nothing_else() -> None:
    attack = Worst((SGA(TEXT, IMAGE), PGD(Ball("l2", 1.0))))
    found = scaled(attack, 0.25)
    assert found == Worst((SGA(TEXT, PGD(Ball("linf", 2 / 255), steps=4, step=0.5)), PGD(Ball("l2", 0.25))))
    method = Method((Contrast("attacked"),), attack)
    assert method.within(1.0) is method and method.within(0.25).inner == found
    assert Method((Contrast(),)).within(0.5) == Method((Contrast(),))
