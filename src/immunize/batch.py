"""The one thing that flows: images with their captions, pixels in [0, 1], and what an attack did to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Image = Float[Tensor, "b 3 h w"]
Signal = Float[Tensor, "b *shape"]
Embedding = Float[Tensor, "n d"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an attack did to each image and its captions, judged by the model it attacked, before any 8-bit rounding.

    success: the image is fooled (none of its own texts ranks first, or its target does). value: the attack's objective
    there. forwards, backwards: passes of the image tower, which are a black box's queries. texts: captions encoded.
    rejected: candidates refused, by the name of the constraint.
    """

    success: Bool[Tensor, " b"]
    value: Float[Tensor, " b"]
    forwards: Int[Tensor, " b"]
    backwards: Int[Tensor, " b"]
    texts: Int[Tensor, " b"]
    rejected: Mapping[str, Int[Tensor, " b"]] = field(default_factory=dict)

    def after(self, earlier: Outcome | None) -> Outcome:
        """This outcome with the costs of what was done before added to its own."""
        if earlier is None:
            return self
        reasons = dict.fromkeys([*earlier.rejected, *self.rejected])
        nothing = torch.zeros_like(self.forwards)
        return replace(
            self,
            forwards=self.forwards + earlier.forwards,
            backwards=self.backwards + earlier.backwards,
            texts=self.texts + earlier.texts,
            rejected={r: self.rejected.get(r, nothing) + earlier.rejected.get(r, nothing) for r in reasons},
        )

    def put(self, rows: Int[Tensor, " r"], part: Outcome) -> Outcome:
        """This outcome with that of images `rows` replaced by `part`, costs added."""
        reasons = dict.fromkeys([*self.rejected, *part.rejected])
        nothing = torch.zeros_like(self.forwards)
        return Outcome(
            success=self.success.index_copy(0, rows, part.success),
            value=self.value.index_copy(0, rows, part.value),
            forwards=self.forwards.index_add(0, rows, part.forwards),
            backwards=self.backwards.index_add(0, rows, part.backwards),
            texts=self.texts.index_add(0, rows, part.texts),
            rejected={
                r: self.rejected.get(r, nothing).index_add(0, rows, part.rejected.get(r, nothing[rows]))
                for r in reasons
            },
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """`images[b]` in [0, 1], never normalized here; `captions[c]` belongs to image `owner[c]`; ids name both on disk.

    A retrieval batch has several captions an image, a training batch one, a classification batch none. An image is ranked
    against `captions` and `gallery` together: further captions of a retrieval, or the prompts of the classes, of which
    `labels[b]` is then the right one. `targets[b]` is the text that a targeted attack wants to rank first. `truth[b]`,
    where the source knows it, is what an attack on the text may not contradict (`data.scenes.Scene`, or None). `originals`
    are the captions before any attack (`()`: these are): an image's own edited captions are ranked among them, so that nothing
    depends on what became of its neighbors. `outcome` is what the last attack says of itself.
    """

    images: Image
    captions: tuple[str, ...]
    owner: Int[Tensor, " c"]
    image_ids: tuple[str, ...]
    caption_ids: tuple[str, ...]
    truth: tuple[str | None, ...] = ()
    gallery: tuple[str, ...] = ()
    labels: Int[Tensor, " b"] | None = None
    targets: tuple[str, ...] = ()
    originals: tuple[str, ...] = ()
    outcome: Outcome | None = None

    def __post_init__(self) -> None:
        if len(self.image_ids) != len(self.images) or len(self.captions) != len(self.owner):
            raise ValueError(
                f"{len(self.images)} images, {len(self.image_ids)} image ids; "
                f"{len(self.captions)} captions, {len(self.owner)} owners"
            )
        if self.originals and len(self.originals) != len(self.captions):
            raise ValueError(f"{len(self.captions)} captions, {len(self.originals)} originals")
        if self.labels is not None and len(self.labels) != len(self.images):
            raise ValueError(f"{len(self.images)} images, {len(self.labels)} labels")
        if self.targets and len(self.targets) != len(self.images):
            raise ValueError(f"{len(self.images)} images, {len(self.targets)} targets")
        if len(self.images) and not (self.images.min() >= 0 and self.images.max() <= 1):  # NaN is neither
            raise ValueError("pixels must be in [0, 1]; put the normalization inside the model")

    def __len__(self) -> int:
        return len(self.images)

    def to(self, device: torch.device) -> Batch:
        """The same batch with its tensors on `device`."""
        labels = None if self.labels is None else self.labels.to(device)
        return replace(self, images=self.images.to(device), owner=self.owner.to(device), labels=labels)

    def take(self, rows: Int[Tensor, " r"]) -> Batch:
        """Images `rows` with their captions; the others' originals go to the gallery, so what an image faces stays the same."""
        place = torch.full((len(self),), -1, device=self.owner.device)
        place[rows] = torch.arange(len(rows), device=place.device)
        new = place[self.owner]
        kept = new.argsort(stable=True)[(new < 0).sum() :].tolist()
        gone = (new < 0).nonzero().flatten().tolist()
        chosen, originals = rows.tolist(), self.originals or self.captions
        return Batch(
            images=self.images[rows],
            captions=tuple(self.captions[c] for c in kept),
            owner=new[kept],
            image_ids=tuple(self.image_ids[i] for i in chosen),
            caption_ids=tuple(self.caption_ids[c] for c in kept),
            truth=tuple(self.truth[i] for i in chosen) if self.truth else (),
            gallery=self.gallery + tuple(originals[c] for c in gone),  # behind the classes: labels stay
            labels=None if self.labels is None else self.labels[rows],
            targets=tuple(self.targets[i] for i in chosen) if self.targets else (),
            originals=tuple(self.originals[c] for c in kept) if self.originals else (),
        )

    def put(self, rows: Int[Tensor, " r"], part: Batch) -> Batch:
        """This batch with images `rows`, their captions and outcomes as `part` has them, which `take` gave."""
        edited = dict(zip(part.caption_ids, part.captions))
        captions = tuple(edited.get(i, caption) for i, caption in zip(self.caption_ids, self.captions))
        outcome = self.outcome
        if outcome is not None and part.outcome is not None:
            outcome = outcome.put(rows, part.outcome)
        images = self.images.index_copy(0, rows, part.images)
        originals = self.originals or (self.captions if captions != self.captions else ())
        return replace(self, images=images, captions=captions, originals=originals, outcome=outcome)
