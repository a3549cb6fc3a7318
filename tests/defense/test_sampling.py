"""Which pairs a step sees: every image once an epoch, captions uniformly, nothing but (seed, step) matters."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
import torch

from immunize.data.loader import Pairs
from immunize.defense.sampling import generator, pairs_of_step


def test_each_image_once_an_epoch_in_another_order(pairs: Pairs) -> None:
    epochs = [
        [i for step in range(e * 4, e * 4 + 4) for i in pairs_of_step(pairs, step, 24, 0).image_ids] for e in (0, 1)
    ]
    assert sorted(epochs[0]) == sorted(epochs[1]) == sorted(pairs.image_ids)
    assert epochs[0] != epochs[1] and epochs[0] != list(pairs.image_ids)


def test_the_last_partial_batch_is_dropped(pairs: Pairs) -> None:
    seen = Counter(i for step in range(2) for i in pairs_of_step(pairs, step, 40, 0).image_ids)
    assert len(seen) == 80 and set(seen.values()) == {1}
    assert pairs_of_step(pairs, 2, 40, 0).image_ids != pairs_of_step(pairs, 0, 40, 0).image_ids


def test_each_image_comes_with_one_of_its_own_captions(pairs: Pairs) -> None:
    batch = pairs_of_step(pairs, 5, 32, 0)
    assert batch.owner.tolist() == list(range(32)) and len(batch.captions) == 32
    for image_id, caption_id, caption in zip(batch.image_ids, batch.caption_ids, batch.captions, strict=True):
        at = pairs.caption_ids.index(caption_id)
        assert pairs.captions[at] == caption and pairs.image_ids[pairs.owner[at]] == image_id


def test_several_captions_an_image_are_distinct_and_the_first_is_the_one_that_it_would_have_alone(pairs: Pairs) -> None:
    alone, several = (pairs_of_step(pairs, 5, 32, 0, captions=count) for count in (1, 2))
    assert several.owner.tolist() == [i for i in range(32) for _ in range(2)] and len(set(several.caption_ids)) == 64
    assert several.caption_ids[::2] == alone.caption_ids and several.image_ids == alone.image_ids
    for place, caption_id in zip(several.owner.tolist(), several.caption_ids, strict=True):
        at = pairs.caption_ids.index(caption_id)
        assert pairs.image_ids[pairs.owner[at]] == several.image_ids[place]


def test_an_image_with_too_few_captions_brings_all_it_has(pairs: Pairs) -> None:
    kept = torch.tensor([c for c in range(len(pairs.captions)) if c != 1])  # the first image has one left
    fewer = replace(
        pairs,
        captions=tuple(pairs.captions[c] for c in kept),
        caption_ids=tuple(pairs.caption_ids[c] for c in kept),
        owner=pairs.owner[kept],
    )
    batch = pairs_of_step(fewer, 0, 96, 0, captions=3)
    place = batch.image_ids.index(pairs.image_ids[0])
    counts = torch.bincount(batch.owner).tolist()
    assert counts[place] == 1 and sorted(counts) == [1, *[2] * 95]
    assert sorted(batch.caption_ids) == sorted(fewer.caption_ids)


def test_captions_are_drawn_uniformly(pairs: Pairs) -> None:
    drawn = Counter(i for step in range(60) for i in pairs_of_step(pairs, step, 96, 0).caption_ids)
    counts = torch.tensor([drawn[caption_id] for caption_id in pairs.caption_ids]).float()
    assert counts.sum() == 60 * 96 and counts.min() >= 12 and counts.max() <= 48  # 30 expected, six deviations allowed


def test_seed_and_step_decide_alone(pairs: Pairs) -> None:
    one = pairs_of_step(pairs, 3, 16, 1)
    torch.manual_seed(4)
    again = pairs_of_step(pairs, 3, 16, 1)
    assert one.caption_ids == again.caption_ids and torch.equal(one.images, again.images)
    assert pairs_of_step(pairs, 3, 16, 2).image_ids != one.image_ids


def test_no_batch_holds_two_variants_of_an_item_and_each_is_drawn_as_often(pairs: Pairs) -> None:
    item = torch.tensor([*range(40), *[i for i in range(28) for _ in range(2)]])  # 28 items of three images, 12 of one
    varied = replace(pairs, item=item)
    number = dict(zip(pairs.image_ids, item.tolist(), strict=True))
    drawn: Counter[str] = Counter()
    for step in range(120):
        batch = pairs_of_step(varied, step, 40, 0)
        assert sorted(number[image_id] for image_id in batch.image_ids) == list(range(40))  # an epoch is one batch here
        drawn.update(batch.image_ids)
    counts = torch.tensor([drawn[image_id] for image_id in pairs.image_ids])
    assert (counts[28:40] == 120).all()
    assert counts[:28].min() >= 15 and counts[40:].max() <= 70  # 40 expected, five deviations allowed
    with pytest.raises(ValueError, match="there are 40"):
        pairs_of_step(varied, 0, 41, 0)


def test_too_few_images_for_one_batch_is_an_error(pairs: Pairs) -> None:
    with pytest.raises(ValueError, match="a batch of 97 needs at least as many training images; there are 96"):
        pairs_of_step(pairs, 0, 97, 0)


def test_streams_differ_in_every_number() -> None:
    numbers = [(s, p, t) for s in range(4) for p in range(4) for t in range(4)]
    draws = {tuple(torch.rand(2, generator=generator(*n)).tolist()) for n in numbers}
    assert len(draws) == 64
    assert torch.equal(torch.rand(3, generator=generator(1, 2)), torch.rand(3, generator=generator(1, 2)))
