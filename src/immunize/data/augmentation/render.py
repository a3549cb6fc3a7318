"""Pictures made from the caption."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Literal

import torch
from pydantic import Field

from immunize.config import frozen
from immunize.data.augmentation.material import Derived, Material, missing, stream, with_images
from immunize.data.scenes.depict import depict
from immunize.data.scenes.draw import draw
from immunize.data.shards import to_json


@frozen
class Render:
    """x' ~ p(x | t), text to image: of a scene's caption another scene that it is true of, drawn anew; elsewhere a generator.

    n: pictures of each caption, each with that caption alone. What the caption leaves open (ground, size, place, number)
    is drawn uniformly, texture and jitter always. A caption that no scene of the training split can satisfy gives none.
    weights: a local folder of a text-to-image pipeline of `diffusers`; nothing is downloaded.
    """

    n: Annotated[int, Field(ge=1)] = 2
    weights: str | None = None
    kind: Literal["render"] = "render"

    def __call__(self, given: Material) -> Derived:
        if self.weights is not None:
            return self._painted(given, self.weights)
        if None in given.pairs.truth:
            raise missing(
                self.kind, "these captions are of no known scenes; set `weights` to a local folder of diffusers"
            )
        pairs, owner = given.pairs, given.pairs.owner.tolist()
        images, rows = [], []
        for c, caption in enumerate(pairs.captions):
            rng = stream(given.seed, f"{self.kind} {pairs.caption_ids[c]}")
            for j in range(self.n):
                scene = depict(caption, "train", rng)
                if scene is not None:
                    images.append(torch.from_numpy(draw(scene, pairs.images.shape[-1], rng)).permute(2, 0, 1))
                    rows.append((self._id(given, c, j), pairs.image_ids[owner[c]], to_json(asdict(scene)), [c]))
        size = pairs.images.shape[1:]
        return with_images(
            pairs, torch.stack(images) if images else torch.empty(0, *size, dtype=torch.uint8), rows, True
        )

    def _painted(self, given: Material, weights: str) -> Derived:
        if given.paint is None:
            raise missing(self.kind, "a generator must be given as `paint`")
        pairs, owner = given.pairs, given.pairs.owner.tolist()
        asked = [(c, j) for c in range(len(pairs.captions)) for j in range(self.n)]
        images = given.paint(weights, [pairs.captions[c] for c, _ in asked], pairs.images.shape[-1], given.seed)
        rows = [(self._id(given, c, j), pairs.image_ids[owner[c]], None, [c]) for c, j in asked]
        return with_images(pairs, images, rows, known=False)

    def _id(self, given: Material, caption: int, j: int) -> str:
        return f"{given.pairs.caption_ids[caption]}~{self.kind}{j}"
