"""Stage `captioner`: a small captioner behind the pretrained vision tower, for the augmentation `caption`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field

from immunize import models
from immunize.config import frozen, load, preset
from immunize.data.augmentation import sparse
from immunize.data.loader import Pairs
from immunize.models.memory import keep_freed
from immunize.models.prefix_captioner import PrefixCaptioner
from immunize.models.prefix_decoder import Size
from immunize.models.teacher_forcing import fit
from immunize.progress import watch

Count = Annotated[int, Field(ge=1)]


@frozen
class Params:
    """A decoder of `size`, trained on the first `captions` captions (null: all) of the first `images` training images.

    The same `captions` and `images` as in `augment` train it on no more than the pairs that it is to add to. `p` and
    `temperature`: how it is sampled from. 0 steps: no captioner, for presets that use none.
    """

    steps: Annotated[int, Field(ge=0)] = 0
    size: Size = Size()
    captions: Count | None = 1
    images: Count | None = None
    batch: Annotated[int, Field(ge=1)] = 128
    lr: Annotated[float, Field(gt=0)] = 2e-3
    p: Annotated[float, Field(ge=0, le=1)] = 0.9
    temperature: Annotated[float, Field(gt=0)] = 1.0
    seed: int = 0


def make(params: Params, clip: models.Clip, pairs: Pairs) -> tuple[PrefixCaptioner, list[dict[str, int | float]]]:
    """The captioner that the section `captioner` describes, and the records of its training."""
    with torch.random.fork_rng():
        torch.manual_seed(params.seed)
        made = PrefixCaptioner(clip, params.size, p=params.p, temperature=params.temperature)
    told = list(zip(pairs.owner.tolist(), pairs.captions, strict=True))
    records = fit(made, pairs.images, told, steps=params.steps, batch=params.batch, lr=params.lr, seed=params.seed)
    return made, list(watch(records, params.steps, "captioner"))


def main() -> None:
    params, folder = load("captioner", Params), Path("models") / preset()
    records: list[dict[str, int | float]] = []
    (folder / "captioner").mkdir(parents=True, exist_ok=True)
    if params.steps:
        pairs, _ = sparse(Pairs.read(Path("data") / preset() / "collect", "train", params.images), params.captions)
        made, records = make(params, models.load(folder / "pretrain"), pairs)
        made.save(folder / "captioner")
    (folder / "captioner" / "log.json").write_text(json.dumps(records, indent=0) + "\n")


if __name__ == "__main__":
    keep_freed()
    main()
