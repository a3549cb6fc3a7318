"""Attacked pairs as they stand in memory, on one sheet: clean, adversarial, the difference magnified, both captions."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image, ImageOps

from immunize.evaluation.results import Result
from immunize.evaluation.suite import Attacked
from immunize.report import picture
from immunize.report.gallery import Example, changes


def write(attacked: Attacked, before: Result, after: Result, path: Path, count: int = 5) -> None:
    """`count` images evenly spaced through the pairs, as an opaque PNG; places are those of the two results."""
    step = max(attacked.count // count, 1)
    shown = [_example(attacked, before, after, i) for i in list(range(0, attacked.count, step))[:count]]
    with TemporaryDirectory() as folder:
        picture.write(shown, Path(folder) / path.name)
        with Image.open(Path(folder) / path.name) as sheet:
            ground = Image.new("RGBA", sheet.size, "white")  # a viewer's ground may be dark, and the ink is
            opaque = Image.alpha_composite(ground, sheet.convert("RGBA")).convert("RGB")
    ImageOps.expand(opaque, border=24, fill="white").save(path, optimize=True)


def _example(attacked: Attacked, before: Result, after: Result, image: int) -> Example:
    """Image number `image` with its first caption that was changed, or with its first."""
    clean, pairs = attacked.clean, attacked.pairs
    own = [c for c, owner in enumerate(clean.owner.tolist()) if owner == image]
    caption = next((c for c in own if clean.captions[c] != pairs.captions[c]), own[0])
    old, new = changes(clean.captions[caption], pairs.captions[caption])
    return Example(
        image_id=clean.image_ids[image],
        clean=clean.images[image].permute(1, 2, 0).numpy(),
        adversarial=pairs.images[image].permute(1, 2, 0).numpy(),
        before=old,
        after=new,
        image_place=(before.image_rank[image] + 1, after.image_rank[image] + 1),
        caption_place=(before.caption_rank[caption] + 1, after.caption_rank[caption] + 1),
    )
