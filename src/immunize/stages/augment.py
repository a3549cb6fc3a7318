"""augment: the sparse training pairs of collect -> data/<preset>/augment/<name>, with new captions and images, and measures.

`python -m immunize.stages.augment` makes every augmentation of the preset, `... augment eda crops` those alone.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from immunize import models
from immunize.config import ConfigurationError, frozen, load, preset
from immunize.data.augmentation import Augmentation, Material, sparse, write_pairs
from immunize.data.loader import Pairs
from immunize.metrics.augmentation import measure
from immunize.models import captioner, language, painter

Count = Annotated[int, Field(ge=1)]


@frozen
class Params:
    """`augmentations`: name -> augmentation of the first `images` of the training split, `captions` of each (null: all).

    `sample`: items that the measures look at. The same seed gives the same bytes.
    """

    augmentations: dict[str, Augmentation]
    captions: Count | None = 1
    images: Count | None = None
    sample: Count = 2000
    seed: int = 0


def describe(weights: str, images: Tensor, n: int, seed: int) -> list[tuple[str, ...]]:
    return captioner.load(weights).describe(images, n, seed)


def main(*names: str) -> None:
    params = load("augment", Params)
    if unknown := sorted(set(names) - set(params.augmentations)):
        raise ConfigurationError(f"presets/{preset()}.yaml: augment: augmentations: no {', '.join(unknown)}; there are "
                                 f"{sorted(params.augmentations)}")  # fmt: skip
    data, folder = Path("data") / preset(), Path("models") / preset()
    given, rest = sparse(Pairs.read(data / "collect", "train", params.images), params.captions)
    model = models.load(folder / "pretrain")
    reader = cache(lambda: language.load(str(folder / "language")))

    def propose(captions: Sequence[str], k: int) -> list[language.Substitutes]:
        return reader().substitutes(captions, k)

    material = Material(
        pairs=given, seed=params.seed, rest=rest, propose=propose, describe=describe, paint=painter.paint
    )
    for name in names or params.augmentations:
        new = params.augmentations[name](material)
        rng = torch.Generator().manual_seed(params.seed)
        found = asdict(measure(model, given, new, rng=rng, sample=params.sample))
        measures = {key: round(value, 4) if isinstance(value, float) else value for key, value in found.items()}
        write_pairs(data / "augment" / name, data / "collect", given, new, measures)
        print(name, measures, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
