"""Zero-shot classification under attack: each image before the prompts of the classes, and no caption."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from immunize.attacks import Attack
from immunize.attacks.compose import modalities
from immunize.batch import Batch
from immunize.config import dump, frozen
from immunize.data.loader import Pairs
from immunize.evaluation.blocks import Found, attacked, gathered
from immunize.evaluation.results import SCHEMA
from immunize.models import DualEncoder
from immunize.models.encode import encode_captions, encode_images

Truth = Literal["given", "clean prediction"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Classes:
    """`labels[i]` is the prompt of image i, given with it or (`truth`) what the model says of the clean image.

    `targets[i]`: what a targeted attack is to make of it.
    """

    prompts: tuple[str, ...]
    labels: Int[Tensor, " n"]
    truth: Truth
    targets: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, model: DualEncoder, images: UInt8[Tensor, "n 3 h w"], prompts: tuple[str, ...], labels: Tensor | None
    ) -> Classes:
        """The classes of `images`; without `labels` the model's own answers are taken for the truth."""
        if labels is not None:
            return cls(prompts=prompts, labels=labels, truth="given")
        answers = places(model, images, prompts).argmin(dim=1)
        return cls(prompts=prompts, labels=answers, truth="clean prediction")


@frozen
class Classification:
    """Top-1 accuracy in percent, and per image: `label`, `clean` and `robust`, the class before and after the attack.

    `place_clean` and `place_robust`: how many classes come before the right one.
    `linf` after 8-bit quantization; `success`, `forwards`, `backwards` and `texts` as the attack says. `truth`: where the
    labels are from; if from the clean prediction, `accuracy_clean` is 100 by definition.
    """

    attack: str
    config: dict[str, Any]
    seed: int
    data_hash: str
    model_hash: str
    classes: list[str]
    truth: Truth
    accuracy_clean: float
    accuracy_robust: float
    image_ids: list[str]
    label: list[int]
    clean: list[int]
    robust: list[int]
    place_clean: list[int]
    place_robust: list[int]
    linf: list[float]
    success: list[bool]
    forwards: list[int]
    backwards: list[int]
    texts: list[int]
    seconds: float
    device: str
    schema: int = SCHEMA


def classified(
    model: DualEncoder, attack: Attack, pairs: Pairs, classes: Classes, seed: int, block: int = 100
) -> Found:
    """The images after the attack, rounded to 8 bits; raises ValueError for an attack on captions, which there are none."""
    if "captions" in modalities(attack):
        raise ValueError(
            f"{attack.kind} changes captions, and a class has a prompt that is given; attack the image alone"
        )
    name, batches = attack.kind, _batches(pairs, classes, block)
    found = (one for batch in batches for one in attacked(model, {name: attack}, batch, seed))
    return gathered(found, [name], len(pairs))[name]


def record(
    model: DualEncoder, attack: Attack, pairs: Pairs, classes: Classes, found: Found, *, seed: int, model_hash: str
) -> Classification:
    """What the attack did to each image and to the accuracy."""
    before, after = (places(model, x, classes.prompts) for x in (pairs.images, found.images))
    clean, robust = before.argmin(dim=1), after.argmin(dim=1)
    change = (found.images.int() - pairs.images.int()).abs().flatten(1).amax(dim=1) / 255
    said = None if found.claims is None else found.claims.outcome
    return Classification(
        attack=attack.kind,
        config=dump(attack),
        seed=seed,
        data_hash=pairs.hash(),
        model_hash=model_hash,
        classes=list(classes.prompts),
        truth=classes.truth,
        accuracy_clean=_accuracy(clean, classes),
        accuracy_robust=_accuracy(robust, classes),
        image_ids=list(pairs.image_ids),
        label=classes.labels.tolist(),
        clean=clean.tolist(),
        robust=robust.tolist(),
        place_clean=before.gather(1, classes.labels[:, None])[:, 0].tolist(),
        place_robust=after.gather(1, classes.labels[:, None])[:, 0].tolist(),
        linf=[round(value, 6) for value in change.tolist()],
        **{
            name: [] if said is None else getattr(said, name).tolist()
            for name in ("success", "forwards", "backwards", "texts")
        },
        seconds=round(found.seconds, 3),
        device=str(model.device),
    )


def places(model: DualEncoder, images: UInt8[Tensor, "n 3 h w"], prompts: tuple[str, ...]) -> Int[Tensor, "n k"]:
    """The place of each prompt for each image, 0 for the nearest; of equals the first."""
    cosine = encode_images(model, images.to(model.device)).double() @ encode_captions(model, prompts).double().T
    return cosine.argsort(dim=1, descending=True, stable=True).argsort(dim=1).cpu()


def _batches(pairs: Pairs, classes: Classes, block: int) -> Iterator[Batch]:
    for index in torch.arange(len(pairs)).split(block):
        yield Batch(
            images=pairs.images[index].float() / 255,
            captions=(),
            owner=torch.empty(0, dtype=torch.int64),
            image_ids=tuple(pairs.image_ids[i] for i in index.tolist()),
            caption_ids=(),
            gallery=classes.prompts,
            labels=classes.labels[index],
            targets=tuple(classes.targets[i] for i in index.tolist()) if classes.targets else (),
        )


def _accuracy(answers: Int[Tensor, " n"], classes: Classes) -> float:
    return round(100 * (answers == classes.labels).double().mean().item(), 2)
