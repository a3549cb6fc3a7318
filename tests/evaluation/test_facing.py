"""A model that adapts is attacked at rest and scored as it answers by then; any other model as ever."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch

from immunize.attacks import PGD, Attack, Noise
from immunize.batch import Image
from immunize.data.loader import Pairs
from immunize.evaluation.blocks import here
from immunize.evaluation.suite import changed, evaluate, facing, score
from immunize.evaluation.sweep import Curve, sweep
from immunize.metrics.retrieval import recall
from immunize.models import Clip, DualEncoder
from immunize.models.initial import Small
from immunize.models.remembering import Remembering
from immunize.models.wrapped import Wrapped
from immunize.threats import Ball

NOISE = Noise(Ball("linf", 8 / 255))


class Turning(Wrapped):
    """`calm` answers while what comes is as it was, `roused` once it is not; it notes what it was asked about."""

    def __init__(self, calm: DualEncoder, roused: DualEncoder, known: Pairs) -> None:
        Wrapped.__init__(self, calm)
        self.calm, self.roused = calm, roused
        self.known = known.images
        self.asked: list[tuple[int, tuple[str, ...]]] = []

    def facing(self, images: Image, captions: Sequence[str]) -> DualEncoder:
        self.asked.append((len(images), tuple(captions)))
        same = torch.equal((images * 255).round().byte(), self.known[: len(images)])
        return self.calm if same else self.roused


@pytest.fixture(scope="module")
def other(small: Small, pairs: Pairs) -> Clip:
    return small.make(pairs.captions, 1).eval()


def test_a_model_that_does_not_adapt_is_its_own_answer(trained: Clip, some: Pairs) -> None:
    for model in (trained, Remembering(trained), Wrapped(trained)):
        assert facing(model, some, 16) is model


def test_scored_by_hand(trained: Clip, some: Pairs) -> None:
    """Ranks and cosines of the clean and the attacked pairs are those of the model itself, image by image."""
    for clean, noise in (evaluate(one, {"clean": None, "n": NOISE}, some) for one in (trained, Remembering(trained))):
        for found, pairs in (
            (clean.before, some),
            (clean.after, some),
            (noise.before, some),
            (noise.after, noise.pairs),
        ):
            with torch.no_grad():
                image = torch.cat([trained.encode_image(x[None] / 255) for x in pairs.images])
                text = torch.cat([trained.encode_text(trained.tokenize([c])) for c in pairs.captions])
            table, owner = (image @ text.T).tolist(), pairs.owner.tolist()
            assert found.similarity.tolist() == pytest.approx([table[o][c] for c, o in enumerate(owner)], abs=1e-5)
            ranks = [sum(row[c] >= table[o][c] for i, row in enumerate(table) if i != o) for c, o in enumerate(owner)]
            assert found.ranks.caption.tolist() == ranks


@pytest.mark.parametrize("remembering", [False, True])
def test_it_answers_as_the_traffic_demands(trained: Clip, other: Clip, some: Pairs, remembering: bool) -> None:
    model = Turning(trained, other, some)
    attacks: dict[str, Attack | None] = {"clean": None, "noise": NOISE}
    clean, noise = evaluate(Remembering(model) if remembering else model, attacks, some, sample=5, block=3)
    still = score(trained, some)
    for scored in (clean.before, clean.after, noise.before):
        assert torch.equal(scored.ranks.image, still.ranks.image)
        torch.testing.assert_close(scored.similarity, still.similarity)
    roused = score(other, noise.pairs)  # the whole gallery, of which five images came in
    assert torch.equal(noise.after.ranks.image, roused.ranks.image)
    torch.testing.assert_close(noise.after.similarity, roused.similarity, atol=1e-5, rtol=1e-4)
    assert not torch.equal(noise.after.ranks.image, score(trained, noise.pairs).ranks.image)
    first = tuple(some.captions[: 2 * 5 : 2])
    assert model.asked == [(5, first), (5, first)]


def test_the_attack_meets_it_at_rest(trained: Clip, other: Clip, some: Pairs, pgd: Attack) -> None:
    (plain,) = evaluate(trained, {"pgd": pgd}, some)
    (turning,) = evaluate(Turning(trained, other, some), {"pgd": pgd}, some)
    assert torch.equal(plain.pairs.images, turning.pairs.images)
    assert not torch.equal(plain.after.ranks.image, turning.after.ranks.image)


def test_the_curve_over_the_radius_is_of_what_answers(trained: Clip, other: Clip, some: Pairs, pgd: PGD) -> None:
    ten, narrow = some.head(10), Ball("linf", 1 / 255)
    found = sweep(Turning(trained, other, ten), Curve(pgd, (1 / 255,), images=10), some, seed=0, block=10)
    moved = changed(ten, here(trained, ten, {"": replace(pgd, threat=narrow)}, 10, seed=0, block=10)[""])
    roused, calm = (round(recall(score(one, moved).ranks.image, 1), 2) for one in (other, trained))
    assert found.tr_r1 == [roused] and roused < calm
