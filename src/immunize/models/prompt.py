"""Vectors at the inputs of a model that stays as it is: a frame around the picture, words before the caption."""

from __future__ import annotations

from typing import Annotated

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Generator, Tensor, nn

from immunize.config import frozen


@frozen
class PromptSize:
    """frame: its width in pixels of the size that the tower sees, 0: none. words: vectors before the caption, 0: none."""

    frame: Annotated[int, Field(ge=0)] = 0
    words: Annotated[int, Field(ge=0)] = 0


class Prompt(nn.Module):
    """x -> normalize(x) + frame (TeCoA's visual prompt, arXiv:2212.07016 sec. 3); t -> start, v_1 .. v_m, t (CoOp,
    arXiv:2109.01134 sec. 3.2, one context for all texts).

    The frame starts at 0, the words as Gaussian noise of 0.02 from `rng`. side: of the tower's input; width: of a token.
    """

    edge: Tensor

    def __init__(self, size: PromptSize, side: int, width: int, rng: Generator) -> None:
        nn.Module.__init__(self)
        self.size = size
        self.visual = nn.Parameter(torch.zeros(3, side, side)) if size.frame else None
        self.text = nn.Parameter(0.02 * torch.randn(size.words, width, generator=rng)) if size.words else None
        edge = torch.ones(side, side)
        edge[size.frame : side - size.frame, size.frame : side - size.frame] = 0
        self.register_buffer("edge", edge, persistent=False)

    def framed(self, pixels: Float[Tensor, "b 3 s s"]) -> Float[Tensor, "b 3 s s"]:
        """Normalized pixels with the frame added to their edge."""
        return pixels if self.visual is None else pixels + self.visual * self.edge


def inserted(
    tokens: Int[Tensor, "c l"], embedded: Float[Tensor, "c l w"] | None, context: Float[Tensor, "m w"]
) -> tuple[Int[Tensor, "c k"], Float[Tensor, "c k w"] | None]:
    """Texts with the `context` after their first token; it has the id 0, which is neither the largest nor looked up."""
    ids = tokens.new_zeros(len(tokens), len(context))
    longer = torch.cat([tokens[:, :1], ids, tokens[:, 1:]], dim=1)
    if embedded is None:
        return longer, None
    words = context.to(embedded.dtype).expand(len(tokens), -1, -1)
    return longer, torch.cat([embedded[:, :1], words, embedded[:, 1:]], dim=1)


def shortened(tokens: Int[Tensor, "c l"], room: int) -> Int[Tensor, "c k"]:
    """Texts cut to `room` tokens, the last being their end."""
    if tokens.shape[1] <= room:
        return tokens
    ends = tokens.argmax(dim=1, keepdim=True)
    last = torch.where(ends >= room, tokens.gather(1, ends), tokens[:, room - 1 : room])
    return torch.cat([tokens[:, : room - 1], last], dim=1)
