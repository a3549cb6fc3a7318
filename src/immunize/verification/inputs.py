"""What may be asked: any finite pixels, any text; everything else is refused in one sentence that says where."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def check(images: Any, texts: Any) -> None:
    """Raises ValueError that names the image or text, and what is wrong with it; nothing is repaired."""
    if not isinstance(images, Tensor) or not images.is_floating_point():
        kind = f"a tensor of {images.dtype}" if isinstance(images, Tensor) else f"a {type(images).__name__}"
        raise ValueError(f"images: a float tensor of pixels in [0, 1] is needed, not {kind}")
    if images.dim() != 4 or images.shape[1] != 3:
        raise ValueError(f"images: the shape is (pairs, 3, height, width), not {tuple(images.shape)}")
    if isinstance(texts, str) or not isinstance(texts, Sequence):
        raise ValueError(f"texts: a sequence of strings is needed, one for each image, not a {type(texts).__name__}")
    if len(texts) != len(images):
        raise ValueError(f"{len(images)} images and {len(texts)} texts: pair i is image i with text i")
    _check_pixels(images)
    _check_texts(texts)


def _check_pixels(images: Tensor) -> None:
    if len(images) and not images.shape[2] * images.shape[3]:
        raise ValueError(f"images[0] has no pixels: {images.shape[2]} x {images.shape[3]}")
    bad = ~((images >= 0) & (images <= 1))  # NaN is neither
    if bool(bad.any()):
        image, channel, row, column = bad.nonzero()[0].tolist()
        value = float(images[image, channel, row, column])
        raise ValueError(
            f"images[{image}] has {value:g} at channel {channel}, row {row}, column {column}: pixels are in [0, 1], the "
            "normalization is inside the model"
        )


def _check_texts(texts: Sequence[Any]) -> None:
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise ValueError(f"texts[{i}] is a {type(text).__name__}, not a string")
        if not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text):
            raise ValueError(f"texts[{i}] holds half of a surrogate pair, which no encoding has: decode it anew")


def read(texts: Sequence[str], longest: int) -> list[str]:
    """Each text with its runs of white space as one space, then its first `longest` characters.

    Tokenizers take white space so too: padding moves nothing out of sight that the answering model sees.
    """
    return [" ".join(text.split())[:longest] for text in texts]


def blocks(images: Tensor, most: int = 256, pixels: int = 2**24) -> tuple[Tensor, ...]:
    """Positions of the pairs in blocks that hold at most `pixels` numbers, and at least one image."""
    each = max(int(images.shape[1:].numel()), 1)
    return torch.arange(len(images)).split(max(1, min(most, pixels // each)))
