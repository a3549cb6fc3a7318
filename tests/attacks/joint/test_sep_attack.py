"""Sep-Attack: its halves are the attacks alone, and its verdict is on both together."""

from __future__ import annotations

import torch
from torch import Generator

from immunize.attacks import PGD, BertAttack, SepAttack
from immunize.attacks.victim import bank_of
from immunize.batch import Batch
from immunize.models import Clip
from immunize.models.encode import encode_images
from immunize.objectives import margin
from immunize.threats import Ball, Edits

TEXT, IMAGE = BertAttack(Edits(words=2), typos=4), PGD(Ball("linf", 8 / 255), steps=3, objective="margin")


def test_its_halves_are_the_attacks_alone(trained: Clip, batch: Batch) -> None:
    rng = Generator().manual_seed(0)
    edited, attacked = TEXT(trained, batch, rng), IMAGE(trained, batch, rng)
    both = SepAttack(TEXT, IMAGE)(trained, batch, Generator().manual_seed(0))
    assert both.captions == edited.captions != batch.captions
    assert torch.equal(both.images, attacked.images)


def test_the_verdict_is_on_both_and_every_cost_counts_once(trained: Clip, batch: Batch) -> None:
    rng = Generator().manual_seed(0)
    edited, attacked = TEXT(trained, batch, rng), IMAGE(trained, batch, rng)
    both = SepAttack(TEXT, IMAGE)(trained, batch, Generator().manual_seed(0))
    assert edited.outcome is not None and attacked.outcome is not None and both.outcome is not None
    value = margin(encode_images(trained, both.images), bank_of(trained, both))
    assert torch.allclose(both.outcome.value, value, atol=1e-4)
    assert both.outcome.success.tolist() == (value > 0).tolist()
    forwards = edited.outcome.forwards + attacked.outcome.forwards
    assert torch.equal(both.outcome.forwards, forwards + 1) and torch.equal(both.outcome.texts, edited.outcome.texts)
    again = SepAttack(TEXT, IMAGE)(trained, both, Generator().manual_seed(0)).outcome
    assert again is not None and torch.equal(again.forwards, 2 * both.outcome.forwards)
