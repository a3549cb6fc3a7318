"""JPEG compression: the codec itself, and a twin of the same arithmetic through which gradients flow."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image as Pillow
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from immunize.batch import Image

Rounding = Literal["straight", "cubic"]

# ITU-T T.81, tables K.1 and K.2
LUMINANCE = (
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56,
    14, 17, 22, 29, 51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
)  # fmt: skip
CHROMINANCE = (
    17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99, 24, 26, 56, 99, 99, 99, 99, 99, 47, 66,
    *[99] * 38,
)  # fmt: skip
FORWARD = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))  # RGB to YCbCr (JFIF)
BACKWARD = ((1.0, 0.0, 1.402), (1.0, -0.344136, -0.714136), (1.0, 1.772, 0.0))


@torch.no_grad()
def hard(images: Image, quality: int) -> Image:
    """decode(encode(x)): what the codec (libjpeg, 4:2:0) leaves of the images in 8 bits; no gradient."""
    if not len(images):
        return images
    pixels = images.detach().mul(255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()
    left = np.stack([_coded(one, quality) for one in pixels])  # a file holds one image
    return torch.from_numpy(left).to(images.device).permute(0, 3, 1, 2).to(images.dtype) / 255


def twin(images: Image, quality: int, rounding: Rounding = "straight") -> Image:
    """idct(q * round(dct(x) / q)) of 8x8 blocks of YCbCr, chroma halved: `hard` to a few gray levels, and differentiable.

    rounding: `straight` rounds forward and passes the gradient on as it is (arXiv:2309.06978 sec. 3); `cubic` is
    round(x) + (x - round(x))^3 in both directions (Shin and Song 2017), smooth and further from the codec.
    """
    round_ = _ROUNDINGS[rounding]
    height, width = images.shape[-2:]
    padded = _stretched(round_(images * 255), -height % 16, -width % 16)
    luma, chroma = round_(_mixed(padded, FORWARD)).split([1, 2], dim=1)
    luma = _quantized(luma - 128, _table(LUMINANCE, quality, luma), round_)
    chroma = _quantized(round_(_halved(chroma)), _table(CHROMINANCE, quality, luma), round_)
    chroma = chroma[..., : (height + 1) // 2, : (width + 1) // 2]  # what pads the blocks is not looked at again
    chroma = round_(interpolate(chroma, scale_factor=2.0, mode="bilinear", align_corners=False))
    planes = torch.cat([luma[..., :height, :width] + 128, chroma[..., :height, :width]], dim=1)
    return round_(_mixed(planes, BACKWARD)).clamp(0, 255) / 255


def straight(x: Tensor) -> Tensor:
    """round(x), with the gradient of x."""
    return x + (x.round() - x).detach()


def cubic(x: Tensor) -> Tensor:
    """round(x) + (x - round(x))^3."""
    nearest = x.round().detach()
    return nearest + (x - nearest) ** 3


_ROUNDINGS: dict[Rounding, Callable[[Tensor], Tensor]] = {"straight": straight, "cubic": cubic}


def _coded(pixels: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Pillow.fromarray(pixels).save(file, "jpeg", quality=quality)
    return np.asarray(Pillow.open(file))


def _quantized(
    plane: Float[Tensor, "b c h w"], table: Float[Tensor, "8 8"], round_: Callable[[Tensor], Tensor]
) -> Float[Tensor, "b c h w"]:
    cosines = _cosines(plane)
    blocks = plane.unflatten(3, (-1, 8)).unflatten(2, (-1, 8)).transpose(3, 4)  # b c rows columns 8 8
    kept = round_(cosines @ blocks @ cosines.T / table) * table
    samples = (cosines.T @ kept @ cosines).transpose(3, 4).flatten(4).flatten(2, 3)
    return round_(samples).clamp(-128, 127)


def _halved(chroma: Float[Tensor, "b 2 h w"]) -> Float[Tensor, "b 2 k l"]:
    """The mean of each 2x2 square; halves are to be rounded down and up in turn, as libjpeg does."""
    mean = avg_pool2d(chroma, 2)
    return mean + 0.25 * (torch.arange(mean.shape[-1], device=mean.device) % 2) - 0.125


def _cosines(like: Tensor) -> Float[Tensor, "8 8"]:
    """The orthonormal cosine transform of length 8: row k is frequency k."""
    k, n = torch.arange(8.0)[:, None], torch.arange(8.0)[None]
    basis = torch.cos(torch.pi * (2 * n + 1) * k / 16) / 2
    basis[0] /= 2**0.5
    return basis.to(like)


def _table(base: tuple[int, ...], quality: int, like: Tensor) -> Float[Tensor, "8 8"]:
    """The table at `quality` of 1 .. 100, as libjpeg scales it."""
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    steps = (torch.tensor(base) * scale + 50).div(100, rounding_mode="floor").clamp(1, 255)
    return steps.view(8, 8).to(like)


def _mixed(planes: Float[Tensor, "b 3 h w"], matrix: tuple[tuple[float, ...], ...]) -> Float[Tensor, "b 3 h w"]:
    return torch.einsum("ij,bjhw->bihw", torch.tensor(matrix).to(planes), planes)


def _stretched(x: Tensor, rows: int, columns: int) -> Tensor:
    """The last row and the last column repeated so often."""
    x = torch.cat([x, x[..., -1:, :].expand(*x.shape[:-2], rows, -1)], dim=-2)
    return torch.cat([x, x[..., -1:].expand(*x.shape[:-1], columns)], dim=-1)
