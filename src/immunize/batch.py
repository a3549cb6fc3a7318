"""The one thing that flows: images with their captions, pixels in [0, 1]."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

Image = Float[Tensor, "b 3 h w"]
Embedding = Float[Tensor, "n d"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """`images[b]` in [0, 1], never normalized here; `captions[c]` belongs to image `owner[c]`; ids name both on disk.

    A retrieval batch has several captions an image, a training batch one. `truth[b]`, where the source knows it, is what
    an attack on the text may not contradict (`data.scenes.Scene`, or None).
    """

    images: Image
    captions: tuple[str, ...]
    owner: Int[Tensor, " c"]
    image_ids: tuple[str, ...]
    caption_ids: tuple[str, ...]
    truth: tuple[str | None, ...] = ()

    def __post_init__(self) -> None:
        if len(self.image_ids) != len(self.images) or len(self.captions) != len(self.owner):
            raise ValueError(
                f"{len(self.images)} images, {len(self.image_ids)} image ids; "
                f"{len(self.captions)} captions, {len(self.owner)} owners"
            )
        if len(self.images) and not (self.images.min() >= 0 and self.images.max() <= 1):  # NaN is neither
            raise ValueError("pixels must be in [0, 1]; put the normalization inside the model")

    def __len__(self) -> int:
        return len(self.images)

    def to(self, device: torch.device) -> Batch:
        """The same batch with its tensors on `device`."""
        return replace(self, images=self.images.to(device), owner=self.owner.to(device))
