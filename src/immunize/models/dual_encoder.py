"""What every image-text model here can do, defended or not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from immunize.batch import Embedding, Image


@runtime_checkable
class DualEncoder(Protocol):
    """Two towers into one space; embeddings have norm 1, so a dot product is a cosine."""

    def encode_image(self, images: Image) -> Embedding:
        """Pixels in [0, 1], any size -> unit embeddings; differentiable in the pixels."""
        ...

    def encode_text(self, tokens: Int[Tensor, "c l"], embedded: Float[Tensor, "c l w"] | None = None) -> Embedding:
        """Token ids as `tokenize` gives them -> unit embeddings; `embedded` stands in for the tokens' own vectors."""
        ...

    def embed_tokens(self, tokens: Int[Tensor, "c l"]) -> Float[Tensor, "c l w"]:
        """The input vector of each token: where a gradient with respect to the text is taken."""
        ...

    def tokenize(self, captions: Sequence[str]) -> Int[Tensor, "c l"]:
        """Captions -> token ids, padded to the longest of them, cut at the context length."""
        ...

    @property
    def logit_scale(self) -> Float[Tensor, ""]:
        """The factor (1 / temperature) that turns cosines into logits."""
        ...

    @property
    def device(self) -> torch.device:
        """Where the weights are, and where what is encoded must be."""
        ...

    @property
    def resolution(self) -> int:
        """The side in pixels that the vision tower sees; other sizes are resized on the way in."""
        ...


@runtime_checkable
class Facing(Protocol):
    """A model that answers as the traffic demands."""

    def facing(self, images: Image, captions: Sequence[str]) -> DualEncoder:
        """What answers once these pairs have come in."""
        ...
