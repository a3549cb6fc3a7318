"""Attacks made of attacks: never weaker than a part, nested, in order, and read from a preset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from immunize.attacks import PGD, SGA, Attack, BertAttack, Noise, Restarts, SepAttack, Then, Worst, parts
from immunize.attacks.victim import bank_of
from immunize.batch import Batch
from immunize.config import ConfigurationError, dump, parse
from immunize.models import Clip
from immunize.models.encode import encode_captions, encode_images
from immunize.objectives import margin
from immunize.rng import draw_seed
from immunize.threats import Ball, Edits

BALL = Ball("linf", 6 / 255)
TEXT = BertAttack(Edits(words=2), typos=4)
WEAK, PAIR, RANK = Noise(BALL), PGD(BALL, steps=3), PGD(BALL, steps=3, objective="margin")
MEMBERS = (WEAK, PAIR, RANK)


def rng(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def alone(attacks: Sequence[Any], model: Clip, batch: Batch) -> list[Batch]:
    """Each attack with the seed that it has as a part."""
    seed = draw_seed(rng())
    return [attack(model, batch, rng(seed + k)) for k, attack in enumerate(attacks)]


def margins(model: Clip, clean: Batch, after: Batch) -> Tensor:
    """Image by image: the best text of the others, as they were, less the best own one, as it is."""
    image, found = encode_images(model, after.images), []
    scale = float(model.logit_scale.detach())
    for i in range(len(after)):
        own = [caption for caption, owner in zip(after.captions, after.owner.tolist(), strict=True) if owner == i]
        others = [caption for caption, owner in zip(clean.captions, clean.owner.tolist(), strict=True) if owner != i]
        right, wrong = (image[i] @ encode_captions(model, texts).T for texts in (own, [*others, *clean.gallery]))
        found.append(scale * (wrong.max() - right.max()))
    return torch.stack(found)


@pytest.mark.parametrize("members", [MEMBERS, (TEXT, PAIR), (SepAttack(TEXT, PAIR), SGA(TEXT, PAIR))])
def test_it_is_the_worst_of_its_parts_for_each_image(members: Any, trained: Clip, batch: Batch) -> None:
    each = alone(members, trained, batch)
    values = torch.stack([margins(trained, batch, one) for one in each])
    after = Worst(members)(trained, batch, rng())
    assert torch.allclose(margins(trained, batch, after), values.amax(dim=0), atol=1e-4)
    for i, k in enumerate(values.argmax(dim=0).tolist()):
        assert torch.allclose(after.images[i], each[k].images[i], atol=1e-5)


def test_its_verdict_is_the_models_and_every_part_is_paid_for(trained: Clip, batch: Batch) -> None:
    after, each = Worst(MEMBERS)(trained, batch, rng()).outcome, alone(MEMBERS, trained, batch)
    assert after is not None
    best = torch.stack([margins(trained, batch, one) for one in each]).amax(dim=0)
    assert torch.allclose(after.value, best, atol=1e-4) and after.success.tolist() == (best > 0).tolist()
    spent = sum(one.outcome.forwards for one in each if one.outcome is not None)
    assert torch.equal(after.forwards, spent + len(MEMBERS) + 1)


def test_fooled_images_are_spared_what_comes_after(trained: Clip, batch: Batch) -> None:
    whole, short = (Worst(MEMBERS, stop=stop)(trained, batch, rng()).outcome for stop in (False, True))
    assert whole is not None and short is not None
    assert torch.equal(whole.success, short.success)
    first = torch.stack([margins(trained, batch, one) > 0 for one in alone(MEMBERS, trained, batch)[:2]]).any(dim=0)
    assert first.any() and not first.all()
    assert (short.forwards[first] < whole.forwards[first]).all()
    assert torch.equal(short.forwards[~first], whole.forwards[~first])


def test_a_target_is_what_must_rank_first(trained: Clip, batch: Batch) -> None:
    turned = replace(batch, targets=("a photo of a dog",) * 6)
    aimed = PGD(Ball("linf", 32 / 255), steps=8, objective="cross_entropy", targeted=True)
    after = Worst((WEAK, aimed), targeted=True)(trained, turned, rng())
    assert after.outcome is not None and after.outcome.success.any()
    value = margin(encode_images(trained, after.images), bank_of(trained, after, targeted=True))
    assert after.outcome.success.tolist() == (value > 0).tolist()


def test_restarts_are_nested(trained: Clip, batch: Batch) -> None:
    """The runs of one are the first of many, so more are never weaker; and they differ."""
    few, many = (margins(trained, batch, Restarts(PAIR, times)(trained, batch, rng())) for times in (1, 4))
    assert (many >= few - 1e-5).all() and (many > few + 1e-3).any()
    assert torch.allclose(few, margins(trained, batch, alone([PAIR], trained, batch)[0]), atol=1e-4)


def test_one_after_the_other_each_from_where_the_last_ended(trained: Clip, batch: Batch) -> None:
    source = rng()
    first = PAIR(trained, batch, source)
    second = TEXT(trained, first, source)
    after = Then((PAIR, TEXT))(trained, batch, rng())
    assert torch.equal(after.images, first.images) and after.captions == second.captions
    assert after.outcome is not None and second.outcome is not None
    assert torch.equal(after.outcome.forwards, second.outcome.forwards)


def test_the_order_matters(trained: Clip, batch: Batch) -> None:
    one, other = (Then(order)(trained, batch, rng()) for order in ((PAIR, TEXT), (TEXT, PAIR)))
    assert not torch.equal(one.images, other.images)
    once = SGA(TEXT, PAIR, again=False)(trained, batch, rng())
    assert torch.equal(other.images, once.images) and other.captions == once.captions


def test_a_modality_is_attacked_once(trained: Clip) -> None:
    """A second ball would be around the attacked image, and outside the first."""
    for twice in ((PAIR, RANK), (PAIR, SGA(TEXT, PAIR)), (TEXT, PAIR, TEXT), (PAIR, Restarts(PAIR))):
        with pytest.raises(ValueError, match="one attack a modality"):
            Then(twice)
    assert len(Then((Restarts(PAIR), Worst((TEXT,)))).attacks) == 2


def test_a_preset_may_nest_them() -> None:
    deep = Worst((Restarts(Then((TEXT, Worst((PAIR, RANK), stop=True))), times=3), SepAttack(TEXT, WEAK)))
    assert parse(dump(deep), Attack, "here") == deep
    assert [part.kind for part in parts(deep)] == [
        "worst", "restarts", "then", "bert_attack", "worst", "pgd", "pgd", "sep_attack", "bert_attack", "noise"
    ]  # fmt: skip
    with pytest.raises(ConfigurationError, match=r"worst\.attacks.*'pgd', .*'worst'"):
        parse({"kind": "worst", "attacks": [{"kind": "pgx"}]}, Attack, "here")
    with pytest.raises(ConfigurationError, match=r"restarts\.attack\.pgd\.stepz"):
        parse({"kind": "restarts", "attack": {**dump(PAIR), "stepz": 3}}, Attack, "here")
    with pytest.raises(ConfigurationError, match="attacks"):
        parse({"kind": "worst", "attacks": []}, Attack, "here")
