"""Weights averaged: along the run, and with those it started from."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn

from immunize.models import Clip


def frozen_copy(model: Clip) -> Clip:
    """The model as it is now, in evaluation mode, and never to learn; the tokenizer is shared."""
    copy = deepcopy(model, {id(model.tokenizer): model.tokenizer})
    return copy.eval().requires_grad_(False)


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


@torch.no_grad()
def blend(model: Clip, first: Clip, share: float) -> None:
    """w <- share * w + (1 - share) * w_first in place: WiSE-FT between robust and clean weights (arXiv:2109.01903).

    A prompt that the start had not is kept whole."""
    start = first.state_dict()
    for name, value in model.state_dict().items():
        if value.is_floating_point() and name in start:
            value.copy_(torch.lerp(start[name], value, share))
