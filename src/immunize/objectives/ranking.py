"""How far the right text of an image is from ranking first: what classifiers are attacked with, for any bank of texts.

With one right text a row these are the losses of the same name on logits = scale * cos; with several (the captions of
an image) the right ones count together (`cross_entropy`) or the best of them counts (`margin`, `dlr`).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from immunize.batch import Embedding
from immunize.objectives.bank import Bank


def cross_entropy(image: Embedding, bank: Bank) -> Float[Tensor, " b"]:
    """-log softmax of the right texts together; towards a target, log softmax of the target."""
    logits = bank.logits(image)
    right = logits.masked_fill(~bank.aim, -torch.inf).logsumexp(dim=1)
    return bank.sign * (logits.logsumexp(dim=1) - right)


def margin(image: Embedding, bank: Bank) -> Float[Tensor, " b"]:
    """max logit of the wrong texts - max logit of the right ones: above 0 exactly where the image is fooled.

    Towards a target its logit less that of the best other text. Texts are masked with -inf, never by a product
    (arXiv:1608.04644 sec. V with the sign turned).
    """
    return gap(bank.logits(image), bank)


def dlr(image: Embedding, bank: Bank) -> Float[Tensor, " b"]:
    """(max wrong - z_y) / (z_(1) - z_(3)), free of shift and scale (arXiv:2003.01690 eq. 6); targeted, eq. 7.

    Towards a target t it is (z_t - z_y) / (z_(1) - (z_(3) + z_(4)) / 2). The right texts count as one, y, the best of them:
    ranked apart, a pair of them on top would make the quotient -1 whatever the image. Raises ValueError where that leaves
    fewer than three texts, or four.
    """
    logits, needed = bank.logits(image), 3 if bank.target is None else 4
    texts = 1 + (logits.masked_fill(bank.own, -torch.inf) > -torch.inf).sum(dim=1)
    if (texts < needed).any():
        raise ValueError(f"dlr needs {needed} texts to rank and has {int(texts.min())}; use cross_entropy or margin")
    right = logits.masked_fill(~bank.own, -torch.inf).amax(dim=1)
    wrong = logits.masked_fill(bank.own, -torch.inf)
    top = torch.cat([right[:, None], wrong], dim=1).topk(needed, dim=1).values
    if bank.target is None:
        return (wrong.amax(dim=1) - right) / (top[:, 0] - top[:, 2]).clamp(min=1e-12)
    reached = logits.gather(1, bank.target[:, None])[:, 0]
    return (reached - right) / (top[:, 0] - (top[:, 2] + top[:, 3]) / 2).clamp(min=1e-12)


def fooled(logits: Float[Tensor, "b k"], bank: Bank) -> Tensor:
    """Whether a wrong text, or the target, ranks alone before all others."""
    return gap(logits, bank) > 0


def gap(logits: Float[Tensor, "b k"], bank: Bank) -> Float[Tensor, " b"]:
    """The margin, of logits at hand."""
    aim = bank.aim
    right = logits.masked_fill(~aim, -torch.inf).amax(dim=1)
    wrong = logits.masked_fill(aim, -torch.inf).amax(dim=1)
    return bank.sign * (wrong - right)
