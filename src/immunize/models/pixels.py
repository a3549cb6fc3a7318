"""From pixels in [0, 1] to what a vision tower expects: the only mean, standard deviation and resize of the project."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate

from immunize.batch import Image
from immunize.config import frozen


@frozen
class Normalization:
    """`size`: the tower's side in pixels; `mean`, `std` per channel; the resize is differentiable and antialiased."""

    size: int
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    interpolation: str = "bicubic"


class Pixels(nn.Module):
    """(resize(x) - mean) / std, so that an attack's epsilon is in the pixels that the user sees."""

    mean: Tensor
    std: Tensor

    def __init__(self, normalization: Normalization) -> None:
        nn.Module.__init__(self)
        self.normalization = normalization
        self.register_buffer("mean", torch.tensor(normalization.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(normalization.std).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Image) -> Float[Tensor, "b 3 size size"]:
        size = self.normalization.size
        if images.shape[-2:] != (size, size):
            images = interpolate(
                images, (size, size), mode=self.normalization.interpolation, antialias=True, align_corners=False
            )
        return (images - self.mean) / self.std
