"""Where an attack on pixels may go: a norm ball around the clean image, inside [0, 1]."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Any, Literal

from jaxtyping import Float, Int
from pydantic import BeforeValidator, Field
from torch import Tensor

from immunize.batch import Image
from immunize.config import frozen
from immunize.rng import uniform


def _fraction(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    over, _, under = value.partition("/")
    return float(Fraction(over) / Fraction(under or 1))


Radius = Annotated[float, Field(ge=0), BeforeValidator(_fraction)]


@frozen
class Ball:
    """{x : ||x - clean||_norm <= eps} within [0, 1]; `eps` in pixels of [0, 1] (YAML may say "2/255")."""

    norm: Literal["linf", "l2"]
    eps: Radius

    def project(self, x: Image, clean: Image) -> Image:
        """A point inside the ball and inside [0, 1]: box after ball (for l_2 feasible, not always the nearest point)."""
        delta = x - clean
        if self.norm == "linf":
            return (clean + delta.clamp(-self.eps, self.eps)).clamp(0, 1)
        return (clean + delta * (self.eps / _length(delta)).clamp(max=1)).clamp(0, 1)

    def steepest(self, gradient: Image) -> Image:
        """argmax <d, gradient> over unit d: the sign for l_inf, the direction for l_2 (0 where the gradient is 0)."""
        return gradient.sign() if self.norm == "linf" else gradient / _length(gradient)

    def sample(self, clean: Image, keys: Int[Tensor, " b"], seed: int) -> Image:
        """A random start: uniform in the l_inf ball (two-sided), a random direction and radius for l_2."""
        noise = uniform(seed, keys, clean[0].numel() + 1).to(clean.device)
        direction = (noise[:, 1:] * 2 - 1).view(clean.shape)
        if self.norm == "l2":
            direction = direction / _length(direction) * noise[:, 0].view(-1, 1, 1, 1)
        return self.project(clean + self.eps * direction, clean)


def _length(x: Image) -> Float[Tensor, "b 1 1 1"]:
    """The l_2 norm of each image, kept off 0 so that radius 0 and gradient 0 divide to 0."""
    return x.flatten(1).norm(dim=1).clamp(min=1e-12).view(-1, 1, 1, 1)
