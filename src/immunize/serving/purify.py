"""Images cleaned before they are encoded, by what throws fine detail away."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Literal

import torch
from pydantic import Field

from immunize.batch import Embedding, Image
from immunize.config import frozen
from immunize.models.dual_encoder import DualEncoder
from immunize.models.wrapped import Wrapped
from immunize.serving import jpeg
from immunize.serving.jpeg import cubic, straight
from immunize.serving.views import blurred

Gradient = Literal["none", "identity", "straight", "cubic"]


class NoGradient(RuntimeError):
    """A gradient was asked of a defense through which none flows, where a zero would pass for robustness."""


@frozen
class Jpeg:
    """f~(x) = f(decode(encode(x))) at `quality` (Das et al., arXiv:1705.02900).

    gradient: `none` is what is served, and refuses pixels that want one. For an attacker: `identity` hands it on past the
    codec (BPDA, arXiv:1802.00420 sec. 4.1), `straight` and `cubic` go through `serving.jpeg.twin`.
    """

    quality: Annotated[int, Field(ge=1, le=100)] = 75
    gradient: Gradient = "none"
    kind: Literal["jpeg"] = "jpeg"

    @property
    def passes(self) -> int:
        """One of the vision tower for each image."""
        return 1

    def around(self, model: DualEncoder) -> Purified:
        return Purified(model, self.clean)

    def twin(self, gradient: Gradient = "straight") -> Jpeg:
        """The same with a gradient."""
        return replace(self, gradient=gradient)

    def clean(self, images: Image) -> Image:
        """The images as the codec leaves them."""
        if self.gradient == "straight" or self.gradient == "cubic":
            return jpeg.twin(images, self.quality, self.gradient)
        return _passed(images, jpeg.hard(images, self.quality), self.gradient, self.kind)


@frozen
class Quantize:
    """f~(x) = f(round((L - 1) x) / (L - 1)), L levels a channel: feature squeezing (arXiv:1704.01155 sec. III-A).

    gradient: as of `Jpeg`; `identity` and `straight` are one here.
    """

    levels: Annotated[int, Field(ge=2, le=256)] = 16
    gradient: Gradient = "none"
    kind: Literal["quantize"] = "quantize"

    @property
    def passes(self) -> int:
        """One of the vision tower for each image."""
        return 1

    def around(self, model: DualEncoder) -> Purified:
        return Purified(model, self.clean)

    def twin(self, gradient: Gradient = "straight") -> Quantize:
        """The same with a gradient."""
        return replace(self, gradient=gradient)

    def clean(self, images: Image) -> Image:
        """The images in so few levels."""
        scaled = images * (self.levels - 1)
        if self.gradient == "none":
            return _passed(images, scaled.detach().round() / (self.levels - 1), "none", self.kind)
        return (cubic if self.gradient == "cubic" else straight)(scaled) / (self.levels - 1)


@frozen
class Blur:
    """f~(x) = f(G_sigma * x), a Gaussian of `sigma` pixels (a smoothing filter of arXiv:1704.01155 sec. III-B)."""

    sigma: Annotated[float, Field(gt=0)] = 0.75
    kind: Literal["blur"] = "blur"

    @property
    def passes(self) -> int:
        """One of the vision tower for each image."""
        return 1

    def around(self, model: DualEncoder) -> Purified:
        return Purified(model, self.clean)

    def twin(self) -> Blur:
        """Itself: it is linear."""
        return self

    def clean(self, images: Image) -> Image:
        """The images out of focus."""
        return blurred(images, self.sigma)


class Purified(Wrapped):
    """`model` asked about what `clean` leaves of the images."""

    def __init__(self, model: DualEncoder, clean: Callable[[Image], Image]) -> None:
        Wrapped.__init__(self, model)
        self.clean = clean

    def encode_image(self, images: Image) -> Embedding:
        return self.model.encode_image(self.clean(images))


def _passed(images: Image, cleaned: Image, gradient: Gradient, kind: str) -> Image:
    """`cleaned`, with the gradient of `images` where one is wanted and may be had."""
    if not (torch.is_grad_enabled() and images.requires_grad):
        return cleaned
    if gradient == "none":
        raise NoGradient(f"no gradient goes through {kind} as it is served: attack the model of its twin()")
    return images + (cleaned - images).detach()
