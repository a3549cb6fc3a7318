"""What speaks for or against a pair: named numbers in groups, differentiable in the images, no loop over them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from immunize.batch import Embedding, Image
from immunize.verification.reference import Reference

NEIGHBORS = 8
TINY = 1e-12
Features = dict[str, Float[Tensor, " n"]]


class Seen(NamedTuple):
    """Image i and text i as one encoder embeds them."""

    image: Embedding
    text: Embedding


def grain(images: Image) -> Features:
    """What second differences leave of the pixels, without any encoder: a perturbation is mostly that.

    r = x * [1 -2 1]' [1 -2 1] / 4 knows no edge along an axis (Ker and Boehme 2008, for steganalysis). mean, loud: logs of
    its mean size and root mean square. below_k: mean of exp(-|r| / k), k in 255ths, a soft share of the quiet pixels.
    right, down, diagonal, color: correlation of r with its neighbors and between its channels. along_*: the second
    difference in one direction, which stripes do not escape. Depends on camera and codec, so noise and JPEG move it too:
    they belong among what a head learns to let pass.
    """
    r, size = grained(images), grained(images).abs() * 255
    by_image = (1, 2, 3)
    power = r.square().mean(dim=by_image) + TINY
    found = {"mean": (size.mean(dim=by_image) + 0.1).log(), "loud": (power * 255**2 + 0.01).log() / 2}
    found |= {f"below_{k}": (-size / k).exp().mean(dim=by_image) for k in (1, 2, 4, 8, 16)}
    products = {
        "right": r[..., 1:] * r[..., :-1],
        "down": r[..., 1:, :] * r[..., :-1, :],
        "diagonal": r[..., 1:, 1:] * r[..., :-1, :-1],
        "color": r[:, 1:] * r[:, :-1],
    }
    count = max(r[0].numel(), 1)  # not the product's own: in one row of pixels nothing has a neighbor below
    found |= {name: product.sum(dim=by_image) / count / power for name, product in products.items()}
    for name, axis in (("rows", -1), ("columns", -2)):
        one = _second(images, axis).abs() * 255 / 2
        found[f"along_{name}"] = (one.mean(dim=by_image) + 0.1).log()
        found |= {f"along_{name}_{k}": (-one / k).exp().mean(dim=by_image) for k in (2, 8)}
    return found


def grained(images: Image) -> Image:
    """x * [1 -2 1]' [1 -2 1] / 4, the edge repeated."""
    return _second(_second(images, -1), -2) / 4


def _second(x: Image, axis: int) -> Image:
    """x[i - 1] - 2 x[i] + x[i + 1] along an axis."""
    count = x.shape[axis]
    place = torch.arange(count, device=x.device)
    before, after = (x.index_select(axis, (place + step).clamp(0, count - 1)) for step in (-1, 1))
    return before - 2 * x + after


def uphill(images: Image, slope: Image) -> Features:
    """Does the grain of the image lie along the slope of the pair's cosine? cos(r, slope), both as `grained`, and over signs.

    Who climbed on the model left his steps in the pixels; noise of the same size did not climb. A matched filter.
    """
    r, g = grained(images), grained(slope)
    by_image = (1, 2, 3)
    product = (r * g).sum(dim=by_image)
    lengths = (r.square().sum(dim=by_image) + 1e-6).sqrt() * (g.square().sum(dim=by_image) + TINY).sqrt()
    steep = g.abs().sum(dim=by_image) + 1e-6
    return {
        "along": product / lengths,
        "signed": product / (steep * (r.abs().amax(dim=by_image) + 1e-4)),
        "reach": product / lengths * r.abs().mean(dim=by_image) * 255,
        "steep": steep.log(),
    }


def alignment(seen: Seen, bank: Reference, scale: Float[Tensor, ""]) -> Features:
    """cos(f_v, f_t), its margin to the best of the bank, and what the softmax over the bank says, in both directions.

    surprise: -log of the pair's own share among itself and the bank. entropy and peak (MSP): of the bank alone.
    """
    cosine = (seen.image * seen.text).sum(dim=1)
    found: Features = {"cosine": cosine}
    for name, query, others in (("texts", seen.image, bank.text), ("images", seen.text, bank.image)):
        cosines = query @ others.T
        logits = scale * cosines
        log = logits.log_softmax(dim=1)
        found |= {
            f"margin_{name}": cosine - cosines.amax(dim=1),
            f"surprise_{name}": torch.logaddexp(logits.logsumexp(dim=1), scale * cosine) - scale * cosine,
            f"entropy_{name}": -(log.exp() * log).sum(dim=1),
            f"peak_{name}": log.amax(dim=1).exp(),
        }
    return found


def branches(answer: Seen, clean: Seen, banks: tuple[Reference, Reference], scales: tuple[Tensor, Tensor]) -> Features:
    """Where the answering model and the clean branch disagree: on the image, the text, the pair and its place in the bank.

    The towers may have drifted apart as a whole, so agreement is also asked after each has been centered on its bank.
    """
    ours, theirs = banks
    found: Features = {
        "images_agree": (answer.image * clean.image).sum(dim=1),
        "texts_agree": (answer.text * clean.text).sum(dim=1),
        "pairs_differ": (clean.image * clean.text).sum(dim=1) - (answer.image * answer.text).sum(dim=1),
    }
    asked = (("image", ours.text, theirs.text), ("text", ours.image, theirs.image))
    for name, mine, other in asked:
        p = (scales[0] * getattr(answer, name) @ mine.T).log_softmax(dim=1)
        q = (scales[1] * getattr(clean, name) @ other.T).log_softmax(dim=1)
        found[f"divergence_{name}"] = jensen_shannon(p, q)
        a, b = (p - p.mean(dim=1, keepdim=True)), (q - q.mean(dim=1, keepdim=True))
        lengths = (a.square().sum(dim=1) * b.square().sum(dim=1) + TINY).sqrt()
        found[f"correlation_{name}"] = (a * b).sum(dim=1) / lengths
    crossed = (("image_clean", answer.image, clean.text), ("clean_text", clean.image, answer.text))
    return found | {f"cosine_{name}": (one * other).sum(dim=1) for name, one, other in crossed}


