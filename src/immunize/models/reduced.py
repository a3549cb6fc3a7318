"""A model whose towers compute in 16 bits: twice as fast where the hardware can, and attacked like any other."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from immunize.batch import Embedding, Image
from immunize.models.wrapped import Wrapped


class Reduced(Wrapped):
    """f, g under bfloat16 autocast; pixels, gradients and embeddings stay float32, so perturbations and losses do.

    bfloat16 has the range of float32: no gradient underflows, and no loss needs a scale.
    """

    def encode_image(self, images: Image) -> Embedding:
        with torch.autocast(self.device.type, torch.bfloat16):
            return self.model.encode_image(images).float()

    def encode_text(self, tokens: Int[Tensor, "c l"], embedded: Float[Tensor, "c l w"] | None = None) -> Embedding:
        with torch.autocast(self.device.type, torch.bfloat16):
            return self.model.encode_text(tokens, embedded).float()
