"""The twin is the codec, nearly, and gradients flow through it."""

from __future__ import annotations

import pytest
import torch
from torch import Generator, Tensor
from torch.nn.functional import avg_pool2d, interpolate

from immunize.serving.jpeg import cubic, hard, twin


def pictures(height: int, width: int, count: int = 4, rough: int = 6) -> Tensor:
    """Smooth color with some noise: what a photograph's blocks are like."""
    rng = Generator().manual_seed(0)
    coarse = torch.rand(count, 3, rough, rough, generator=rng)
    smooth = interpolate(coarse, (height, width), mode="bicubic", align_corners=False)
    return (smooth + 0.03 * torch.randn(count, 3, height, width, generator=rng)).clamp(0, 1)


@pytest.mark.parametrize("quality", [30, 50, 75, 90])
@pytest.mark.parametrize("size", [(64, 64), (33, 47), (7, 5)])
def test_the_twin_is_close_to_the_codec(size: tuple[int, int], quality: int) -> None:
    images = pictures(*size)
    real, mine = hard(images, quality), twin(images, quality)
    apart, lost = (mine - real).abs() * 255, (images - real).abs() * 255
    assert apart.mean() < 0.1 * lost.mean()
    if min(size) > 8:  # gray levels; a rounding that falls the other way moves a block by its step
        assert apart.mean() < 0.6 and apart.quantile(0.999) < 10


def test_the_smooth_twin_is_close_too() -> None:
    images = pictures(48, 48)
    assert (twin(images, 75, "cubic") - hard(images, 75)).abs().mean() * 255 < 1.2


def test_the_gradient_is_that_of_the_codec_without_rounding() -> None:
    """Without rounding the cosine transform is undone, and what is left is the loss of chroma's resolution."""
    images = (0.25 + 0.5 * pictures(32, 48)).requires_grad_()
    weight = torch.randn(images.shape, generator=Generator().manual_seed(1))
    (gradient,) = torch.autograd.grad((twin(images, 75) * weight).sum(), images)
    luma = (images * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(dim=1, keepdim=True)
    coarse = avg_pool2d(images - luma, 2)
    linear = luma + interpolate(coarse, scale_factor=2.0, mode="bilinear", align_corners=False)
    (expected,) = torch.autograd.grad((linear * weight).sum(), images)
    assert (gradient - expected).abs().max() < 1e-3 * expected.abs().max()


def test_the_smooth_rounding_and_its_slope() -> None:
    x = torch.tensor([-1.4, 0.2, 2.0, 2.75], requires_grad=True)
    rounded = cubic(x)
    assert rounded.tolist() == pytest.approx([-1 - 0.4**3, 0.2**3, 2.0, 3 - 0.25**3])
    (slope,) = torch.autograd.grad(rounded.sum(), x)
    assert slope.tolist() == pytest.approx([3 * 0.4**2, 3 * 0.2**2, 0.0, 3 * 0.25**2], abs=1e-6)


def test_gradients_reach_the_pixels_of_the_smooth_twin_too() -> None:
    images = pictures(24, 40).requires_grad_()
    (gradient,) = torch.autograd.grad(twin(images, 75, "cubic").square().sum(), images)
    assert gradient.isfinite().all() and (gradient != 0).float().mean() > 0.9


def test_quality_costs_what_it_should_and_images_mind_their_own() -> None:
    images = pictures(40, 40)
    lost = [(twin(images, quality) - images).abs().mean() for quality in (20, 50, 75, 95)]
    assert lost == sorted(lost, reverse=True)
    assert torch.allclose(twin(images, 75)[1:2], twin(images[1:2], 75), atol=1e-6)


def test_an_empty_batch_stays_empty() -> None:
    empty = torch.zeros(0, 3, 20, 20)
    assert hard(empty, 75).shape == twin(empty, 75).shape == empty.shape
