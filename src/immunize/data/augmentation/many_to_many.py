"""New captions with new images, at a chosen share of the original pairs."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from math import ceil
from typing import Annotated, Literal

import torch
from pydantic import Field

from immunize.config import frozen
from immunize.data.augmentation.kinds import Image, Text
from immunize.data.augmentation.material import Derived, Material, missing, only
from immunize.data.loader import Pairs
from immunize.rng import keys


@frozen
class ManyToMany:
    """(x', t') beside (x, t), so many that a draw of training is an original pair with probability `original`.

    order: `both` makes x' and t' from (x, t) each on its own and pairs them; `text` makes t' first and x' from t';
    `image` makes x' first and t' from x'. A new pair is new on both sides. Raises ConfigurationError where the
    augmentations make fewer than half of what the share asks for: raise their `n`.
    """

    text: Text
    image: Image
    original: Annotated[float, Field(gt=0, lt=1)] = 0.5
    order: Literal["both", "text", "image"] = "both"
    kind: Literal["many_to_many"] = "many_to_many"

    def __call__(self, given: Material) -> Derived:
        if self.order == "text":
            first = self.text(given)
            new = after(first, self.image(replace(given, pairs=first.pairs)))
        elif self.order == "image":
            first = self.image(given)
            rest = {new: given.rest.get(old, ()) for new, old in zip(first.pairs.image_ids, first.image_from)}
            new = after(first, self.text(replace(given, pairs=first.pairs, rest=rest)))
        else:
            new = joined(self.text(given), self.image(given))
        new = only(new, [i for i, count in enumerate(captions_each(new.pairs)) if count])
        wanted = self._wanted(len(given.pairs))
        if len(new.pairs) < wanted / 2:
            most = ceil(wanted / max(1, len(new.pairs)))
            raise missing(
                self.kind,
                f"original: {self.original} asks for {wanted} new images, {len(new.pairs)} were made; n: {most}",
            )
        return only(new, sorted(spread(new)[:wanted]))

    def _wanted(self, items: int) -> int:
        """Training draws an item, then one of its 1 + k images: k new ones each, and a share of the items one more."""
        each = int(1 / self.original + 1e-9) - 1
        further = (each + 2) * (1 - (each + 1) * self.original)
        return round(items * (each + further))


def captions_each(pairs: Pairs) -> list[int]:
    """How many captions each image has."""
    return torch.bincount(pairs.owner, minlength=len(pairs)).tolist()


def joined(text: Derived, image: Derived) -> Derived:
    """Each new image with all the new captions of the image it was made from."""
    of: dict[str, list[int]] = defaultdict(list)
    for c, owner in enumerate(text.pairs.owner.tolist()):
        of[text.pairs.image_ids[owner]].append(c)
    shown = [(i, c) for i, origin in enumerate(image.image_from) for c in of[origin]]
    pairs = replace(
        image.pairs,
        captions=tuple(text.pairs.captions[c] for _, c in shown),
        caption_ids=tuple(f"{image.pairs.image_ids[i]}#{text.pairs.caption_ids[c]}" for i, c in shown),
        owner=torch.tensor([i for i, _ in shown], dtype=torch.int64),
    )
    return replace(image, pairs=pairs, caption_from=tuple(text.caption_from[c] for _, c in shown))


def after(first: Derived, second: Derived) -> Derived:
    """`second`, made from what `first` made, with the origins that `first` had."""
    images = dict(zip(first.pairs.image_ids, first.image_from))
    texts = dict(zip(first.pairs.caption_ids, first.caption_from)) | images
    return replace(
        second,
        image_from=tuple(images[origin] for origin in second.image_from),
        caption_from=tuple(texts.get(origin, origin) for origin in second.caption_from),
        known=first.known and second.known,
    )


def spread(new: Derived) -> list[int]:
    """The images in an order that takes one of each origin before a second of any, origins by a hash of their ids."""
    seen: Counter[str] = Counter()
    order = []
    for i, (origin, key) in enumerate(zip(new.image_from, keys(new.image_from).tolist())):
        order.append((seen[origin], key, i))
        seen[origin] += 1
    return [i for _, _, i in sorted(order)]
