"""Weights averaged along the run."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Running:
    """m <- d m + (1 - d) w after every step, over weights and statistics, d = min(decay, (1 + n) / (10 + n)) at step n.

    The rising decay keeps the weights of the start from weighing on a short run.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.state: dict[str, Tensor] = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Take in the weights after step number `step`, counted from 0; counters are copied."""
        keep = min(self.decay, (1 + step) / (10 + step))
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                self.state[name].lerp_(value, 1 - keep)
            else:
                self.state[name].copy_(value)
