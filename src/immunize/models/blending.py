"""Models of one architecture, copied and mixed weight by weight."""

from __future__ import annotations

from copy import deepcopy

import torch

from immunize.models.clip import Clip


def frozen_copy(model: Clip) -> Clip:
    """The model as it is now, in evaluation mode, and never to learn; the tokenizer is shared."""
    copy = deepcopy(model, {id(model.tokenizer): model.tokenizer})
    return copy.eval().requires_grad_(False)


@torch.no_grad()
def blend(model: Clip, first: Clip, share: float) -> None:
    """w <- share * w + (1 - share) * w_first in place: WiSE-FT between robust and clean weights (arXiv:2109.01903).

    A prompt that the start had not is kept whole."""
    start = first.state_dict()
    for name, value in model.state_dict().items():
        if value.is_floating_point() and name in start:
            value.copy_(torch.lerp(start[name].to(value.device), value, share))


def blended(model: Clip, first: Clip, share: float) -> Clip:
    """A frozen model of the weights that `blend` would give; both stay as they are.

    Raises ValueError where the two are not of one architecture.
    """
    a, b = model.state_dict(), first.state_dict()
    off = [name for name in b if name not in a or a[name].shape != b[name].shape]
    if off or model.architecture != first.architecture:
        what = f"{off[0]} among {len(off)} weights" if off else "their architectures"
        raise ValueError(f"models to be mixed must be of one architecture, and differ in {what}")
    copy = frozen_copy(model)
    blend(copy, first, share)
    return copy
