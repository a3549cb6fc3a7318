"""A draft keeps the best, counts every text, and judges what it hands back by the image and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Generator, Tensor

from immunize.attacks import BertAttack
from immunize.attacks.text.draft import Draft, first_best
from immunize.attacks.text.rules import Edit
from immunize.attacks.victim import bank_of
from immunize.batch import Batch
from immunize.models import Clip
from immunize.models.encode import encode_captions, encode_images
from immunize.objectives import margin
from immunize.threats import Edits

VALUES = st.lists(st.tuples(st.integers(0, 3), st.integers(-3, 3)), max_size=12)


@given(VALUES)
def test_first_best_against_the_loop(found: list[tuple[int, int]]) -> None:
    standing = torch.tensor([0.0, -2.0, 1.0, -9.0])
    best: dict[int, int] = {}
    for index, (caption, value) in enumerate(found):
        if value > standing[caption] and (caption not in best or value > found[best[caption]][1]):
            best[caption] = index
    value = torch.tensor([float(v) for _, v in found])
    caption = torch.tensor([c for c, _ in found], dtype=torch.int64)
    assert first_best(value, caption, standing).tolist() == [best[c] for c in sorted(best)]


def away(model: Clip, batch: Batch, guide: Tensor) -> Tensor:
    """-<guide, g(t)> of each caption."""
    return -(guide[batch.owner] * encode_captions(model, batch.captions)).sum(dim=1)


def test_the_guide_is_what_the_captions_get_away_from(trained: Clip, batch: Batch) -> None:
    """Any vector, unit or not; the verdict is that of the images all the same."""
    guide = torch.randn(len(batch), 16, generator=Generator().manual_seed(3)) * 5
    attack = BertAttack(Edits(words=2), typos=8, positions=3)
    by_guide, by_image = attack.edit(trained, batch, guide, Generator()), attack(trained, batch, Generator())
    assert by_guide.captions != by_image.captions
    assert (away(trained, by_guide, guide) > away(trained, by_image, guide) - 1e-5).float().mean() > 0.7
    outcome = by_guide.outcome
    assert outcome is not None
    summed = torch.zeros(len(batch)).index_add(0, batch.owner, away(trained, by_guide, guide))
    assert torch.allclose(outcome.value, summed, atol=1e-4)
    values = margin(encode_images(trained, batch.images), bank_of(trained, by_guide))
    assert outcome.success.tolist() == (values > 0).tolist()


def test_a_guide_of_the_images_is_no_guide(trained: Clip, batch: Batch) -> None:
    attack = BertAttack(Edits(), typos=8)
    same = attack.edit(trained, batch, encode_images(trained, batch.images), Generator())
    assert same.captions == attack(trained, batch, Generator()).captions


def test_texts_are_counted_by_hand(trained: Clip, batch: Batch) -> None:
    """One word, typos at one place: the caption, each of its masks, each allowed typo of the leading word."""
    one = batch.take(torch.tensor([0]))
    threat = Edits(same_meaning=False)
    after = BertAttack(threat, typos=3)(trained, one, Generator())
    masks = sum(threat.editable(word) for caption in one.captions for word in caption.split())
    assert after.outcome is not None
    assert after.outcome.texts.tolist() == [len(one.captions) + masks + 3 * len(one.captions)]
    assert after.outcome.forwards.tolist() == [1] and after.outcome.backwards.tolist() == [0]
    again = BertAttack(threat, typos=3)(trained, after, Generator()).outcome
    assert again is not None and again.forwards.tolist() == [2]  # costs add up


def test_a_rewrite_is_scored_once(trained: Clip, batch: Batch) -> None:
    with Draft.of(trained, batch, Edits(words=2, same_meaning=False), None) as draft:
        rewrites = draft.allowed([Edit(0, p, "zebra") for _, p in draft.rules.open()[:2]])
        for _ in range(3):
            draft.improve(rewrites)
        assert draft.texts.sum() == len(rewrites) + len(batch.captions) and len(rewrites) == 2


def test_originals_encoded_for_a_gradient_are_not_encoded_again(trained: Clip, batch: Batch) -> None:
    with Draft.of(trained, batch, Edits(), None) as plain, Draft.of(trained, batch, Edits(), None) as sloped:
        sloped.slope()
        spent = sloped.texts.clone()
        assert torch.allclose(sloped.value, plain.value, atol=1e-5)
        assert torch.allclose(sloped.text, plain.text, atol=1e-5) and not sloped.text.requires_grad
        assert torch.equal(sloped.texts, spent) and torch.equal(plain.texts, spent)


def test_a_gradient_is_that_of_the_captions_as_they_stand(trained: Clip, batch: Batch) -> None:
    with Draft.of(trained, batch, Edits(words=2, same_meaning=False), None) as draft:
        before, spent = draft.slope(), draft.texts.clone()
        assert draft.slope() is before and torch.equal(draft.texts, spent)
        places = [place for place in draft.rules.open() if place[0] == 0]
        draft.improve(draft.allowed([Edit(*place, "zebra") for place in places]))
        after = draft.slope()
        assert draft.words[0] != draft.rules.original[0] and not torch.equal(after.tokens, before.tokens)


def test_a_rewrite_that_is_no_better_changes_nothing(trained: Clip, batch: Batch) -> None:
    """The original reference keeps a rejected candidate in its word list (attacks.md 5.17)."""
    with Draft.of(trained, batch, Edits(words=9, same_meaning=False), None) as draft:
        places = [place for place in draft.rules.open() if place[0] == 0]
        for place in places:
            words, value = draft.words[0], draft.value[0].item()
            draft.improve(draft.allowed([Edit(*place, "zebra")]))
            assert (draft.words[0] == words) == (draft.value[0].item() == value)
            assert draft.value[0] >= value
        after = draft.finish()
    assert torch.allclose(draft.text, encode_captions(trained, after.captions), atol=1e-5)


def test_classes_alone_are_left_alone(trained: Clip, batch: Batch) -> None:
    """A batch without captions has nothing to edit; its verdict is that of the clean images."""
    prompts = ("a photo of a red circle", "a photo of a blue square")
    labels = torch.zeros(len(batch), dtype=torch.int64)
    none = replace(
        batch, captions=(), owner=torch.zeros(0, dtype=torch.int64), caption_ids=(), gallery=prompts, labels=labels
    )
    for importance in ("mask", "gradient"):
        after = BertAttack(Edits(), typos=5, importance=importance)(trained, none, Generator())  # type: ignore[arg-type]
        assert after.captions == () and after.outcome is not None
        values = margin(encode_images(trained, batch.images), bank_of(trained, none))
        assert after.outcome.success.tolist() == (values > 0).tolist()
        assert after.outcome.texts.tolist() == [0] * len(batch)


def test_a_similarity_without_a_model_is_an_error() -> None:
    with pytest.raises(ValueError, match="language"):
        BertAttack(Edits(similarity=0.9))
