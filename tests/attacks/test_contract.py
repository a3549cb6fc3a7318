"""What every attack promises, over the whole union: a new attack is tested by existing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import Generator, Tensor, nn

from immunize.attacks import PGD, SGA, Attack, BertAttack, Noise
from immunize.batch import Batch
from immunize.config import ConfigurationError, dump, parse
from immunize.data.loader import Pairs
from immunize.data.scenes.truth import is_true
from immunize.evaluation.suite import first
from immunize.models import Clip
from immunize.models.encode import encode_captions, encode_images
from immunize.models.initial import Small

NAMES = (
    "noise", "noise l2", "pgd", "pgd l2", "pgd scales", "bert", "bert gradient", "bert typos", "sga", "sga once"
)  # fmt: skip
every = pytest.mark.parametrize("name", NAMES)
gradient_based = pytest.mark.parametrize("name", [name for name in NAMES if "noise" not in name])


def rng(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def distance(model: Clip, batch: Batch) -> Tensor:
    """-cos of every caption with its image."""
    image, text = encode_images(model, batch.images), encode_captions(model, batch.captions)
    return -(image[batch.owner] * text).sum(dim=1)


def numpy_state() -> list[int]:
    state: Any = np.random.get_state()
    return [*state[1].tolist(), state[2]]


def image_part(attack: Attack) -> PGD | Noise | None:
    return attack.image if isinstance(attack, SGA) else None if isinstance(attack, BertAttack) else attack


def text_part(attack: Attack) -> BertAttack | None:
    return attack.text if isinstance(attack, SGA) else attack if isinstance(attack, BertAttack) else None


def moved(before: Batch, after: Batch) -> list[int]:
    return [sum(a != b for a, b in zip(x.split(), y.split())) for x, y in zip(before.captions, after.captions)]


@pytest.fixture(scope="session")
def outcomes(cases: dict[str, Attack], trained: Clip, batch: Batch) -> dict[str, Batch]:
    """The result of each case with seed 0."""
    return {name: attack(trained, batch, rng()) for name, attack in cases.items()}


def test_every_member_of_the_union_is_here(cases: dict[str, Attack]) -> None:
    assert {type(attack) for attack in cases.values()} == set(get_args(get_args(Attack)[0]))
    assert tuple(cases) == NAMES


@every
def test_pixels_stay_inside_the_threat(
    name: str, cases: dict[str, Attack], outcomes: dict[str, Batch], batch: Batch
) -> None:
    part, images = image_part(cases[name]), outcomes[name].images
    if part is None:
        assert torch.equal(images, batch.images)
        return
    delta = (images - batch.images).double().flatten(1)
    size = delta.abs().amax(dim=1) if part.threat.norm == "linf" else delta.norm(dim=1)
    assert (size <= part.threat.eps + 1e-6).all() and (size > 0).all()
    assert images.min() >= 0 and images.max() <= 1


@every
def test_words_stay_inside_the_threat(
    name: str, cases: dict[str, Attack], outcomes: dict[str, Batch], batch: Batch
) -> None:
    part, after = text_part(cases[name]), outcomes[name]
    if part is None:
        assert after.captions == batch.captions
        return
    assert 0 < max(moved(batch, after)) <= part.threat.words
    for c, (old, new) in enumerate(zip(batch.captions, after.captions, strict=True)):
        changed = [a for a, b in zip(old.split(), new.split(), strict=True) if a != b]
        assert all(part.threat.editable(word) for word in changed)
        truth = batch.truth[int(batch.owner[c])]
        assert truth is not None and (is_true(new, truth) or not part.threat.same_meaning)


@every
def test_what_is_not_attacked_is_handed_on(name: str, outcomes: dict[str, Batch], batch: Batch) -> None:
    after = outcomes[name]
    assert (after.image_ids, after.caption_ids, after.truth) == (batch.image_ids, batch.caption_ids, batch.truth)
    assert torch.equal(after.owner, batch.owner) and not after.images.requires_grad


@every
def test_the_clean_batch_is_untouched(name: str, cases: dict[str, Attack], trained: Clip, batch: Batch) -> None:
    copy, captions = batch.images.clone(), tuple(batch.captions)
    cases[name](trained, batch, rng(5))
    assert torch.equal(batch.images, copy) and batch.captions == captions and batch.images.grad is None


@every
def test_same_seed_same_result(
    name: str, cases: dict[str, Attack], outcomes: dict[str, Batch], trained: Clip, batch: Batch
) -> None:
    again = cases[name](trained, batch, rng())
    assert torch.equal(again.images, outcomes[name].images) and again.captions == outcomes[name].captions


@pytest.mark.parametrize("name", ["noise", "noise l2", "pgd", "pgd l2", "sga once"])
def test_another_seed_another_start(
    name: str, cases: dict[str, Attack], outcomes: dict[str, Batch], trained: Clip, batch: Batch
) -> None:
    assert not torch.equal(cases[name](trained, batch, rng(1)).images, outcomes[name].images)


@every
def test_a_threat_of_size_zero_is_the_identity(
    name: str, cases: dict[str, Attack], trained: Clip, batch: Batch
) -> None:
    def emptied(attack: Any) -> Any:
        if isinstance(attack, SGA):
            return replace(attack, text=emptied(attack.text), image=emptied(attack.image))
        size = {"words": 0} if isinstance(attack, BertAttack) else {"eps": 0.0}
        return replace(attack, threat=replace(attack.threat, **size))

    after = emptied(cases[name])(trained, batch, rng())
    assert torch.equal(after.images, batch.images) and after.captions == batch.captions


@every
def test_independent_of_the_batch_size(
    name: str, cases: dict[str, Attack], outcomes: dict[str, Batch], trained: Clip, pairs: Pairs, batch: Batch
) -> None:
    """Outcomes, not bits: where a gradient is nearly 0 its sign may flip with the order of a sum."""
    whole = distance(trained, outcomes[name])
    parts = [first(batch, 2), pairs.batch(torch.tensor([20, 41, 77, 95]))]
    found = torch.cat([distance(trained, cases[name](trained, part, rng())) for part in parts])
    assert torch.allclose(found, whole, atol=5e-3)


@every
def test_no_global_randomness(name: str, cases: dict[str, Attack], trained: Clip, batch: Batch) -> None:
    """torchattacks and AutoAttack seed globally, SGA draws from numpy's global state (attacks.md 5.13)."""
    before = torch.get_rng_state(), numpy_state()
    cases[name](trained, batch, rng(3))
    after = torch.get_rng_state(), numpy_state()  # Python's own moves with every type check
    assert torch.equal(before[0], after[0]) and before[1] == after[1]


