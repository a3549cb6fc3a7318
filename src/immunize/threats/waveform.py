"""Where an attack on sound may go: so much quieter than the sound itself."""

from __future__ import annotations

from typing import Annotated

from jaxtyping import Int
from pydantic import Field
from torch import Tensor

from immunize.batch import Signal
from immunize.config import frozen
from immunize.rng import uniform


@frozen
class Waveform:
    """{x : 20 log10(max|x - clean| / max|clean|) <= decibels} within [-1, 1] (arXiv:1801.01944 sec. 2.2).

    -30 is a distortion thirty decibels below the loudest sample; a silent example cannot be changed.
    """

    decibels: Annotated[float, Field(le=0)]

    def project(self, x: Signal, clean: Signal) -> Signal:
        """The nearest point of the ball inside [-1, 1]."""
        radius = self.reach(clean)
        return (clean + (x - clean).clamp(-radius, radius)).clamp(-1, 1)

    def reach(self, clean: Signal) -> Tensor:
        """The largest change of a sample of each example: 10^(decibels / 20) of its loudest."""
        loudest = clean.flatten(1).abs().amax(dim=1).view(-1, *[1] * (clean.dim() - 1))
        return loudest * 10 ** (self.decibels / 20)

    def steepest(self, gradient: Signal) -> Signal:
        """The sign of the gradient."""
        return gradient.sign()

    def sample(self, clean: Signal, keys: Int[Tensor, " b"], seed: int) -> Signal:
        """A uniform random start."""
        noise = uniform(seed, keys, clean.shape[1:].numel()).to(clean.device).view(clean.shape)
        return self.project(clean + self.reach(clean) * (2 * noise - 1), clean)
