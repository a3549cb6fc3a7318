"""Weak views of an image: what a person would not notice, and an attack may not survive."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Annotated, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Generator, Tensor
from torch.nn.functional import conv2d

from immunize.batch import Image
from immunize.config import frozen
from immunize.serving.jpeg import twin

Name = Literal["same", "shift", "blur", "contrast", "jpeg"]

WAYS = ((1, 1), (-1, -1), (1, -1), (-1, 1), (0, 1), (0, -1), (1, 0), (-1, 0))  # down, right; in shifts
SIGMAS = (0.5, 0.75, 1.0)
CONTRASTS = (0.95, 1.05, 0.9, 1.1)
QUALITIES = (75, 60, 85, 50)


@frozen
class Views:
    """x -> (T_1 x, .., T_v x), each differentiable in x; a name that comes again is another view of its kind.

    same: x itself. shift: by 4 pixels at side 224, in proportion at others and at least 1, the edge repeated. blur:
    Gaussian, sigma .5 of a pixel. contrast: towards the image's mean gray, .95. jpeg: quality 75, the twin of
    `serving.jpeg`. These are the first of each name; those after it go through WAYS, SIGMAS, CONTRASTS, QUALITIES. With a
    generator each view's strength is drawn, once for the whole batch, so that no image's views depend on its company.
    """

    names: Annotated[tuple[Name, ...], Field(min_length=1)] = ("shift", "blur", "contrast", "jpeg")

    def __call__(self, images: Image, rng: Generator | None = None) -> Float[Tensor, "v b 3 h w"]:
        seen: Counter[Name] = Counter()
        views = []
        for name in self.names:
            views.append(_KINDS[name](images, seen[name], rng))
            seen[name] += 1
        return torch.stack(views)

    def __len__(self) -> int:
        return len(self.names)


def blurred(images: Image, sigma: float) -> Image:
    """The images under a Gaussian of `sigma` pixels, cut at 3 sigma, the edge repeated."""
    reach = max(1, int(3 * sigma + 0.5))
    weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1.0) / sigma) ** 2)
    kernel = (weights / weights.sum()).to(images).expand(3, 1, 1, -1)
    wide = _window(images, (-reach, reach), (-reach, reach))
    return conv2d(conv2d(wide, kernel, groups=3), kernel.mT, groups=3)


def shifted(images: Image, down: int, right: int) -> Image:
    """The images moved by whole pixels, the edge repeated."""
    return _window(images, (-down, -down), (-right, -right))


def contrasted(images: Image, factor: float) -> Image:
    """m + factor (x - m), m the mean gray of each image; inside [0, 1]."""
    weights = torch.tensor([0.299, 0.587, 0.114]).to(images)
    mean = torch.einsum("c,bchw->bhw", weights, images).mean(dim=(1, 2)).view(-1, 1, 1, 1)
    return (mean + factor * (images - mean)).clamp(0, 1)


def _shift(images: Image, i: int, rng: Generator | None) -> Image:
    step = max(1, round(4 * min(images.shape[-2:]) / 224))
    down, right = WAYS[i % len(WAYS) if rng is None else _drawn(len(WAYS), rng)]
    return shifted(images, step * down, step * right)


def _blur(images: Image, i: int, rng: Generator | None) -> Image:
    return blurred(images, SIGMAS[i % len(SIGMAS)] if rng is None else 0.25 + 0.75 * _share(rng))


def _contrast(images: Image, i: int, rng: Generator | None) -> Image:
    return contrasted(images, CONTRASTS[i % len(CONTRASTS)] if rng is None else 0.9 + 0.2 * _share(rng))


def _jpeg(images: Image, i: int, rng: Generator | None) -> Image:
    return twin(images, QUALITIES[i % len(QUALITIES)] if rng is None else 50 + _drawn(41, rng))


def _same(images: Image, i: int, rng: Generator | None) -> Image:
    return images


_KINDS: dict[Name, Callable[[Image, int, Generator | None], Image]] = {
    "same": _same, "shift": _shift, "blur": _blur, "contrast": _contrast, "jpeg": _jpeg,
}  # fmt: skip


def _window(images: Image, rows: tuple[int, int], columns: tuple[int, int]) -> Float[Tensor, "b 3 k l"]:
    """Rows from rows[0] to height + rows[1], and columns likewise; what is outside is the edge."""
    height, width = images.shape[-2:]
    down = torch.arange(rows[0], height + rows[1], device=images.device).clamp(0, height - 1)
    right = torch.arange(columns[0], width + columns[1], device=images.device).clamp(0, width - 1)
    return images[..., down, :][..., right]


def _drawn(count: int, rng: Generator) -> int:
    return int(torch.randint(count, (), generator=rng, device=rng.device))


def _share(rng: Generator) -> float:
    return float(torch.rand((), generator=rng, device=rng.device))
