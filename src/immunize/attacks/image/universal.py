"""One perturbation for every image: fitted once, kept in a file, applied as it is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float
from safetensors.torch import load_file, save_file
from torch import Generator, Tensor

from immunize.attacks.victim import Best, Victim
from immunize.batch import Batch
from immunize.config import frozen
from immunize.models.dual_encoder import DualEncoder
from immunize.objectives import Name
from immunize.threats import Ball

Delta = Float[Tensor, "c h w"]


@frozen
class Universal:
    """x = project(clean + delta), the same delta for all images (arXiv:1610.08401); `fit` makes it, `save` keeps it.

    threat: an l_inf or l_2 ball; a delta that was fitted in a larger one is cut to it. path: the file of `save`, of images
    of the same size.
    """

    threat: Ball
    path: str
    kind: Literal["universal"] = "universal"

    def __post_init__(self) -> None:
        _refuse_l0(self.threat)

    def __call__(self, model: DualEncoder, batch: Batch, rng: Generator) -> Batch:
        delta = load(Path(self.path)).to(batch.images.device)
        if delta.shape != batch.images.shape[1:]:
            raise ValueError(
                f"path: {self.path} is for images of {tuple(delta.shape)}, not {tuple(batch.images.shape[1:])}"
            )
        with Victim.of(model, batch) as victim:
            best = Best(victim.clean)
            x = self.threat.project(victim.clean + _cut(delta, self.threat), victim.clean)
            best.update(x, victim.query(x, victim.all), victim.all)
            return victim.finish(batch, best)


def fit(
    model: DualEncoder,
    batches: Sequence[Batch],
    threat: Ball,
    epochs: int = 10,
    step: float = 0.1,
    objective: Name = "cross_entropy",
    limit: float = 9.0,
) -> Delta:
    """delta <- cut(delta + step * eps * steepest(sum of the gradients of min(objective, limit)))  (arXiv:1811.11304 alg. 2).

    One step a batch, in order. The limit keeps images that are fooled long since from outweighing the others.
    """
    _refuse_l0(threat)
    delta = torch.zeros_like(batches[0].images[0])
    for _ in range(epochs):
        for batch in batches:
            with Victim.of(model, batch, objective) as victim:
                shared = delta.clone().requires_grad_()
                value = victim.judge((victim.clean + shared).clamp(0, 1), victim.all).value
                gradient = victim.gradient(value.clamp(max=limit), shared, victim.all)
            delta = _cut(delta + step * threat.reach(delta) * threat.steepest(gradient[None])[0], threat)
    return delta


def save(delta: Delta, path: Path) -> None:
    """Write it for `Universal`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({"delta": delta.cpu().contiguous()}, path)


def load(path: Path) -> Delta:
    """What `save` wrote."""
    return load_file(path)["delta"]


def _cut(delta: Delta, threat: Ball) -> Delta:
    """The nearest perturbation inside the ball, whatever image it is added to."""
    if threat.norm == "linf":
        return delta.clamp(-threat.eps, threat.eps)
    return delta * (threat.eps / delta.norm().clamp(min=1e-12)).clamp(max=1)


def _refuse_l0(threat: Ball) -> None:
    if threat.norm == "l0":
        raise ValueError("threat: a universal perturbation moves every pixel, so the norm is linf or l2")
