"""InfoNCE over a batch of pairs, captions of one image being positives of each other."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from immunize.batch import Embedding
from immunize.objectives.cosines import cosines


def infonce(
    image: Embedding, text: Float[Tensor, "c d"], owner: Int[Tensor, " c"], scale: Float[Tensor, ""]
) -> Float[Tensor, " c"]:
    """1/2 [-log p(text | its image) - log p(image | text)] of each pair; an image's other captions are no negatives.

    Logits are scale * cos. Radford et al., arXiv:2103.00020 fig. 3, with the mask that several captions an image need.
    Depends on the batch, which holds the negatives.
    """
    logits = scale * cosines(image, text)
    pair = torch.arange(len(text), device=text.device)
    own = logits[owner, pair]
    others = owner[None] == torch.arange(len(image), device=text.device)[:, None]
    negatives = logits.masked_fill(others, -torch.inf).logsumexp(dim=1)
    to_text = torch.logaddexp(own, negatives[owner]) - own
    to_image = logits.logsumexp(dim=0) - own
    return (to_text + to_image) / 2
