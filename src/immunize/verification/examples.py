"""Pairs of one image and one text: as they are, wrongly paired, shifted without malice, or attacked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Generator, Tensor

from immunize.attacks.text.typos import typos
from immunize.batch import Batch
from immunize.data.loader import Pairs
from immunize.models import DualEncoder
from immunize.models.encode import encode_captions
from immunize.models.remembering import Remembering
from immunize.rng import draw_seed, keys, normal, uniform
from immunize.serving.jpeg import hard


@dataclass(frozen=True, slots=True)
class Examples:
    """`images[i]` in 0..255 with `texts[i]`; `fooled[i]`: an attack's own verdict on it, False where there was none."""

    images: UInt8[Tensor, "n 3 h w"]
    texts: tuple[str, ...]
    image_ids: tuple[str, ...]
    truth: tuple[str | None, ...]
    fooled: Bool[Tensor, " n"]

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def pixels(self) -> Float[Tensor, "n 3 h w"]:
        """The images in [0, 1]."""
        return self.images.float() / 255

    def take(self, rows: Int[Tensor, " r"]) -> Examples:
        """Examples `rows`, in that order."""
        chosen = rows.tolist()
        picked = {name: tuple(getattr(self, name)[i] for i in chosen) for name in ("texts", "image_ids", "truth")}
        return Examples(images=self.images[rows], fooled=self.fooled[rows], **picked)


def of(pairs: Pairs) -> Examples:
    """Each image with its first caption: pairs of different images can be exchanged, captions of one image cannot."""
    first = torch.searchsorted(pairs.owner, torch.arange(len(pairs))).tolist()
    none = torch.zeros(len(pairs), dtype=torch.bool)
    return Examples(pairs.images, tuple(pairs.captions[c] for c in first), pairs.image_ids, pairs.truth, none)


def mismatched(examples: Examples) -> Examples:
    """Each image with the text of the image half the examples away: wrong captions, and nobody's attack."""
    count = len(examples)
    return replace(examples, texts=tuple(examples.texts[(i + count // 2) % count] for i in range(count)))


def confusable(model: DualEncoder, examples: Examples) -> Examples:
    """Each image with the other text that is nearest to its own in the model's eyes: a hard wrong caption, if it is wrong."""
    text = encode_captions(model, examples.texts).cpu()
    same = torch.tensor([[a == b for a in examples.texts] for b in examples.texts])
    nearest = (text @ text.T).masked_fill(same, -torch.inf).argmax(dim=1).tolist()
    return replace(examples, texts=tuple(examples.texts[i] for i in nearest))


def noisy(examples: Examples, sigma: float, seed: int) -> Examples:
    """round(x + sigma n), n standard normal by image id; sigma in pixels of [0, 1]."""
    shape = examples.images.shape
    noise = normal(seed, keys(examples.image_ids), shape[1:].numel()).view(shape)
    return replace(examples, images=((examples.pixels + sigma * noise).clamp(0, 1) * 255).round().byte())


def compressed(examples: Examples, quality: int) -> Examples:
    """The images after JPEG."""
    return replace(examples, images=(hard(examples.pixels, quality) * 255).round().byte())


def mistyped(examples: Examples, seed: int) -> Examples:
    """One word of each text misspelled, which and how by image id: no model was asked."""
    draws = uniform(seed, keys(examples.image_ids), 2).tolist()
    return replace(examples, texts=tuple(_mistyped(text, *draw) for text, draw in zip(examples.texts, draws)))


def _mistyped(text: str, where: float, how: float) -> str:
    words = text.split()
    able = [i for i, word in enumerate(words) if typos(word)]
    if not able:
        return text
    i = able[int(where * len(able))]
    ring = typos(words[i])
    return " ".join([*words[:i], ring[int(how * len(ring))], *words[i + 1 :]])


def attacked(
    model: DualEncoder, attack: Any, examples: Examples, rng: Generator, block: int = 100, first: int | None = None
) -> Examples:
    """What the attack makes of the `first` examples (null: of each), all texts being the gallery; images rounded to 8 bits.

    The target of a targeted attack is the text of the image half the examples away.
    """
    model, seed = Remembering(model), draw_seed(rng)
    chosen = torch.arange(len(examples))[:first]
    made = [_attacked(model, attack, examples, rows, seed) for rows in chosen.split(block)]
    return replace(
        examples.take(chosen),
        images=torch.cat([(one.images * 255).round().byte().cpu() for one in made]),
        texts=tuple(text for one in made for text in one.captions),
        fooled=torch.cat([_success(one) for one in made]),
    )


def _attacked(model: DualEncoder, attack: Any, examples: Examples, rows: Int[Tensor, " r"], seed: int) -> Batch:
    part, inside = examples.take(rows), set(rows.tolist())
    wanted = mismatched(examples).texts
    batch = Batch(
        images=part.pixels,
        captions=part.texts,
        owner=torch.arange(len(part)),
        image_ids=part.image_ids,
        caption_ids=part.image_ids,
        truth=part.truth,
        gallery=tuple(text for i, text in enumerate(examples.texts) if i not in inside),
        targets=tuple(wanted[i] for i in rows.tolist()),
    )
    return attack(model, batch.to(model.device), Generator().manual_seed(seed))


def _success(batch: Batch) -> Bool[Tensor, " n"]:
    return batch.outcome.success.cpu() if batch.outcome else torch.zeros(len(batch), dtype=torch.bool)


def joined(several: Sequence[Examples]) -> Examples:
    """One after the other."""
    return Examples(
        images=torch.cat([one.images for one in several]),
        texts=tuple(text for one in several for text in one.texts),
        image_ids=tuple(i for one in several for i in one.image_ids),
        truth=tuple(t for one in several for t in one.truth),
        fooled=torch.cat([one.fooled for one in several]),
    )
