"""Models x serving defenses x attack regimes -> payoffs: every pair is encoded once under each, and never again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from immunize.adaptation.payoffs import Payoffs, weight
from immunize.batch import Batch, Embedding
from immunize.data.loader import Pairs
from immunize.models import DualEncoder
from immunize.models.encode import encode_captions, encode_images
from immunize.objectives import Bank, cross_entropy, fooled

Traffic = Pairs | Batch
Evidence = Callable[[Tensor, Sequence[str]], Float[Tensor, "n f"]]  # images in [0, 1] and a caption each -> features


@runtime_checkable
class Serving(Protocol):
    """A serving-time defense."""

    def around(self, model: DualEncoder) -> DualEncoder: ...


@dataclass(frozen=True, slots=True)
class Under:
    """What one action makes of all pairs of one regime."""

    consistency: Float[Tensor, " n"]
    received: Float[Tensor, " n"]
    adversarial: Float[Tensor, " n"]
    correct: Float[Tensor, " n"]
    mismatched: float
    milliseconds: float


@dataclass(frozen=True, slots=True)
class Clean:
    """The clean pairs after one action: what everything received is ranked against, at one temperature for all."""

    image: Embedding
    text: Float[Tensor, "c d"]
    owner: Int[Tensor, " c"]
    scale: Float[Tensor, ""]


def served(models: Mapping[str, DualEncoder], defenses: Mapping[str, Serving]) -> dict[str, DualEncoder]:
    """Each model within each defense, named `<model> <defense>`: the actions."""
    return {f"{m} {d}": defense.around(model) for m, model in models.items() for d, defense in defenses.items()}


@torch.no_grad()
def fill(
    actions: Mapping[str, DualEncoder],
    regimes: Mapping[str, Traffic],
    evidence: Evidence,
    names: Sequence[str],
    *,
    clean: str = "clean",
    clip: float = 10.0,
    block: int = 256,
) -> Payoffs:
    """One item an image, with its first caption; `regimes` are the same pairs as received, `clean` among them as they were.

    R_true takes the clean caption: an edited one enters it through L_adversarial alone, which is the mean of InfoNCE of the
    image received among all clean captions and of the caption received among all clean images, both after the action,
    clipped at `clip` nats. Its temperature is the first action's for all: no action is to be paid for its temperature.
    correct: share of these two answers that are right. latency: measured here. alpha: `payoffs.weight`.
    Raises ValueError for a regime of other images, or evidence of another width than `names`.
    """
    first = _first(regimes, clean)
    scale = next(iter(actions.values())).logit_scale.detach()
    grid: list[list[Under]] = [[] for _ in regimes]
    for model in actions.values():
        bank = _clean(model, regimes[clean], scale, block)
        for row, traffic in zip(grid, regimes.values()):
            row.append(_under(model, traffic, bank, first, clip, block))
    features = np.stack([_features(t, first, evidence, len(names), block) for t in regimes.values()], axis=1)

    def cube(name: str) -> Float[np.ndarray, "n z a"]:
        rows = [torch.stack([getattr(one, name) for one in row], dim=-1) for row in grid]
        return torch.stack(rows, dim=1).double().cpu().numpy()

    consistency, adversarial = cube("consistency"), cube("adversarial")
    return Payoffs(
        consistency=consistency,
        received=cube("received"),
        adversarial=adversarial,
        correct=cube("correct"),
        mismatched=np.array([[one.mismatched for one in row] for row in grid]),
        latency=np.array([[one.milliseconds for one in row] for row in grid]).mean(axis=0),
        features=features,
        regimes=tuple(regimes),
        actions=tuple(actions),
        names=tuple(names),
        alpha=weight(consistency, adversarial),
    )


def _first(regimes: Mapping[str, Traffic], clean: str) -> Int[Tensor, " n"]:
    """The first caption of each image; every regime is checked to be about the same images and captions."""
    if clean not in regimes:
        raise ValueError(f"payoffs: no regime {clean!r} to take true captions from; here are {list(regimes)}")
    whole = regimes[clean]
    for name, traffic in regimes.items():
        if (traffic.image_ids, traffic.caption_ids) != (whole.image_ids, whole.caption_ids):
            raise ValueError(f"payoffs: regime {name!r} is of other images or captions than {clean!r}")
    owner = whole.owner.cpu()
    order = owner.argsort(stable=True)
    first = torch.searchsorted(owner[order], torch.arange(len(whole)))
    if len(owner.unique()) < len(whole):
        raise ValueError("payoffs: an image has no caption; leave it out")
    return order[first]


def _clean(model: DualEncoder, traffic: Traffic, scale: Tensor, block: int) -> Clean:
    text = encode_captions(model, traffic.captions)
    return Clean(_images(model, traffic, block), text.float(), traffic.owner.to(text.device), scale.to(text.device))


def _under(
    model: DualEncoder, traffic: Traffic, clean: Clean, first: Int[Tensor, " n"], clip: float, block: int
) -> Under:
    start = perf_counter()
    image = _images(model, traffic, block)
    text = encode_captions(model, [traffic.captions[c] for c in first.tolist()]).float()
    if image.is_cuda:
        torch.cuda.synchronize()
    seconds = perf_counter() - start
    true, n = clean.text[first.to(text.device)], len(image)
    parts = [
        _judged(image[rows], text[rows], clean, rows) for rows in torch.arange(n, device=image.device).split(block)
    ]
    loss, correct = (torch.cat(part) for part in zip(*parts))
    own = (image[clean.owner] * clean.text).sum()
    others = (image.sum(dim=0) @ clean.text.sum(dim=0) - own) / max((n - 1) * len(clean.text), 1)
    return Under(
        consistency=(image - true).square().sum(dim=1).cpu(),
        received=(image - text).square().sum(dim=1).cpu(),
        adversarial=loss.clamp(max=clip).cpu(),
        correct=correct.cpu(),
        mismatched=float(others),
        milliseconds=1000 * seconds / n,
    )


def _judged(
    image: Embedding, text: Embedding, clean: Clean, rows: Int[Tensor, " b"]
) -> tuple[Float[Tensor, " b"], Float[Tensor, " b"]]:
    """(loss, share right) of some pairs, in both directions."""
    loss, wrong = torch.zeros(len(rows), device=rows.device), torch.zeros(len(rows), device=rows.device)
    index = torch.arange(len(clean.image), device=rows.device)
    sides: list[tuple[Embedding, Embedding, Bool[Tensor, "b k"]]] = [
        (image, clean.text, rows[:, None] == clean.owner),
        (text, clean.image, rows[:, None] == index),
    ]
    for query, answers, own in sides:
        bank = Bank(answers, own, clean.scale)
        loss += cross_entropy(query, bank) / 2
        wrong += fooled(bank.logits(query), bank).float() / 2
    return loss, 1 - wrong


def _images(model: DualEncoder, traffic: Traffic, block: int) -> Embedding:
    """Embeddings of all images, moved to the model a block at a time."""
    return torch.cat([encode_images(model, part.to(model.device)) for part in traffic.images.split(block)]).float()


def _features(
    traffic: Traffic, first: Int[Tensor, " n"], evidence: Evidence, width: int, block: int
) -> Float[np.ndarray, "n f"]:
    scale = 255.0 if traffic.images.dtype == torch.uint8 else 1.0
    parts = []
    for rows in torch.arange(len(traffic)).split(block):
        captions = [traffic.captions[c] for c in first[rows].tolist()]
        parts.append(evidence(traffic.images[rows].float() / scale, captions).double().cpu())
    found = torch.cat(parts)
    if found.shape[1] != width:
        raise ValueError(f"payoffs: evidence gives {found.shape[1]} features, and {width} names were given")
    return found.numpy()
