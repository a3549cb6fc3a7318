"""Regimes: the same pairs under other circumstances, attacks within their balls after rounding, and `clean` as it was."""

from __future__ import annotations

import pytest
import torch

from immunize.adaptation.traffic import CLEAN, SHIFT, Shift, traffic
from immunize.attacks import PGD, BertAttack, Noise
from immunize.data.loader import Pairs
from immunize.models import Clip
from immunize.threats import Ball, Edits

EPS = 8 / 255
ATTACKS = {
    "pgd": PGD(Ball("linf", EPS), steps=3),
    "noise": Noise(Ball("linf", EPS)),
    "typos": BertAttack(Edits(words=1), typos=3),
}


@pytest.fixture(scope="module")
def some(pairs: Pairs) -> Pairs:
    return pairs.head(14)


def test_the_same_pairs_in_every_regime(trained: Clip, some: Pairs) -> None:
    found = traffic(trained, some, ATTACKS, Shift(noise=3 / 255, jpeg=50), seed=0, block=5)
    assert list(found) == [CLEAN, *ATTACKS, SHIFT]
    for one in found.values():
        assert one.image_ids == one.caption_ids == some.image_ids and one.truth == some.truth
        assert one.owner.tolist() == list(range(14)) and len(one.captions) == 14
        levels = one.images * 255
        assert torch.allclose(levels, levels.round(), atol=1e-4) and levels.min() >= 0 and levels.max() <= 255
    clean = found[CLEAN]
    assert torch.equal(clean.images, some.images.float() / 255)
    assert clean.captions == some.captions[::2]  # two captions an image, the first of each


def test_attacks_stay_where_they_may_go(trained: Clip, some: Pairs) -> None:
    found = traffic(trained, some, ATTACKS, None, seed=0)
    assert SHIFT not in found
    clean = found[CLEAN]
    for name in ("pgd", "noise"):
        far = (found[name].images - clean.images).abs().flatten(1).amax(dim=1)
        assert (far > 0).all() and (far <= EPS + 1e-6).all() and found[name].captions == clean.captions
    assert torch.equal(found["typos"].images, clean.images)
    edits = [
        sum(a != b for a, b in zip(old.split(), new.split(), strict=True))
        for old, new in zip(clean.captions, found["typos"].captions)
    ]
    assert max(edits) == 1 and sum(edits) > 3


def test_an_attack_sees_its_own_victim(trained: Clip, fresh_model: Clip, some: Pairs) -> None:
    """And the others the model, as if there were no other."""
    found = traffic(trained, some, ATTACKS, None, seed=0, victims={"pgd": fresh_model})
    bare, other = (traffic(one, some, ATTACKS, None, seed=0) for one in (trained, fresh_model))
    assert torch.equal(found["pgd"].images, other["pgd"].images) and not torch.equal(
        found["pgd"].images, bare["pgd"].images
    )
    assert torch.equal(found["noise"].images, bare["noise"].images)
    assert found["typos"].captions == bare["typos"].captions


def test_the_shift_is_no_attack(trained: Clip, some: Pairs) -> None:
    """Noise and JPEG that do not ask the model, and one misspelling a text; the same for the same seed, whatever the block."""
    found = traffic(trained, some, {}, Shift(), seed=0)
    clean, shift = found[CLEAN], found[SHIFT]
    assert (shift.images != clean.images).flatten(1).any(dim=1).all()
    pairs = zip(clean.captions, shift.captions)
    assert all(sum(a != b for a, b in zip(old.split(), new.split(), strict=True)) == 1 for old, new in pairs)
    again, other = (traffic(trained, some, {}, Shift(), seed=seed, block=3)[SHIFT] for seed in (0, 1))
    assert torch.equal(again.images, shift.images) and again.captions == shift.captions
    assert not torch.equal(other.images, shift.images) and other.captions != shift.captions


def test_the_block_changes_nothing_and_the_seed_does(trained: Clip, some: Pairs) -> None:
    noise = {"noise": ATTACKS["noise"]}
    one, two, other = (
        traffic(trained, some, noise, None, seed=s, block=b)["noise"] for s, b in ((0, 14), (0, 4), (1, 14))
    )
    assert torch.equal(one.images, two.images) and not torch.equal(one.images, other.images)


@pytest.mark.parametrize("name", [CLEAN, SHIFT])
def test_a_name_that_is_taken_is_refused(trained: Clip, some: Pairs, name: str) -> None:
    with pytest.raises(ValueError, match=f"regimes: {name} is made here, call yours something else"):
        traffic(trained, some, {name: ATTACKS["noise"]}, None, seed=0)
