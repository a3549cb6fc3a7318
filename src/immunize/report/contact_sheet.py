"""Attacked images as they stand in memory, on one sheet: clean, adversarial, the difference magnified, the texts."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from jaxtyping import UInt8
from PIL import Image, ImageOps
from torch import Tensor

from immunize.data.loader import Pairs
from immunize.evaluation.classification import Classification
from immunize.evaluation.results import Result
from immunize.evaluation.suite import Attacked
from immunize.report import picture
from immunize.report.gallery import Example, Pixels, changes


def write(shown: list[Example], path: Path) -> None:
    """The examples as an opaque PNG."""
    with TemporaryDirectory() as folder:
        picture.write(shown, Path(folder) / path.name)
        with Image.open(Path(folder) / path.name) as sheet:
            ground = Image.new("RGBA", sheet.size, "white")  # a viewer's ground may be dark, and the ink is
            opaque = Image.alpha_composite(ground, sheet.convert("RGBA")).convert("RGB")
    ImageOps.expand(opaque, border=24, fill="white").save(path, optimize=True)


def of_pairs(attacked: Attacked, before: Result, after: Result, count: int = 5) -> list[Example]:
    """`count` images evenly spaced through the pairs; places are those of the two results."""
    return [_pair(attacked, before, after, i) for i in _spaced(attacked.count, count)]


def of_classes(pairs: Pairs, moved: UInt8[Tensor, "n 3 h w"], said: Classification, count: int = 5) -> list[Example]:
    """`count` images evenly spaced, with the class that the model sees before and after."""
    examples = []
    for i in _spaced(len(pairs), count):
        old, new = changes(said.classes[said.clean[i]], said.classes[said.robust[i]])
        places = (said.place_clean[i] + 1, said.place_robust[i] + 1)
        examples.append(
            Example(pairs.image_ids[i], _pixels(pairs.images[i]), _pixels(moved[i]), old, new, places, None)
        )
    return examples


def _spaced(total: int, count: int) -> list[int]:
    return list(range(0, total, max(total // count, 1)))[:count]


def _pair(attacked: Attacked, before: Result, after: Result, image: int) -> Example:
    """Image number `image` with its first caption that was changed, or with its first."""
    clean, pairs = attacked.clean, attacked.pairs
    own = [c for c, owner in enumerate(clean.owner.tolist()) if owner == image]
    caption = next((c for c in own if clean.captions[c] != pairs.captions[c]), own[0])
    old, new = changes(clean.captions[caption], pairs.captions[caption])
    return Example(
        image_id=clean.image_ids[image],
        clean=_pixels(clean.images[image]),
        adversarial=_pixels(pairs.images[image]),
        before=old,
        after=new,
        image_place=(before.image_rank[image] + 1, after.image_rank[image] + 1),
        caption_place=(before.caption_rank[caption] + 1, after.caption_rank[caption] + 1),
    )


def _pixels(image: UInt8[Tensor, "3 h w"]) -> Pixels:
    return image.permute(1, 2, 0).numpy()
