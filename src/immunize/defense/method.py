"""A training method: what is attacked inside, what is minimized outside, what is trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Generator, Tensor

from immunize.attacks import PGD, parts
from immunize.batch import Batch, Embedding
from immunize.config import frozen
from immunize.defense.inner import Drift, Inner, scaled
from immunize.defense.leak import leaked, recorded
from immunize.defense.terms import Consistency, Term
from immunize.defense.trainable import Trains
from immunize.defense.views import View, Views
from immunize.models import Clip, DualEncoder
from immunize.models.remembering import Remembering


@frozen
class Method:
    """L = sum over `outer` of weight * term(x, t, x', t'), where (x', t') = inner(x, t), minimized over what `trains`.

    Each term says which views it looks at (`defense.terms`), so a preset reads as the formula of the paper: TeCoA
    (arXiv:2212.07016) is `contrast` of the attacked image and the clean text with PGD inside and `trains: vision`. trains:
    which tower learns (`text`: all but the vision trunk, its projection included), `last_blocks`, `lora`, or `prompts`. leak:
    add the gradients of the inner attack to the update, as MMCoA's published code does by mistake (`defense.leak`).
    """

    outer: Annotated[tuple[Term, ...], Field(min_length=1)]
    inner: Inner | None = None
    trains: Trains = "both"
    leak: bool = False

    def __post_init__(self) -> None:
        attacked = any(view.of == "attacked" for view in self.wanted)
        if attacked and self.inner is None:
            raise ValueError("outer: a term looks at what was attacked, so the method needs an inner attack")
        if self.inner is not None and not attacked:
            raise ValueError("inner: no term looks at what it attacks; let one, or leave it out")
        if self.leak and not any(type(part) is PGD for part in parts(self.inner)):
            raise ValueError("leak: the inner attack has no pgd whose gradients could leak")
        if all(isinstance(term, Consistency) for term in self.outer):
            raise ValueError("outer: consistency alone is least where all embeddings are one; add a term beside it")

    @property
    def wanted(self) -> frozenset[View]:
        """Every view that a term looks at."""
        return frozenset(view for term in self.outer for view in term.looks)

    @property
    def needs_reference(self) -> bool:
        """Whether the loss asks the model as it was before training."""
        return isinstance(self.inner, Drift) or any(view.by == "reference" for view in self.wanted)

    def repeats_features(self, model: Clip) -> bool:
        """Whether the vision trunk sees the same clean images, with the same weights and statistics, at every epoch."""
        apart = model.trunk is not model.net.visual
        images = {view for view in self.wanted if view.tower != "text"}
        alone = self.inner is None and images <= {View("image")}
        return self.trains == "text" and alone and apart and model.architecture.frozen_statistics

    def within(self, factor: float) -> Method:
        """The method with every ball of its inner attack `factor` times as wide."""
        return self if factor == 1 or self.inner is None else replace(self, inner=scaled(self.inner, factor))

    def attacked(self, model: DualEncoder, batch: Batch, rng: Generator, reference: Clip | None = None) -> Batch:
        """What the inner attack makes of the batch; it leaves no gradient and no flag behind."""
        if self.inner is None:
            return batch
        if not isinstance(self.inner, Drift):
            known = model if isinstance(model, Remembering) else Remembering(model)
            return self.inner(known, batch, rng)  # each half of it asks for the same captions
        if reference is None:
            raise ValueError("inner: drift is away from the model before training: give the loss its `reference`")
        return self.inner(model, reference, batch, rng)

    def loss(
        self,
        model: Clip,
        batch: Batch,
        rng: Generator,
        reference: Clip | None = None,
        images: Callable[[Batch], Embedding] | None = None,
    ) -> Float[Tensor, ""]:
        """The loss of one batch of pairs.

        `reference`: the model before training, frozen, where `needs_reference`. `images` embeds a clean batch in place of
        the vision tower (`defense.features`). Raises ValueError where the reference is needed and not given.
        """
        surplus = []
        if self.leak:
            attacked, seen = recorded(self.inner, model, batch, rng)
            surplus = [leaked(model, batch, seen)]
        else:
            attacked = self.attacked(model, batch, rng, reference)
        views = Views(model, batch, attacked, reference, self.wanted, images)
        return self.total(views, *surplus)

    def total(self, views: Views, *further: Float[Tensor, ""]) -> Float[Tensor, ""]:
        """The sum of the weighted terms, and of what else there is."""
        return torch.stack([*(term.weight * term(views) for term in self.outer), *further]).sum()
