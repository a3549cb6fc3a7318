"""What clean pairs look like to one encoder: a bank of them, their spread, and how one modality predicts the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import torch
from jaxtyping import Float
from torch import Tensor

from immunize.batch import Embedding
from immunize.verification.whitening import Whitening

SHRINKAGE = 0.2
RIDGE = 0.01  # of the mean eigenvalue


@dataclass(frozen=True, slots=True)
class Reference:
    """`image[k]` and `text[k]`, unit embeddings of clean pair k, and what follows from them.

    near_*: Mahalanobis distance of an embedding. text_to_image (A): f_v is about A f_t; image_to_text (B): f_t is about
    B f_v; off_*: Mahalanobis distance of what they leave. All are fitted on the bank alone.
    """

    image: Embedding
    text: Embedding
    near_image: Whitening
    near_text: Whitening
    text_to_image: Float[Tensor, "d d"]
    image_to_text: Float[Tensor, "d d"]
    off_image: Whitening
    off_text: Whitening

    @classmethod
    def of(cls, image: Embedding, text: Embedding) -> Reference:
        """From the embeddings of clean pairs. Raises ValueError for fewer than two."""
        if len(image) < 2:
            raise ValueError(f"bank: a reference needs at least two clean pairs, not {len(image)}")
        forth, back = _ridge(text, image), _ridge(image, text)
        return cls(
            image=image,
            text=text,
            near_image=Whitening.of(image, SHRINKAGE),
            near_text=Whitening.of(text, SHRINKAGE),
            text_to_image=forth,
            image_to_text=back,
            off_image=Whitening.of(image - text @ forth, SHRINKAGE),
            off_text=Whitening.of(text - image @ back, SHRINKAGE),
        )


def _ridge(given: Embedding, wanted: Embedding) -> Float[Tensor, "d d"]:
    """argmin ||wanted - given M||^2 + ridge ||M||^2 (Hoerl and Kennard 1970)."""
    x, y = given.double(), wanted.double()
    gram = x.T @ x
    penalty = RIDGE * gram.trace() / len(gram) * torch.eye(len(gram), dtype=x.dtype, device=x.device)
    return torch.linalg.solve(gram + penalty, x.T @ y).float()


def tensors(value: object, prefix: str = "") -> dict[str, Tensor]:
    """Every tensor of a dataclass of tensors and dataclasses, by its dotted name."""
    if isinstance(value, Tensor):
        return {prefix.removesuffix("."): value.detach().cpu().clone().contiguous()}
    found: dict[str, Tensor] = {}
    for field in fields(value):  # type: ignore[arg-type]
        found |= tensors(getattr(value, field.name), f"{prefix}{field.name}.")
    return found


def whitening(found: Mapping[str, Tensor], prefix: str) -> Whitening:
    """The inverse of `tensors` for a Whitening."""
    return Whitening(*(found[f"{prefix}{field.name}"] for field in fields(Whitening)))


def reference(found: Mapping[str, Tensor], prefix: str) -> Reference:
    """The inverse of `tensors` for a Reference."""
    return Reference(
        image=found[f"{prefix}image"],
        text=found[f"{prefix}text"],
        near_image=whitening(found, f"{prefix}near_image."),
        near_text=whitening(found, f"{prefix}near_text."),
        text_to_image=found[f"{prefix}text_to_image"],
        image_to_text=found[f"{prefix}image_to_text"],
        off_image=whitening(found, f"{prefix}off_image."),
        off_text=whitening(found, f"{prefix}off_text."),
    )
