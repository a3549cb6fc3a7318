"""What an augmentation is worth before anything is trained on it: alignment, diversity, distribution gap."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor

from immunize.data.augmentation import Derived, only
from immunize.data.loader import Pairs
from immunize.metrics.alignment import cosine, true_share
from immunize.metrics.diversity import distinct, spread
from immunize.metrics.frechet import frechet_gap
from immunize.models import DualEncoder
from immunize.models.encode import encode_captions, encode_images

FEWEST = 32  # items with something new: with fewer a random half may hold too few for a covariance


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """None is: does not apply, or cannot be known.

    alignment: mean cosine of the new pairs over that of the given ones, where that is positive. exact_alignment: percent of
    the new captions that are true of their image. *_diversity: mean distance (1 - cosine) within an item, the given one
    included; distinct_2: distinct bigrams over bigrams there. *_gap: `frechet_gap` from the given. original: percent of
    the pairs that training draws that are given ones. images, captions: how many are new.
    """

    alignment: float | None
    exact_alignment: float | None
    text_diversity: float | None
    image_diversity: float | None
    distinct_2: float | None
    text_gap: float | None
    image_gap: float | None
    original: float
    images: int
    captions: int


def measure(model: DualEncoder, given: Pairs, new: Derived, *, rng: Generator, sample: int) -> Measures:
    """All measures, on `sample` random items: a given image, its captions and what was made from them."""
    old = given.batch(torch.randperm(len(given), generator=rng)[:sample].sort().values).to(model.device)
    place = {image_id: row for row, image_id in enumerate(old.image_ids)}
    part = only(new, [i for i, origin in enumerate(new.image_from) if origin in place])
    item = torch.tensor([place[origin] for origin in part.image_from], dtype=torch.int64)
    redrawn = part.pairs.image_ids != old.image_ids
    f_old, g_old = encode_images(model, old.images).cpu(), encode_captions(model, old.captions).cpu()
    f_new = (
        encode_images(model, part.pairs.images.to(model.device)).cpu() if redrawn and len(part.pairs) else f_old[item]
    )
    g_new = encode_captions(model, part.pairs.captions).cpu() if part.pairs.captions else g_old[:0]
    before, after = cosine(f_old, g_old, old.owner.cpu()), cosine(f_new, g_new, part.pairs.owner)
    exact = true_share(part.pairs.captions, part.pairs.owner.tolist(), part.pairs.truth) if part.known else None
    told = item[part.pairs.owner]
    unsaid = _unsaid(part.pairs.captions, told.tolist(), old.captions, old.owner.tolist())
    said = [*old.captions, *(part.pairs.captions[c] for c in unsaid)]
    said_of = torch.cat([old.owner.cpu(), told[unsaid]])
    texts = (torch.cat([g_old, g_new[unsaid]]), said_of) if unsaid else None
    images = (torch.cat([f_old, f_new]), torch.cat([torch.arange(len(old)), item])) if redrawn and len(item) else None
    return Measures(
        alignment=None if before is None or after is None or before <= 0 else after / before,
        exact_alignment=exact,
        text_diversity=None if texts is None else spread(*texts),
        image_diversity=None if images is None else spread(*images),
        distinct_2=None if texts is None else distinct(said, said_of.tolist()),
        text_gap=None if texts is None else _gap(*texts, len(old.captions), rng),
        image_gap=None if images is None else _gap(*images, len(old), rng),
        original=100.0 * share_of_given(given, new),
        images=len(new.pairs) if new.pairs.image_ids != given.image_ids else 0,
        captions=len(new.pairs.captions),
    )


def share_of_given(given: Pairs, new: Derived) -> float:
    """The probability that training, which draws an item, one of its images and a caption of that, draws a given pair."""
    if new.pairs.image_ids == given.image_ids:
        old = torch.bincount(given.owner, minlength=len(given)).double()
        return float((old / (old + torch.bincount(new.pairs.owner, minlength=len(given)))).mean())
    made = Counter(new.image_from)
    return fmean(1 / (1 + made[image_id]) for image_id in given.image_ids)


def _unsaid(new: Sequence[str], of: Sequence[int], old: Sequence[str], owner: Sequence[int]) -> list[int]:
    """The new captions that are not said of their item already: a copy of a caption is no variant of it."""
    said = set(zip(owner, old, strict=True))
    first = {pair: c for c, pair in reversed(list(enumerate(zip(of, new, strict=True))))}
    return sorted(c for pair, c in first.items() if pair not in said)


def _gap(embedded: Float[Tensor, "n d"], owner: Int[Tensor, " n"], old: int, rng: Generator) -> float | None:
    """The gap from the first `old` embeddings to the others; None for too few items to halve."""
    if int((torch.bincount(owner[old:]) > 0).sum()) < FEWEST:
        return None
    return frechet_gap(embedded[old:], owner[old:], embedded[:old], owner[:old], rng=rng)
