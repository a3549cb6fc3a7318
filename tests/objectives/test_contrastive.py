"""InfoNCE: worked by hand, against open_clip's own loss, and with several captions an image."""

from __future__ import annotations

from math import exp, log

import open_clip
import pytest
import torch
from torch.nn.functional import normalize

from immunize.objectives import OBJECTIVES, Bank, infonce

RNG = torch.Generator().manual_seed(0)
IMAGE = normalize(torch.randn(6, 8, generator=RNG), dim=1)
TEXT = normalize(torch.randn(6, 8, generator=RNG), dim=1)
SCALE = torch.tensor(14.3)


def test_two_pairs_by_hand() -> None:
    image, text = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    to_text = [-log(exp(2.0) / (exp(2.0) + exp(1.2))), -log(exp(1.6) / (exp(1.6) + exp(0.0)))]
    to_image = [-log(exp(2.0) / (exp(2.0) + exp(0.0))), -log(exp(1.6) / (exp(1.6) + exp(1.2)))]
    expected = [(a + b) / 2 for a, b in zip(to_text, to_image, strict=True)]
    found = infonce(image, text, torch.arange(2), torch.tensor(2.0))
    assert found.tolist() == pytest.approx(expected, abs=1e-6)


def test_the_mean_is_the_loss_of_open_clip() -> None:
    expected = open_clip.ClipLoss()(IMAGE, TEXT, SCALE)
    assert infonce(IMAGE, TEXT, torch.arange(6), SCALE).mean().item() == pytest.approx(expected.item(), abs=1e-6)


def test_other_captions_of_the_image_are_no_negatives() -> None:
    owner = torch.tensor([0, 0, 1, 2, 2, 2])
    image = IMAGE[:3]
    found = infonce(image, TEXT, owner, SCALE)
    logits = (SCALE * image @ TEXT.T).double()
    for c, o in enumerate(owner.tolist()):
        rivals = [d for d in range(6) if d == c or owner[d] != o]
        to_text = logits[o, rivals].logsumexp(0) - logits[o, c]
        to_image = logits[:, c].logsumexp(0) - logits[o, c]
        assert found[c].item() == pytest.approx(((to_text + to_image) / 2).item(), abs=1e-5)


def test_a_pair_alone_has_nothing_to_lose() -> None:
    assert infonce(IMAGE[:1], TEXT[:1], torch.tensor([0]), SCALE).item() == pytest.approx(0.0, abs=1e-6)


def test_negative_logits_and_large_scales_are_no_trouble() -> None:
    """A shift of all logits changes nothing, though all of them are below 0 (attacks.md 5.1); no overflow at 100."""
    shift = torch.full((6, 1), 3.0)
    low = infonce(torch.cat([IMAGE, -shift], 1), torch.cat([TEXT, shift], 1), torch.arange(6), SCALE)
    assert torch.allclose(low, infonce(IMAGE, TEXT, torch.arange(6), SCALE), atol=1e-4)  # logits near -130
    assert infonce(IMAGE, -IMAGE, torch.arange(6), torch.tensor(100.0)).isfinite().all()


def test_every_objective_is_per_image_and_bigger_for_worse_pairs() -> None:
    for name, objective in OBJECTIVES.items():
        good, bad = (objective(IMAGE, Bank(text, torch.eye(6).bool(), SCALE)) for text in (IMAGE, -IMAGE))
        assert good.shape == (6,) and (bad > good).all(), name
