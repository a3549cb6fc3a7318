"""Reasons to distrust a result beside others of the same model: who sees more may not do worse."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from immunize.evaluation.results import Flag, Result

GRADIENTS = ("pgd", "apgd", "auto")
FEW = 0.02  # share of images, or a single one: fooled by luck

# The result that is examined, by its kind: those that must fool all but FEW of the images it fools, and why.
NO_STRONGER = {
    **dict.fromkeys(
        ("noise", "square", "nes", "spsa", "hop_skip_jump", "genetic", "one_pixel", "transfer"),
        ("no_stronger_than_gradients", GRADIENTS, "who sees no gradient fools nothing that gradients do not"),
    ),
    **dict.fromkeys(
        ("fgsm", "pgd", "apgd"),
        ("no_stronger_than_auto", ("auto",), "the ensemble fools whatever its members fool alone"),
    ),
}


def compared(found: Sequence[Result]) -> list[Result]:
    """The results of one model, each with its flags against the others that had the same threat."""
    return [replace(one, flags=[*one.flags, *_beside(one, found)]) for one in found]


def _beside(one: Result, others: Sequence[Result]) -> Iterator[Flag]:
    """The share of images that this attack fools and none of those that should."""
    name, kinds, meaning = NO_STRONGER.get(one.config.get("kind", ""), ("", (), ""))
    stronger = [
        o for o in others if o.config.get("kind") in kinds and o.config.get("threat") == one.config.get("threat")
    ]
    if not stronger:
        return
    count = min(len(result.image_ids) for result in (one, *stronger))
    by_others = [any(fooled) for fooled in zip(*(_fooled(result)[:count] for result in stronger))]
    alone = [fooled and not others for fooled, others in zip(_fooled(one)[:count], by_others)]
    share, limit = round(sum(alone) / count, 6), round(max(FEW, 1 / count), 6)
    yield Flag(name, share <= limit, share, limit, f"{meaning} (share of images)")


def _fooled(result: Result) -> list[bool]:
    """As the attack says, before the rounding to 8 bits takes back what is nearest to the boundary; else by rank."""
    return result.success or [rank > 0 for rank in result.image_rank]
