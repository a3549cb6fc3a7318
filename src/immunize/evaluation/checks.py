"""Reasons to distrust a result: each check gives a flag that is stored with it (auto-attack's `checks.py`, extended)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from math import isinf

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from immunize.attacks import PGD, Attack, Noise, parts
from immunize.batch import Batch
from immunize.data.scenes.truth import is_true
from immunize.evaluation.results import Flag
from immunize.evaluation.suite import Attacked
from immunize.metrics.retrieval import recall
from immunize.models import DualEncoder
from immunize.models.encode import encode_captions, encode_images, untouched
from immunize.objectives import away
from immunize.threats import Ball, Edits

HALF_A_LEVEL = 0.5 / 255  # what rounding to 8 bits may add to a perturbation
SURE = 1e-3  # a logit apart: nearer than that, who ranks first may depend on the order of a sum


def distrust(model: DualEncoder, attacked: Attacked, *, images: int, seed: int) -> list[Flag]:
    """The flags of one result: cheap checks over all of it, costly ones over its first `images` images (0: none).

    `ok` false means: do not believe the number before you know why.
    """
    flags = [] if attacked.attack is None else [*_of_outcome(attacked), *_of_claims(attacked)]
    if not images:
        return flags
    probe = attacked.clean.batch(torch.arange(min(images, len(attacked.clean)))).to(model.device)
    flags = [*_of_model(model, probe), *flags]
    pgd = _pgd(attacked.attack)
    if pgd is not None and isinstance(pgd.threat, Ball) and pgd.threat.eps > 0:
        flags += _of_gradients(model, pgd, probe, Generator().manual_seed(seed).get_state)
    return flags


def _of_model(model: DualEncoder, probe: Batch) -> Iterator[Flag]:
    with torch.no_grad():
        once, twice = model.encode_image(probe.images), model.encode_image(probe.images)
    change = float((once - twice).abs().max())
    yield Flag("outputs_fixed", change == 0, change, 0.0, "the same image twice gives the same embedding")
    length = float((once.norm(dim=1) - 1).abs().max())
    yield Flag("unit_norm", length < 1e-3, length, 1e-3, "embeddings have norm 1: no scale hides in them")


def _of_outcome(attacked: Attacked) -> Iterator[Flag]:
    before, after, images, captions = attacked.before.ranks, attacked.after.ranks, attacked.count, attacked.captions
    rise = max(
        recall(after.image[:images], 1) - recall(before.image[:images], 1),
        recall(after.caption[:captions], 1) - recall(before.caption[:captions], 1),
    )
    luck = 100 / images  # one image's worth, in points
    yield Flag("not_above_clean", rise <= luck, rise, luck, "recall under attack does not exceed clean recall (points)")
    threats = _threats(attacked.attack)
    yield from _of_pixels(attacked, [threat for threat in threats if isinstance(threat, Ball)])
    words = max((threat.words for threat in threats if isinstance(threat, Edits)), default=0)
    pairs = zip(attacked.clean.captions, attacked.pairs.captions)
    edits = float(max(sum(a != b for a, b in zip(old.split(), new.split())) for old, new in pairs))
    yield Flag("inside_edits", edits <= words, edits, float(words), "no caption lost more words than the budget")
    if attacked.clean.truth and attacked.clean.truth[0] is not None:
        owner = attacked.clean.owner[:captions].tolist()
        true = [is_true(c, attacked.clean.truth[i]) for c, i in zip(attacked.pairs.captions, owner)]
        share = sum(true) / len(true)
        yield Flag("captions_still_true", share == 1, share, 1.0, "share of captions still true of their scene")
    if words:
        share = _unchanged(attacked)
        meaning = "most captions of images that hold have an allowed edit that hurts (share unchanged)"
        yield Flag("text_attack_acts", share <= 0.5, share, 0.5, meaning)


def _of_pixels(attacked: Attacked, balls: list[Ball]) -> Iterator[Flag]:
    """The distance in the norm of the largest ball, which rounding may add half a level a pixel to."""
    ball = max(balls, key=lambda ball: ball.eps, default=Ball("linf", 0.0))
    if isinf(ball.eps) or any(other.norm != ball.norm for other in balls):
        return
    clean, moved = (pairs.images[: attacked.count].float() / 255 for pairs in (attacked.clean, attacked.pairs))
    slack = {"linf": HALF_A_LEVEL, "l2": HALF_A_LEVEL * clean[0].numel() ** 0.5, "l0": 0.0}[ball.norm]
    far, limit = float(ball.distance(moved, clean).max()), ball.eps + slack
    yield Flag(
        "inside_ball", far <= limit + 1e-5, far, limit, "no image moved further than epsilon, rounding allowed for"
    )


def _of_claims(attacked: Attacked) -> Iterator[Flag]:
    if attacked.claims is None:
        return
    success, margin = attacked.claims.outcome.success, attacked.claims.exact
    wrong = (success != (margin > 0)) & (margin.abs() > SURE)
    share = float(wrong.float().mean())
    yield Flag("claims_hold", share == 0, share, 0.0, "share of images that the attack judges otherwise than the model")


def _unchanged(attacked: Attacked) -> float:
    """The share of captions as they were, among those of images that are not fooled."""
    owner = attacked.clean.owner[: attacked.captions]
    holds = torch.ones(attacked.count, dtype=torch.bool) if attacked.claims is None else attacked.claims.exact <= 0
    pairs = zip(attacked.clean.captions, attacked.pairs.captions, holds[owner].tolist())
    same = [old == new for old, new, hold in pairs if hold]
    return sum(same) / max(len(same), 1)


def _of_gradients(model: DualEncoder, pgd: PGD, probe: Batch, state: Callable[[], Tensor]) -> Iterator[Flag]:
    def after(attack: Attack, batch: Batch = probe) -> Float[Tensor, " b"]:
        rng = Generator()
        rng.set_state(state())
        return _distance(model, attack(model, batch, rng))

    zero = _zero_gradients(model, probe)
    yield Flag("gradients_alive", zero < 0.01, zero, 0.01, "share of images whose gradient is exactly zero")
    plain = replace(pgd, restarts=1, targeted=False)
    reached = after(plain)
    gain = float((reached - after(Noise(threat=pgd.threat))).mean())
    yield Flag("beats_noise", gain > 0, gain, 0.0, "the attack moves pairs further apart than noise of its size")
    loss = float((after(replace(plain, steps=2 * pgd.steps)) - reached).mean())
    yield Flag("more_steps_help", loss > -0.01, loss, -0.01, "twice the steps are not weaker (mean -cos)")
    half = len(probe) // 2
    if half and pgd.objective != "infonce":
        gap = float(
            (after(plain, probe.take(torch.arange(half, device=probe.owner.device))) - reached[:half]).abs().mean()
        )
        yield Flag("batch_size_free", gap < 0.01, gap, 0.01, "the same outcome in a smaller batch (mean -cos)")
    far = after(replace(plain, threat=Ball("linf", 32 / 255), steps=2 * pgd.steps))
    clean = _distance(model, probe)
    rise = float((far - clean).mean())
    yield Flag(
        "huge_epsilon_breaks", rise > 0.3, rise, 0.3, "an epsilon of 32/255 tears pairs apart: gradients lead somewhere"
    )


def _zero_gradients(model: DualEncoder, probe: Batch) -> float:
    with untouched(model):
        x = probe.images.clone().requires_grad_()
        value = away(model.encode_image(x), encode_captions(model, probe.captions), probe.owner, model.logit_scale)
        (gradient,) = torch.autograd.grad(value.sum(), x)
    return (gradient.flatten(1).abs().amax(dim=1) == 0).float().mean().item()


def _distance(model: DualEncoder, batch: Batch) -> Float[Tensor, " b"]:
    """-cos of each image with its captions, on average over them."""
    value = away(
        encode_images(model, batch.images), encode_captions(model, batch.captions), batch.owner, model.logit_scale
    )
    total = torch.zeros(len(batch), device=value.device).index_add(0, batch.owner, value)
    return total / torch.bincount(batch.owner, minlength=len(batch))


def _pgd(attack: Attack | None) -> PGD | None:
    """The projected gradient ascent that the attack is or contains."""
    return next((part for part in parts(attack) if isinstance(part, PGD)), None)


def _threats(attack: Attack | None) -> list[Ball | Edits]:
    """Where the attack and its parts may go."""
    return [part.threat for part in parts(attack) if isinstance(getattr(part, "threat", None), Ball | Edits)]
