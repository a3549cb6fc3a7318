"""A training method: what is attacked inside, what is minimized outside, what is trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from immunize.attacks import Attack
from immunize.batch import Batch, Embedding
from immunize.config import frozen
from immunize.models import Clip
from immunize.objectives import consistency, infonce


@frozen
class Method:
    """L = clean * InfoNCE(x, t) + adversarial * InfoNCE(x', t') + consistency * mean ||f(x') - g(t')||^2, x', t' = inner(x, t).

    Fine-tuning is clean = 1 and no inner attack. TeCoA (arXiv:2212.07016) attacks the image, MAT (arXiv:2405.18770) the
    text and then the image against it, and minimize the adversarial term alone. trains: which tower learns; TeCoA's text
    tower is frozen, as published. `text` leaves the vision trunk as it is and trains all else, its projection included.
    """

    inner: Attack | None = None
    clean: float = 0.0
    adversarial: float = 0.0
    consistency: float = 0.0
    trains: Literal["both", "vision", "text"] = "both"

    def __post_init__(self) -> None:
        if self.inner is None and self.adversarial:
            raise ValueError("adversarial: a weight on the attacked pair needs an inner attack")
        if self.clean <= 0 and self.adversarial <= 0:
            raise ValueError("clean, adversarial: at least one weight must be positive")

    def trained(self, model: Clip) -> list[nn.Parameter]:
        """The parameters that learn."""
        if self.trains == "vision":
            return list(model.net.visual.parameters())
        still = set(model.trunk.parameters()) if self.trains == "text" else set()
        return [parameter for parameter in model.parameters() if parameter not in still]

    def repeats_features(self, model: Clip) -> bool:
        """Whether the vision trunk sees the same clean images, with the same weights and statistics, at every epoch."""
        apart = model.trunk is not model.net.visual
        return self.trains == "text" and self.inner is None and apart and model.architecture.frozen_statistics

    def loss(
        self, model: Clip, batch: Batch, rng: Generator, images: Callable[[Batch], Embedding] | None = None
    ) -> Float[Tensor, ""]:
        """The loss of one batch of pairs; the inner attack leaves no gradient and no flag behind.

        `images` embeds a clean batch in place of the vision tower (`defense.features`).
        """
        terms = []
        if self.inner is None or self.clean:
            image = model.encode_image(batch.images) if images is None else images(batch)
            terms.append(self._terms(model, image, batch, self.clean, self.consistency if self.inner is None else 0.0))
        if self.inner is not None:
            attacked = self.inner(model, batch, rng)
            image = model.encode_image(attacked.images)
            terms.append(self._terms(model, image, attacked, self.adversarial, self.consistency))
        return torch.stack(terms).sum()

    def _terms(
        self, model: Clip, image: Embedding, batch: Batch, contrast: float, consistent: float
    ) -> Float[Tensor, ""]:
        """contrast * InfoNCE + consistent * L_consistency of one batch, each tower run once."""
        text = model.encode_text(model.tokenize(batch.captions))
        pair = (image, text, batch.owner, model.logit_scale)
        return contrast * infonce(*pair).mean() + consistent * consistency(*pair).mean()