@every
def test_no_gradient_and_no_flag_is_left_behind(
    name: str, cases: dict[str, Attack], small: Small, pairs: Pairs, batch: Batch
) -> None:
    """Gradients accumulated, modes flipped: fatal inside training (attacks.md 5.12, 5.14); a frozen norm stays so."""
    model = small.make(pairs.captions, 0).train()
    next(m for m in model.modules() if isinstance(m, nn.BatchNorm2d)).eval()
    model.net.token_embedding.requires_grad_(False)
    kept = torch.full_like(model.net.text_projection, 3.0)
    model.net.text_projection.grad = kept.clone()
    state = {key: value.clone() for key, value in model.state_dict().items()}
    flags = [m.training for m in model.modules()], [p.requires_grad for p in model.parameters()]
    assert len(set(flags[0])) == len(set(flags[1])) == 2
    cases[name](model, batch, rng())
    assert flags == ([m.training for m in model.modules()], [p.requires_grad for p in model.parameters()])
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert [name for name, p in model.named_parameters() if p.grad is not None] == ["net.text_projection"]
    assert torch.equal(model.net.text_projection.grad, kept)


@every
def test_works_without_gradients_around_it(
    name: str, cases: dict[str, Attack], outcomes: dict[str, Batch], trained: Clip, batch: Batch
) -> None:
    """In nearly every library an attack raises there (attacks.md 5.15)."""
    with torch.no_grad():
        after = cases[name](trained, batch, rng())
    assert torch.equal(after.images, outcomes[name].images) and after.captions == outcomes[name].captions


@gradient_based
def test_inference_mode_is_one_clear_error(name: str, cases: dict[str, Attack], trained: Clip, batch: Batch) -> None:
    with torch.inference_mode(), pytest.raises(RuntimeError, match=r"torch\.no_grad\(\)"):
        cases[name](trained, batch, rng())


@gradient_based
def test_stronger_than_noise(
    name: str, cases: dict[str, Attack], outcomes: dict[str, Batch], trained: Clip, batch: Batch
) -> None:
    part = image_part(cases[name])
    floor = batch if part is None else Noise(part.threat)(trained, batch, rng())
    assert distance(trained, outcomes[name]).mean() > distance(trained, floor).mean() + 0.01


@pytest.mark.parametrize("name", ["pgd", "pgd l2", "pgd scales", "sga", "sga once"])
@pytest.mark.parametrize("level", [0.0, 1.0])
def test_saturated_pixels_move(level: float, name: str, cases: dict[str, Attack], trained: Clip, batch: Batch) -> None:
    """Parametrizations of the box such as tanh have no gradient at 0 and 1 (attacks.md 5.2)."""
    flat = replace(batch, images=torch.full_like(batch.images, level))
    after = cases[name](trained, flat, rng())
    assert ((after.images - level).abs().flatten(1).amax(dim=1) > 1e-3).all()


@every
def test_pairs_that_are_all_far_apart_are_attacked_too(
    name: str, cases: dict[str, Attack], trained: Clip, batch: Batch
) -> None:
    """Negative similarities throughout: a maximum clamped at 0 would see nothing to do (attacks.md 5.1)."""
    turned = replace(batch, captions=batch.captions[4:] + batch.captions[:4], truth=(None,) * len(batch))
    before = distance(trained, turned)
    after = distance(trained, cases[name](trained, turned, rng()))
    assert (before > 0).any()
    if "noise" not in name:
        assert (after - before)[before > 0].max() > 1e-3 and (after >= before - 1e-5).all()


@every
def test_the_object_is_its_own_configuration(name: str, cases: dict[str, Attack]) -> None:
    assert parse(dump(cases[name]), Attack, "here") == cases[name]


def test_an_unknown_attack_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match="'pgd', 'bert_attack', 'sga', 'noise'"):
        parse({"kind": "fgsm"}, Attack, "here")
