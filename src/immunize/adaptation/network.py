"""A small network that values actions: what supervised learners and PPO leave behind, without their libraries."""

from __future__ import annotations

from typing import Literal

import numpy as np
from jaxtyping import Float
from torch import nn

from immunize.adaptation.policy import Observation, Still

Layer = tuple[Float[np.ndarray, "_ _"], Float[np.ndarray, " _"]]


class Network(Still):
    """argmax of W_k f(... f(W_1 x + b_1)) + b_k over the observation's first columns, as many as W_1 has."""

    def __init__(self, layers: list[Layer], bend: Literal["tanh", "relu"]) -> None:
        self.layers, self.bend = layers, bend
        self.width = layers[0][0].shape[1]
        self.values = np.zeros(len(layers[-1][1]))

    def act(self, observation: Observation) -> int:
        x = observation[: self.width].astype(np.float64)
        for weight, bias in self.layers[:-1]:
            x = weight @ x + bias
            x = np.tanh(x) if self.bend == "tanh" else np.maximum(x, 0)
        weight, bias = self.layers[-1]
        self.values = weight @ x + bias
        return int(self.values.argmax())


def arrays(layer: nn.Linear) -> Layer:
    """(weight, bias) of a layer in double precision."""
    return layer.weight.detach().double().numpy().copy(), layer.bias.detach().double().numpy().copy()
