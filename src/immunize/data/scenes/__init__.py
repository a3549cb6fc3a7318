"""`scenes`: a captioned world made from a seed, where truth is known exactly."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import field
from typing import Literal

import numpy as np
from PIL import Image

from immunize.config import frozen
from immunize.data.record import Record
from immunize.data.scenes.draw import draw
from immunize.data.scenes.grammar import describe
from immunize.data.scenes.world import Scene, home, imagine


@frozen
class Scenes:
    """Images of one to three objects with true captions; the same seed gives the same bytes.

    No scene is in two splits: which one may hold it is decided by the scene itself. `calibration` alone shares the scenes of
    `validation`, in images and captions of its own, so that having it changes no other split.
    counts: split -> number of images; size: side in pixels; captions: how many an image.
    """

    counts: Mapping[str, int] = field(default_factory=lambda: {"train": 10_000, "validation": 500, "test": 500})
    size: int = 32
    captions: int = 5
    seed: int = 0
    kind: Literal["scenes"] = "scenes"

    def records(self) -> Iterator[Record]:
        order = sorted(
            self.counts, key=lambda split: (split == "calibration", split)
        )  # a later idea, that moves no other
        for which, split in enumerate(order):
            for index in range(self.counts[split]):
                rng = np.random.default_rng([self.seed, which, index])
                scene = _scene_of(split, rng)
                yield Record(
                    image_id=f"{split}-{index:06d}",
                    image=Image.fromarray(draw(scene, self.size, rng)),
                    captions=[describe(scene, rng) for _ in range(self.captions)],
                    split=split,
                    facts={"scene": json.loads(scene.to_json())},
                )


def _scene_of(split: str, rng: np.random.Generator) -> Scene:
    """Drawn anew until the split may hold it."""
    where = "validation" if split == "calibration" else split
    while home(scene := imagine(rng)) != where:
        continue
    return scene
