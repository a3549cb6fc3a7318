"""A model around a model: what a wrapper does not change is that of the model inside."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from immunize.batch import Embedding, Image
from immunize.models.dual_encoder import DualEncoder


class Wrapped(nn.Module):
    """`model` itself, call by call; a wrapper overrides what it changes."""

    def __init__(self, model: DualEncoder) -> None:
        nn.Module.__init__(self)
        self.model = model

    def encode_image(self, images: Image) -> Embedding:
        return self.model.encode_image(images)

    def encode_text(self, tokens: Int[Tensor, "c l"], embedded: Float[Tensor, "c l w"] | None = None) -> Embedding:
        return self.model.encode_text(tokens, embedded)

    def embed_tokens(self, tokens: Int[Tensor, "c l"]) -> Float[Tensor, "c l w"]:
        return self.model.embed_tokens(tokens)

    def tokenize(self, captions: Sequence[str]) -> Int[Tensor, "c l"]:
        return self.model.tokenize(captions)

    @property
    def logit_scale(self) -> Float[Tensor, ""]:
        return self.model.logit_scale

    @property
    def device(self) -> torch.device:
        return self.model.device

    @property
    def resolution(self) -> int:
        return self.model.resolution

    @property
    def speaker(self) -> DualEncoder:
        """The model whose `tokenize` this is, within all the wrappers that leave it as it is."""
        if type(self).tokenize is not Wrapped.tokenize:
            return self
        return self.model.speaker if isinstance(self.model, Wrapped) else self.model

    @property
    def by_word(self) -> bool:
        """Whether `tokenize` gives each word the ids that it gives the word alone, as far as the wrappers know."""
        return self.model.by_word if isinstance(self.model, Wrapped) else True
