"""How far a caption lies from its own image."""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor

from immunize.batch import Embedding


def consistency(
    image: Embedding, text: Float[Tensor, "c d"], owner: Int[Tensor, " c"], scale: Float[Tensor, ""]
) -> Float[Tensor, " c"]:
    """||f_vis - f_txt||^2 of each caption and its image; on unit vectors 2 - 2 cos. `scale` is not used."""
    return (image[owner] - text).square().sum(dim=-1)


def away(
    image: Embedding, text: Float[Tensor, "c d"], owner: Int[Tensor, " c"], scale: Float[Tensor, ""]
) -> Float[Tensor, " c"]:
    """-cos(f_vis, f_txt) of each caption and its image (SGA, arXiv:2307.14061 eq. 3). `scale` is not used."""
    return -(image[owner] * text).sum(dim=-1)
