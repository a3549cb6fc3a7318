"""Test-time counterattack: noise that moves the embedding away from where an attacker may have put it."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Generator, Tensor

from immunize.batch import Embedding, Image
from immunize.config import frozen
from immunize.models.dual_encoder import DualEncoder
from immunize.models.encode import untouched
from immunize.models.wrapped import Wrapped
from immunize.threats.ball import Radius


@frozen
class Counterattack:
    """f~(x) = f(x + sum_k w_k d_k), d_k+1 = clip(d_k + step sign grad ||f(x + d_k) - f(x)||^2), d_0 uniform in +-eps.

    w_k is proportional to exp(beta k), k = 0 .. steps, where the gate is open; where it is shut all the weight is on d_0,
    the noise (TTC, arXiv:2503.03613 sec. 4). The gate looks at the shift ||f(x + d_0) - f(x)|| under noise alone: `below`
    opens for shifts under tau (attacked images as falsely stable), `above` for those over it; which of the two tells an
    attack depends on the noise and the model, so that it is no more than a field. seed: of d_0, one draw for all images.
    """

    eps: Radius = 4 / 255
    steps: Annotated[int, Field(ge=1)] = 2
    step: Radius = 1 / 255
    tau: float = 0.2
    gate: Literal["below", "above", "always"] = "below"
    beta: float = 2.0
    seed: int = 0
    kind: Literal["counterattack"] = "counterattack"

    @property
    def passes(self) -> int:
        """Of the vision tower for each image, forward and backward: f(x), two for each step, the answer."""
        return 2 + 2 * self.steps

    def around(self, model: DualEncoder) -> Counterattacking:
        return Counterattacking(model, self)

    def twin(self) -> Counterattack:
        """Itself: the noise found is a constant to the gradient, as it is almost everywhere, for it is made of signs."""
        return self


class Counterattacking(Wrapped):
    """`model` asked about each image with the noise that was found for it."""

    def __init__(self, model: DualEncoder, defense: Counterattack) -> None:
        Wrapped.__init__(self, model)
        self.defense = defense

    def encode_image(self, images: Image) -> Embedding:
        if not len(images):
            return self.model.encode_image(images)
        noise, _ = self.find(images.detach())
        return self.model.encode_image((images + noise).clamp(0, 1))

    def find(self, images: Image) -> tuple[Image, Bool[Tensor, " b"]]:
        """The noise for each image, and whether its gate was open."""
        d = self.defense
        with untouched(self.model):
            with torch.no_grad():
                still = self.model.encode_image(images)
            delta, passed, shift = _start(images, d.eps, d.seed), [], torch.empty(0)
            for k in range(d.steps):
                passed.append(delta)
                delta = delta.detach().requires_grad_()
                moved = self.model.encode_image(images + delta) - still
                shift = moved.detach().norm(dim=-1) if k == 0 else shift
                (gradient,) = torch.autograd.grad(moved.square().sum(), delta)
                delta = (delta.detach() + d.step * gradient.sign()).clamp(-d.eps, d.eps)
                delta = (images + delta).clamp(0, 1) - images
        opened = self.open(shift)
        weights = torch.softmax(d.beta * torch.arange(d.steps + 1.0, device=images.device), dim=0)
        found = torch.einsum("k,kbchw->bchw", weights.to(images), torch.stack([*passed, delta]))
        return torch.where(opened.view(-1, 1, 1, 1), found, passed[0]), opened

    def open(self, shift: Float[Tensor, " b"]) -> Bool[Tensor, " b"]:
        """Whether the gate is open at such shifts under noise."""
        if self.defense.gate == "always":
            return torch.ones_like(shift, dtype=torch.bool)
        return shift < self.defense.tau if self.defense.gate == "below" else shift > self.defense.tau


def _start(images: Image, eps: float, seed: int) -> Image:
    """Uniform noise within eps that keeps pixels in [0, 1]."""
    draw = torch.rand(images.shape[1:], generator=Generator().manual_seed(seed)).to(images)
    return (images + eps * (2 * draw - 1)).clamp(0, 1) - images
