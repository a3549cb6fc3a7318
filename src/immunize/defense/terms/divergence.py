"""Kullback-Leibler divergence between what two views make of the batch: PMG-AFT's terms, and TRADES'."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import kl_div

from immunize.config import frozen
from immunize.defense.terms.weight import Weight
from immunize.defense.views import By, Of, View, Views
from immunize.objectives import cosines


@frozen
class Divergence:
    """1/2 [KL(p(text | image) || q(text | image)) + KL(p(image | text) || q(image | text))], mean over images and captions.

    q: softmax of scale * cos over the batch, of the student's `image` and `text`. p: the target, of `target_image` and
    `target_text` as model `by` sees them. PMG-AFT (arXiv:2401.04350) has two: by the student on the clean image, and by the
    reference on the attacked one; TRADES (arXiv:1901.08573) has the first, `through`: with gradients into the target too,
    which is otherwise detached. Batch means: PMG-AFT's sums weigh more against its cross-entropy the larger the batch.
    """

    image: Of = "attacked"
    text: Of = "clean"
    target_image: Of = "clean"
    target_text: Of = "clean"
    by: By = "student"
    through: bool = False
    weight: Weight = 1.0
    kind: Literal["divergence"] = "divergence"

    def __post_init__(self) -> None:
        if self.by == "student" and (self.image, self.text) == (self.target_image, self.target_text):
            raise ValueError("image, text: the student's own target is what it sees already; let one of the two differ")
        if self.by == "reference" and self.through:
            raise ValueError("through: the reference does not learn; leave it out")

    @property
    def looks(self) -> tuple[View, ...]:
        target = View("image", self.target_image, self.by), View("text", self.target_text, self.by)
        return View("image", self.image), View("text", self.text), *target

    def __call__(self, views: Views) -> Float[Tensor, ""]:
        image, text, target_image, target_text = map(views, self.looks)
        found = views.scale() * cosines(image, text)
        target = views.scale(self.by) * cosines(target_image, target_text)
        target = target if self.through else target.detach()
        return (_divergence(target, found) + _divergence(target.T, found.T)) / 2


def _divergence(target: Float[Tensor, "n k"], found: Float[Tensor, "n k"]) -> Float[Tensor, ""]:
    """KL(target || found), mean over rows of logits."""
    return kl_div(found.log_softmax(dim=1), target.log_softmax(dim=1), reduction="batchmean", log_target=True)
