"""The published defect: the update with it is the update without it and the attack's own gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Generator

from immunize.attacks import LEAF, PGD, SepAttack
from immunize.batch import Batch
from immunize.config import ConfigurationError, parse
from immunize.data.loader import Pairs
from immunize.defense import Method
from immunize.defense.leak import recorded
from immunize.defense.sampling import pairs_of_step
from immunize.defense.terms import Contrast
from immunize.models import Clip
from immunize.objectives import infonce
from immunize.threats import Ball, Edits

OUTER = (Contrast("attacked", "clean", 0.5), Contrast("clean", "attacked", 0.5))
INNER = SepAttack(LEAF(Edits(words=1), rho=3), PGD(Ball("linf", 8 / 255), steps=3, objective="infonce"))


@pytest.fixture
def step(pairs: Pairs) -> Batch:
    return pairs_of_step(pairs, 0, 8, 0)


def rng() -> Generator:
    return Generator().manual_seed(0)


def test_recording_changes_nothing(fresh_model: Clip, step: Batch) -> None:
    found, seen = recorded(INNER, fresh_model, step, rng())
    plain = INNER(fresh_model, step, rng())
    assert torch.equal(found.images, plain.images) and found.captions == plain.captions
    assert len(seen) == 3 and all((x - step.images).abs().max() <= 8 / 255 + 1e-6 for x in seen)
    assert not any(torch.equal(x, step.images) or x.requires_grad for x in seen)


def test_the_gradients_are_those_of_the_method_and_those_of_the_attack(fresh_model: Clip, step: Batch) -> None:
    model = fresh_model.eval()
    Method(OUTER, INNER).loss(model, step, rng()).backward()
    for x in recorded(INNER, model, step, rng())[1]:  # the attack's backward passes with no parameter frozen
        text = model.encode_text(model.tokenize(step.captions))
        infonce(model.encode_image(x), text, step.owner, model.logit_scale).mean().backward()
    expected = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    model.train()
    loss = Method(OUTER, INNER, leak=True).loss(model.eval(), step, rng())
    loss.backward()
    assert not model.training and all(
        torch.allclose(p.grad, expected[n], atol=1e-5) for n, p in model.named_parameters()
    )  # type: ignore[arg-type]


def test_it_is_off_and_wants_a_pgd() -> None:
    assert not Method(OUTER, INNER).leak
    value = {"outer": [{"kind": "contrast", "text": "attacked"}], "leak": True}
    with pytest.raises(ConfigurationError, match="leak: the inner attack has no pgd"):
        parse(value | {"inner": {"kind": "leaf", "threat": {"words": 1}}}, Method, "here")
