"""From [0, 1] to what a tower expects: against torchvision and PIL, and differentiable."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torchvision.transforms.functional import normalize, resize

from immunize.models import Normalization
from immunize.models.pixels import Pixels

MEAN, STD = (0.48, 0.46, 0.41), (0.27, 0.26, 0.28)
IMAGES = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def test_normalization_is_that_of_torchvision() -> None:
    pixels = Pixels(Normalization(size=32, mean=MEAN, std=STD))
    assert torch.allclose(pixels(IMAGES), normalize(IMAGES, list(MEAN), list(STD)), atol=1e-6)


def test_resize_is_antialiased_as_that_of_torchvision_and_close_to_pil() -> None:
    """PIL rounds to 8 bits between its two passes: 1 level of 255 apart at most."""
    pixels = Pixels(Normalization(size=12, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)))
    levels = (IMAGES * 255).round()
    small = pixels(levels / 255)
    assert torch.allclose(small, resize(levels / 255, [12, 12], interpolation=3, antialias=True), atol=1e-6)
    picture = Image.fromarray(levels[0].byte().permute(1, 2, 0).numpy()).resize((12, 12), Image.Resampling.BICUBIC)
    expected = torch.from_numpy(np.array(picture)).permute(2, 0, 1) / 255
    assert (small[0].clamp(0, 1) - expected).abs().max() < 1.1 / 255


def test_any_shape_comes_out_square_and_the_right_size_is_left_alone() -> None:
    pixels = Pixels(Normalization(size=16, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)))
    assert pixels(torch.rand(1, 3, 40, 20)).shape == (1, 3, 16, 16)
    same = torch.rand(1, 3, 16, 16)
    assert torch.equal(pixels(same), same)


def test_the_gradient_reaches_every_pixel_of_the_original() -> None:
    """So that epsilon is meant at the size that the user sees (attacks.md 5.18)."""
    images = IMAGES.clone().requires_grad_()
    Pixels(Normalization(size=12))(images).square().sum().backward()
    assert images.grad is not None and (images.grad != 0).all()


def test_the_statistics_are_no_weights() -> None:
    pixels = Pixels(Normalization(size=8))
    assert not list(pixels.parameters()) and not pixels.state_dict()
