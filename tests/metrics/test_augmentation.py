"""All measures of an augmentation, against loops over its items."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import asdict
from itertools import combinations

import pytest
import torch
from torch import Generator

from immunize.data.augmentation import (
    EDA,
    Caption,
    Crops,
    Derived,
    Human,
    ManyToMany,
    Material,
    Render,
    Unchanged,
    sparse,
)
from immunize.data.loader import Pairs
from immunize.data.scenes.truth import is_true
from immunize.metrics.augmentation import Measures, measure
from immunize.models import Clip
from immunize.models.encode import encode_captions, encode_images


@pytest.fixture(scope="module")
def material(pairs: Pairs) -> Material:
    given, rest = sparse(pairs, 1)
    return Material(pairs=given, rest=rest)


def measured(model: Clip, material: Material, new: Derived, sample: int = 1000) -> Measures:
    return measure(model, material.pairs, new, rng=Generator().manual_seed(0), sample=sample)


def apart(model: Clip, items: list[list[str]] | list[list[torch.Tensor]]) -> float:
    """The mean over items of the mean of 1 - cos over pairs of captions or images, one at a time."""
    means = []
    for variants in items:
        vectors = [
            encode_captions(model, [v])[0] if isinstance(v, str) else encode_images(model, v[None])[0] for v in variants
        ]
        distances = [1 - float(a @ b) for a, b in combinations(vectors, 2)]
        means += [sum(distances) / len(distances)] if distances else []
    return sum(means) / len(means)


def cosines(model: Clip, pairs: Pairs) -> float:
    found = [
        float(encode_images(model, pairs.images[i][None])[0] @ encode_captions(model, [caption])[0])
        for caption, i in zip(pairs.captions, pairs.owner.tolist())
    ]
    return sum(found) / len(found)


def test_of_new_captions(trained: Clip, material: Material) -> None:
    given, new = material.pairs, EDA(n=2)(material)
    found = measured(trained, material, new)
    true = [is_true(c, given.truth[i] or "") for c, i in zip(new.pairs.captions, new.pairs.owner.tolist())]
    assert found.exact_alignment == pytest.approx(100 * sum(true) / len(true)) and 0 < sum(true) < len(true)
    assert found.alignment == pytest.approx(cosines(trained, new.pairs) / cosines(trained, given), abs=1e-4)
    items = [
        [given.captions[i], *(c for c, o in zip(new.pairs.captions, new.pairs.owner.tolist()) if o == i)]
        for i in range(len(given))
    ]
    assert found.text_diversity == pytest.approx(apart(trained, items), abs=1e-4)
    assert (found.image_diversity, found.image_gap, found.images) == (None, None, 0)
    assert found.original == pytest.approx(100 / 3) and found.captions == 2 * len(given)


def test_of_new_images(trained: Clip, material: Material) -> None:
    given, new = material.pairs, Render(n=2)(material)
    found = measured(trained, material, new)
    assert found.alignment == pytest.approx(cosines(trained, new.pairs) / cosines(trained, given), abs=1e-4)
    items = [
        [given.images[i], *(x for x, origin in zip(new.pairs.images, new.image_from) if origin == image_id)]
        for i, image_id in enumerate(given.image_ids)
    ]
    assert found.image_diversity == pytest.approx(apart(trained, items), abs=1e-4)
    assert (found.text_diversity, found.text_gap, found.distinct_2) == (None, None, None)  # a copy is no variant
    assert found.exact_alignment == 100 and found.images == 2 * len(given)


def test_truth_of_changed_pixels_is_not_claimed_to_be_known(trained: Clip, material: Material) -> None:
    assert measured(trained, material, Crops(n=1)(material)).exact_alignment is None


def test_a_model_that_knows_nothing_of_the_pairs_has_no_say(trained: Clip, material: Material) -> None:
    """Two towers turned away from each other: every cosine is the negative of what it was."""
    opposite = deepcopy(trained)
    encode = trained.encode_text
    opposite.encode_text = lambda tokens, embedded=None: -encode(tokens, embedded)  # type: ignore[method-assign]
    assert measured(opposite, material, EDA(n=1)(material)).alignment is None


def test_nothing_new_is_nothing_measured(trained: Clip, material: Material) -> None:
    found = asdict(measured(trained, material, Unchanged()(material)))
    assert {found.pop("original"), found.pop("images"), found.pop("captions")} == {100.0, 0}
    assert set(found.values()) == {None}


def test_a_sample_is_of_whole_items(trained: Clip, material: Material) -> None:
    new = ManyToMany(text=Caption(n=3), image=Render(n=1), original=0.5)(material)
    few, all_ = measured(trained, material, new, 40), measured(trained, material, new)
    assert few.text_diversity == pytest.approx(all_.text_diversity or 0, rel=0.25)
    assert few.original == all_.original == 50 and few.captions == all_.captions
    assert measured(trained, material, new, 5).text_gap is None  # five items are too few to halve


def test_what_people_wrote_has_the_smaller_gap(trained: Clip, material: Material) -> None:
    """Further captions of the same grammar are of the distribution; words at random places are not."""
    human, broken = (measured(trained, material, kind(material)) for kind in (Human(), EDA(n=1, share=0.9)))
    assert abs(human.text_gap or 0) < (broken.text_gap or 0)
