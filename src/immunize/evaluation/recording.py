"""An attacked set as the record that is written: one entry an attacked image and a caption of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from immunize.config import dump
from immunize.evaluation.blocks import Claims
from immunize.evaluation.results import Flag, Result
from immunize.evaluation.suite import Attacked


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What a result is about: the names and hashes that go into its file."""

    preset: str
    defense: str
    model_hash: str
    device: str


def result(attacked: Attacked, subject: Subject, seed: int, flags: list[Flag]) -> Result:
    """The record of one attack on one model, scored after the images were rounded to 8 bits."""
    before, after, images, captions = attacked.clean, attacked.pairs, attacked.count, attacked.captions
    change = (after.images[:images].int() - before.images[:images].int()).abs().flatten(1).amax(dim=1) / 255
    changed = [_changed_words(old, new) for old, new in zip(before.captions[:captions], after.captions)]
    unchanged = {"captions_unchanged": changed.count(0), "images_unchanged": int((change == 0).sum())}
    return Result(
        preset=subject.preset,
        defense=subject.defense,
        attack=attacked.name,
        config={} if attacked.attack is None else dump(attacked.attack),
        seed=seed,
        data_hash=before.hash(),
        model_hash=subject.model_hash,
        image_ids=list(before.image_ids[:images]),
        caption_ids=list(before.caption_ids[:captions]),
        owner=before.owner[:captions].tolist(),
        image_rank=attacked.after.ranks.image[:images].tolist(),
        caption_rank=attacked.after.ranks.caption[:captions].tolist(),
        similarity=_rounded(attacked.after.similarity[:captions]),
        linf=_rounded(change),
        changed_words=changed,
        **_spent(attacked.claims),
        counts=unchanged | _counts(attacked.claims),
        flags=flags,
        seconds=round(attacked.seconds, 3),
        device=subject.device,
    )


def _spent(claims: Claims | None) -> dict[str, Any]:
    names = ("success", "forwards", "backwards", "texts")
    return {name: [] if claims is None else getattr(claims.outcome, name).tolist() for name in names}


def _counts(claims: Claims | None) -> dict[str, int]:
    """Candidates refused, by reason, and the images that rounding gave back to the model."""
    if claims is None:
        return {}
    undone = int(((claims.exact > 0) & (claims.rounded <= 0)).sum())
    return {reason: int(count.sum()) for reason, count in claims.outcome.rejected.items()} | {
        "undone_by_rounding": undone
    }


def _rounded(values: Tensor) -> list[float]:
    return [round(value, 6) for value in values.tolist()]


def _changed_words(before: str, after: str) -> int:
    return sum(old != new for old, new in zip(before.split(), after.split(), strict=True))
