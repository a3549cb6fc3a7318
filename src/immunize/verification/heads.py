"""From whitened features to one score: a distance that saw no attack, a straight line, and a small network."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Generator, Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, dropout, linear, relu

from immunize.config import frozen

Weights = dict[str, Tensor]
Scores = Float[Tensor, " n"]
Positive = Annotated[float, Field(gt=0)]


@frozen
class OneClass:
    """log of the mean squared coordinate: the Mahalanobis distance from clean pairs. No attack is seen, none is asked for.

    It cannot tell what is wrong with a pair: both of its scores are the same number.
    """

    kind: Literal["one_class"] = "one_class"

    def fit(self, z: Float[Tensor, "n f"], suspicious: Bool[Tensor, " n"], seed: int) -> Weights:
        return {}

    def __call__(self, weights: Weights, z: Float[Tensor, "n f"]) -> Scores:
        return (z.square().mean(dim=1) + 1e-12).log()


@frozen
class Logistic:
    """<w, asinh z> + b by balanced cross-entropy + penalty ||w||^2 / 2; asinh tames far outliers and never goes flat."""

    penalty: Positive = 1e-2
    kind: Literal["logistic"] = "logistic"

    def fit(self, z: Float[Tensor, "n f"], suspicious: Bool[Tensor, " n"], seed: int) -> Weights:
        x, y, weight = _prepared(z, suspicious)
        w = torch.zeros(x.shape[1], dtype=x.dtype, requires_grad=True)
        b = torch.zeros((), dtype=x.dtype, requires_grad=True)
        optimizer = torch.optim.LBFGS([w, b], max_iter=500, tolerance_grad=1e-9, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            optimizer.zero_grad()
            fit = binary_cross_entropy_with_logits(x @ w + b, y, weight)
            value = fit + self.penalty * w.square().sum() / 2
            value.backward()
            return value

        optimizer.step(loss)
        return {"w": w.detach().float(), "b": b.detach().float()}

    def __call__(self, weights: Weights, z: Float[Tensor, "n f"]) -> Scores:
        return z.asinh() @ weights["w"] + weights["b"]


@frozen
class Perceptron:
    """Two hidden layers (64, 32) on asinh z: balanced cross-entropy, dropout, AdamW for `epochs` over all examples."""

    hidden: tuple[int, int] = (64, 32)
    epochs: Annotated[int, Field(ge=1)] = 60
    lr: Positive = 3e-3
    decay: Annotated[float, Field(ge=0)] = 1e-2
    drop: Annotated[float, Field(ge=0, lt=1)] = 0.2
    batch: Annotated[int, Field(ge=1)] = 128
    kind: Literal["perceptron"] = "perceptron"

    def fit(self, z: Float[Tensor, "n f"], suspicious: Bool[Tensor, " n"], seed: int) -> Weights:
        x, y, weight = (value.float() for value in _prepared(z, suspicious))
        rng = Generator().manual_seed(seed)
        weights = self._fresh(x.shape[1], rng)
        optimizer = torch.optim.AdamW(list(weights.values()), lr=self.lr, weight_decay=self.decay)
        steps = self.epochs * -(-len(x) // self.batch)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.lr, total_steps=steps)
        with torch.random.fork_rng():
            torch.manual_seed(seed)  # dropout
            for _ in range(self.epochs):
                for rows in torch.randperm(len(x), generator=rng).split(self.batch):
                    logits = self._forward(weights, x[rows], training=True)
                    loss = binary_cross_entropy_with_logits(logits, y[rows], weight[rows])
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                    schedule.step()
        return {name: value.detach() for name, value in weights.items()}

    def __call__(self, weights: Weights, z: Float[Tensor, "n f"]) -> Scores:
        return self._forward(weights, z.asinh(), training=False)

    def _fresh(self, inputs: int, rng: Generator) -> Weights:
        """He's initialization (arXiv:1502.01852 sec. 2.2)."""
        sizes, weights = (inputs, *self.hidden, 1), {}
        for k, (before, after) in enumerate(pairwise(sizes)):
            weights[f"w{k}"] = (torch.randn(after, before, generator=rng) * (2 / before) ** 0.5).requires_grad_()
            weights[f"b{k}"] = torch.zeros(after, requires_grad=True)
        return weights

    def _forward(self, weights: Weights, x: Float[Tensor, "n f"], training: bool) -> Scores:
        for k in range(len(self.hidden)):
            x = dropout(relu(linear(x, weights[f"w{k}"], weights[f"b{k}"])), self.drop, training)
        last = len(self.hidden)
        return linear(x, weights[f"w{last}"], weights[f"b{last}"])[:, 0]


Head = Annotated[OneClass | Logistic | Perceptron, Field(discriminator="kind")]


def _prepared(z: Float[Tensor, "n f"], suspicious: Bool[Tensor, " n"]) -> tuple[Tensor, Tensor, Tensor]:
    """asinh z, the labels, and weights that give both labels the same say. Raises ValueError where one has no example."""
    y = suspicious.double()
    if not 0 < y.mean() < 1:
        raise ValueError("a learnt head needs examples of both kinds: clean pairs and suspicious ones")
    weight = torch.where(suspicious, 0.5 / y.mean(), 0.5 / (1 - y.mean()))
    return z.double().asinh(), y, weight
