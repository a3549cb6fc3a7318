"""All images with all texts, in the embeddings' own precision."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from immunize.batch import Embedding


def cosines(image: Embedding, text: Float[Tensor, "k d"]) -> Float[Tensor, "n k"]:
    """<f, g> as float32: under autocast the towers compute in bf16, and a product with a scale of 100 must not."""
    with torch.autocast(image.device.type, enabled=False):
        return (image @ text.T).float()