def jensen_shannon(p: Float[Tensor, "n k"], q: Float[Tensor, "n k"]) -> Float[Tensor, " n"]:
    """(KL(p | m) + KL(q | m)) / 2, m = (p + q) / 2, of log-probabilities; between 0 and log 2."""
    m = torch.logaddexp(p, q) - torch.log(torch.tensor(2.0, device=p.device))
    return ((p.exp() * (p - m)).sum(dim=1) + (q.exp() * (q - m)).sum(dim=1)) / 2


def neighborhood(seen: Seen, bank: Reference) -> Features:
    """How far the pair lies from clean ones, and whether the neighbors of its image speak of the same thing.

    near: mean cosine with the `NEIGHBORS` nearest of the bank. far: Mahalanobis distance. scatter: 1 - length of the mean
    of the neighbors' captions. told: cosine of the text with that mean.
    """
    count = min(NEIGHBORS, len(bank.image))
    image, text = seen.image @ bank.image.T, seen.text @ bank.text.T
    near = image.topk(count, dim=1)
    weight = (near.values / 0.05).softmax(dim=1)
    told = (weight[:, :, None] * bank.text[near.indices]).sum(dim=1)
    return {
        "near_image": near.values.mean(dim=1),
        "near_text": text.topk(count, dim=1).values.mean(dim=1),
        "far_image": bank.near_image.distance(seen.image),
        "far_text": bank.near_text.distance(seen.text),
        "scatter": 1 - (told.square().sum(dim=1) + TINY).sqrt(),
        "told": (told * seen.text).sum(dim=1),
    }


def residual(seen: Seen, bank: Reference) -> Features:
    """r_v = f_v - A f_t and r_t = f_t - B f_v: length and Mahalanobis distance of what one modality does not explain."""
    of_image = seen.image - seen.text @ bank.text_to_image
    of_text = seen.text - seen.image @ bank.image_to_text
    return {
        "length_image": (of_image.square().sum(dim=1) + TINY).sqrt(),
        "length_text": (of_text.square().sum(dim=1) + TINY).sqrt(),
        "off_image": bank.off_image.distance(of_image),
        "off_text": bank.off_text.distance(of_text),
    }


def stability(seen: Seen, moved: Float[Tensor, "v n d"]) -> Features:
    """What weak views change: cos(f_v, f_v(T_j x)), the pair's cosine, and how many directions the changes span.

    kept_j, change_j: of view j alone. rank: (sum l)^2 / sum l^2 of the eigenvalues l of the changes' Gram matrix
    (participation ratio), from 1 to the number of views.
    """
    kept = (moved * seen.image).sum(dim=2)
    change = (moved * seen.text).sum(dim=2) - (seen.image * seen.text).sum(dim=1)
    shift = (moved - seen.image).transpose(0, 1)
    gram = shift @ shift.transpose(1, 2)
    trace = gram.diagonal(dim1=1, dim2=2).sum(dim=1)
    each = {f"kept_{j}": one for j, one in enumerate(kept)} | {f"change_{j}": one for j, one in enumerate(change)}
    return each | {
        "kept": kept.mean(dim=0),
        "least_kept": kept.amin(dim=0),
        "spread": (kept.var(dim=0, unbiased=False) + TINY).sqrt(),
        "cosine_change": change.mean(dim=0),
        "largest_change": change.abs().amax(dim=0),
        "rank": (trace.square() + TINY) / (gram.square().sum(dim=(1, 2)) + TINY),
    }


def tremor(seen: Seen, moved: Float[Tensor, "s n d"], radii: tuple[int, ...]) -> Features:
    """tau = ||f_v(x + noise) - f_v(x)|| at each radius, in 255ths (TTC, arXiv:2503.03613): its sign is left to the heads."""
    lengths = ((moved - seen.image).square().sum(dim=2) + TINY).sqrt()
    return {f"tau_{radius}": length for radius, length in zip(radii, lengths)}


def rewording(seen: Seen, denoised: Embedding, edits: Float[Tensor, " n"]) -> Features:
    """What undoing misspellings changes: cos(f_t, f_t(denoised)), the pair's cosine, and the number of edited words."""
    return {
        "kept": (seen.text * denoised).sum(dim=1),
        "cosine_change": (seen.image * denoised).sum(dim=1) - (seen.image * seen.text).sum(dim=1),
        "edits": edits,
    }


def stacked(groups: Mapping[str, Features]) -> tuple[tuple[str, ...], Float[Tensor, "n f"]]:
    """`group.name` of each number, and the numbers."""
    named = {f"{group}.{name}": value for group, features in groups.items() for name, value in features.items()}
    device = next(iter(named.values())).device
    return tuple(named), torch.stack([value.to(device) for value in named.values()], dim=1)
