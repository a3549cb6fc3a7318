"""Each pair against the hardest wrong partner in the batch."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from immunize.batch import Embedding
from immunize.objectives.cosines import cosines


def triplet(
    image: Embedding, text: Float[Tensor, "c d"], owner: Int[Tensor, " c"], margin: float
) -> Float[Tensor, " c"]:
    """[margin - s(x, t) + max s(x, t_wrong)]_+ + [margin - s(x, t) + max s(x_wrong, t)]_+ of each pair, s = cos.

    VSE++, arXiv:1707.05612 eq. 6. An image's other captions are not wrong. Depends on the batch, which holds the negatives.
    """
    cosine = cosines(image, text)
    own = cosine[owner, torch.arange(len(text), device=text.device)]
    right = owner[None] == torch.arange(len(image), device=text.device)[:, None]
    wrong = cosine.masked_fill(right, -torch.inf)
    return (margin - own + wrong.amax(dim=1)[owner]).relu() + (margin - own + wrong.amax(dim=0)).relu()
