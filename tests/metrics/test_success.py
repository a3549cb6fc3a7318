"""Attack success by hand, and the published CLIP row."""

import pytest
import torch

from immunize.metrics.success import attack_success


def test_by_hand() -> None:
    clean, adversarial = torch.tensor([0, 0, 0, 4, 9]), torch.tensor([0, 3, 1, 0, 9])
    found = attack_success(clean, adversarial)
    assert found.drop == pytest.approx(60.0 - 40.0)  # one newly right hides one broken
    assert found.conditional == pytest.approx(100 * 2 / 3)


def test_k_moves_the_line() -> None:
    clean, adversarial = torch.tensor([0, 4]), torch.tensor([3, 6])
    assert attack_success(clean, adversarial, k=5).conditional == 50.0
    assert attack_success(clean, adversarial, k=10).drop == 0.0


def test_the_published_row_of_clip_under_sga() -> None:
    """CLIP ViT-B/16, Flickr30k TR: 81.5 before, 0.75 after is a drop of 80.75 and a conditional success of 99.08."""
    clean = torch.tensor([0] * 8150 + [1] * 1850)
    adversarial = torch.tensor([0] * 75 + [1] * 9925)
    found = attack_success(clean, adversarial)
    assert found.drop == pytest.approx(80.75)
    assert found.conditional == pytest.approx(99.08, abs=0.005)


def test_nothing_right_means_nothing_broken() -> None:
    assert attack_success(torch.tensor([1, 2]), torch.tensor([1, 2])).conditional == 0.0
