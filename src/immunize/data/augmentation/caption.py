"""Captions made from the image."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from immunize.config import frozen
from immunize.data.augmentation.material import Derived, Material, missing, reworded
from immunize.data.scenes.grammar import describe
from immunize.data.scenes.world import Scene


@frozen
class Caption:
    """t' ~ p(t | x), image to text: of a scene the grammar, which knows its truth; elsewhere a captioner.

    n: captions an image. weights: a local folder of a captioner, `models/<preset>/captioner` of the stage `captioner` or a
    published one (BLIP and others that transformers loads for image to text); nothing is downloaded. Raises
    ConfigurationError for images without a truth and no weights.
    """

    n: Annotated[int, Field(ge=1)] = 4
    weights: str | None = None
    kind: Literal["caption"] = "caption"

    def __call__(self, given: Material) -> Derived:
        pairs = given.pairs
        scenes = [None if truth is None else Scene.from_json(truth) for truth in pairs.truth]
        if self.weights is None and None in scenes:
            raise missing(self.kind, "these images have no known truth; set `weights` to a local captioner's folder")
        if self.weights is None:
            return reworded(given, self.kind, self.n, lambda i, rng: _say(scenes[i], rng), by_image=True)
        if given.describe is None:
            raise missing(self.kind, "a captioner must be given as `describe`")
        told = [iter(captions) for captions in given.describe(self.weights, pairs.images, self.n, given.seed)]
        return reworded(given, self.kind, self.n, lambda i, rng: next(told[i], None), by_image=True)


def _say(scene: Scene | None, rng: np.random.Generator) -> str | None:
    return None if scene is None else describe(scene, rng)
