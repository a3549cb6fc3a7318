"""What an image is ranked against."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from immunize.batch import Embedding
from immunize.objectives.cosines import cosines


@dataclass(frozen=True, slots=True)
class Bank:
    """`text[k]`, unit embeddings of captions or class prompts; `own[b, k]`: text k is right for image b.

    target: the text that each image is to be made to rank first, in a targeted attack. scale: logits are scale * cos.
    hidden: texts that an image is not ranked against. anchor: an embedding that each image is to be kept away from,
    where an objective asks for one.
    """

    text: Float[Tensor, "k d"]
    own: Bool[Tensor, "b k"]
    scale: Float[Tensor, ""]
    target: Int[Tensor, " b"] | None = None
    hidden: Bool[Tensor, "b k"] | None = None
    anchor: Float[Tensor, "b d"] | None = None

    def take(self, rows: Int[Tensor, " r"]) -> Bank:
        """The bank of images `rows`; a row may be taken several times."""
        by_image = ((name, getattr(self, name)) for name in ("own", "target", "hidden", "anchor"))
        return replace(self, **{name: value[rows] for name, value in by_image if value is not None})

    def logits(self, image: Embedding) -> Float[Tensor, "n k"]:
        """scale * <f(x), g(t)> in float32; -inf for a hidden text."""
        logits = self.scale.float() * cosines(image.float(), self.text.float())
        return logits if self.hidden is None else logits.masked_fill(self.hidden, -torch.inf)

    @property
    def aim(self) -> Bool[Tensor, "b k"]:
        """The texts to get away from, or, in a targeted attack, the one to get to."""
        if self.target is None:
            return self.own
        return torch.nn.functional.one_hot(self.target, self.own.shape[1]).bool()

    @property
    def sign(self) -> int:
        """1 away from `aim`, -1 towards it."""
        return 1 if self.target is None else -1
