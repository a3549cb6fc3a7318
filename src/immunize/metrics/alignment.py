"""Whether a new caption and its image still belong together: by a model, and exactly where the truth is known."""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float, Int
from torch import Tensor

from immunize.data.scenes.truth import is_true


def cosine(images: Float[Tensor, "n d"], texts: Float[Tensor, "c d"], owner: Int[Tensor, " c"]) -> float | None:
    """mean over captions of <f(x_owner), g(t)> of unit embeddings, in [-1, 1]; None without a caption."""
    return float((images[owner] * texts).sum(1).double().mean()) if len(owner) else None


def mismatched(images: Float[Tensor, "n d"], texts: Float[Tensor, "c d"], owner: Int[Tensor, " c"]) -> float | None:
    """mean over images i and captions c with owner(c) != i of <f(x_i), g(t_c)>, in [-1, 1]; None where all pairs match.

    A defense that lifts it as much as `cosine` has told pairs apart no better: it has collapsed. O((n + c) d) memory.
    """
    wrong = len(images) * len(texts) - len(owner)
    if not wrong:
        return None
    x, t = images.double(), texts.double()
    return float((x.sum(0) @ t.sum(0) - (x[owner] * t).sum()) / wrong)


def true_share(captions: Sequence[str], owner: Sequence[int], truth: Sequence[str | None]) -> float | None:
    """100 * share of the captions that are true of the scene in their image, in percent; None where no scene is known."""
    told = [
        is_true(caption, scene) for caption, i in zip(captions, owner, strict=True) if (scene := truth[i]) is not None
    ]
    return 100.0 * sum(told) / len(told) if told else None
