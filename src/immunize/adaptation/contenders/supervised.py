"""Full information: on training streams every action's reward is known, and is regressed on what was seen."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import nn

from immunize.adaptation.network import Network, arrays
from immunize.adaptation.policy import Policy
from immunize.adaptation.world import World
from immunize.config import frozen

Streams = Annotated[int, Field(ge=1)]


@frozen
class Ridge:
    """argmax of x (X'X + penalty I)^-1 X'R, all K rewards at once; `memory`: with the moving averages, or without."""

    penalty: Annotated[float, Field(gt=0)] = 10.0
    memory: bool = True
    streams: Streams = 20
    kind: Literal["ridge"] = "ridge"

    def fit(self, world: World, seed: int) -> Policy:
        taken = world.taken(seed, self.streams)
        x = taken.contexts if self.memory else taken.contexts[:, : world.observer.free]
        center, mean = x.mean(axis=0), taken.rewards.mean(axis=0)
        z = x - center
        weight = np.linalg.solve(z.T @ z + self.penalty * np.eye(z.shape[1]), z.T @ (taken.rewards - mean)).T
        return Network([(weight, mean - weight @ center)], "relu")


@frozen
class Perceptron:
    """The same by a network of two hidden layers, mean squared error, AdamW."""

    hidden: Annotated[int, Field(ge=1)] = 64
    steps: Annotated[int, Field(ge=0)] = 1500
    batch: Annotated[int, Field(ge=1)] = 512
    lr: Annotated[float, Field(gt=0)] = 2e-3
    decay: Annotated[float, Field(ge=0)] = 0.01
    streams: Streams = 20
    kind: Literal["perceptron"] = "perceptron"

    def fit(self, world: World, seed: int) -> Policy:
        taken, rng = world.taken(seed, self.streams), torch.Generator().manual_seed(seed)
        x = torch.from_numpy(taken.contexts).float()
        y = torch.from_numpy(taken.rewards).float()
        center, mean = x.mean(dim=0), y.mean(dim=0)
        x, y = x - center, y - mean
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            sizes = (x.shape[1], self.hidden, self.hidden, y.shape[1])
            linear = [nn.Linear(a, b) for a, b in pairwise(sizes)]
        net = nn.Sequential(linear[0], nn.ReLU(), linear[1], nn.ReLU(), linear[2])
        optimizer = torch.optim.AdamW(net.parameters(), lr=self.lr, weight_decay=self.decay)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(self.steps, 1))
        with torch.enable_grad():
            for _ in range(self.steps):
                rows = torch.randint(len(x), (self.batch,), generator=rng)
                loss = (net(x[rows]) - y[rows]).square().mean()
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                schedule.step()
        layers = [arrays(layer) for layer in linear]
        first, last = layers[0], layers[-1]
        layers[0] = (first[0], first[1] - first[0] @ center.double().numpy())
        layers[-1] = (last[0], last[1] + mean.double().numpy())
        return Network(layers, "relu")
