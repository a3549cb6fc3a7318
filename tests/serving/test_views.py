"""Views are weak, differentiable, and the same when asked again."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from scipy.ndimage import gaussian_filter1d
from torch import Generator, Tensor

from immunize.serving.views import Name, Views, blurred, contrasted, shifted

NAMES = get_args(Name)


@pytest.fixture
def images() -> Tensor:
    return torch.rand(3, 3, 20, 28, generator=Generator().manual_seed(0))


def test_a_view_of_each_name_in_order(images: Tensor) -> None:
    views = Views(("same", "blur", "shift"))(images)
    assert views.shape == (3, *images.shape) and torch.equal(views[0], images)
    assert torch.equal(views[1], blurred(images, 0.5)) and torch.equal(views[2], shifted(images, 1, 1))


def test_the_shift_is_four_pixels_at_224(images: Tensor) -> None:
    large = torch.rand(1, 3, 224, 230, generator=Generator().manual_seed(0))
    (moved,) = Views(("shift",))(large)
    assert torch.equal(moved[..., 4:, 4:], large[..., :-4, :-4]) and torch.equal(moved[..., 0, 4:], large[..., 0, :-4])


def test_the_blur_is_gaussian(images: Tensor) -> None:
    rows = gaussian_filter1d(images.double().numpy(), 0.5, axis=2, mode="nearest", radius=2)
    both = gaussian_filter1d(rows, 0.5, axis=3, mode="nearest", radius=2)
    assert torch.allclose(blurred(images, 0.5).double(), torch.from_numpy(both), atol=1e-6)


def test_the_contrast_is_that_of_torchvision(images: Tensor) -> None:
    from torchvision.transforms.functional import adjust_contrast

    assert torch.allclose(contrasted(images, 0.95), adjust_contrast(images, 0.95), atol=1e-3)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", [None, 0])
def test_pixels_stay_pixels_and_gradients_reach_them(name: Name, seed: int | None, images: Tensor) -> None:
    images.requires_grad_()
    rng = None if seed is None else Generator().manual_seed(seed)
    views = Views((name, name))(images, rng)
    assert views.min() >= 0 and views.max() <= 1
    (gradient,) = torch.autograd.grad((views * torch.rand(views.shape)).sum(), images)
    assert gradient.isfinite().all() and (gradient != 0).float().mean() > 0.85  # a shift leaves an edge unseen


@pytest.mark.parametrize("name", NAMES)
def test_a_view_is_weak(name: Name) -> None:
    smooth = torch.linspace(0, 1, 32).expand(2, 3, 32, 32)
    assert (Views((name,))(smooth)[0] - smooth).abs().mean() < 0.04


def test_the_same_seed_gives_the_same_views_whatever_the_company(images: Tensor) -> None:
    views = Views(NAMES * 2)
    again = [views(images, Generator().manual_seed(s)) for s in (3, 3, 4)]
    assert torch.equal(again[0], again[1]) and not torch.equal(again[0], again[2])
    assert torch.allclose(views(images[1:2], Generator().manual_seed(3)), again[0][:, 1:2], atol=1e-6)
    assert torch.equal(views(images), views(images))


def test_a_name_that_comes_again_is_another_view(images: Tensor) -> None:
    shift, other = Views(("shift", "shift"))(images)
    assert not torch.equal(shift, other)


def test_an_empty_batch_has_empty_views() -> None:
    assert Views(NAMES)(torch.zeros(0, 3, 8, 8)).shape == (len(NAMES), 0, 3, 8, 8)
