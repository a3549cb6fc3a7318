"""What every attack promises, over the whole union: a new attack is tested by having a case in its room's cases.py."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from math import isinf
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import Generator, Tensor, nn

from immunize.attacks import Attack, Noise, parts
from immunize.attacks.black_box import Transfer
from immunize.attacks.image import Universal
from immunize.attacks.victim import bank_of
from immunize.batch import Batch, Embedding, Image
from immunize.config import ConfigurationError, dump, parse
from immunize.data.loader import Pairs
from immunize.data.scenes.truth import is_true
from immunize.models import Clip
from immunize.models.encode import encode_captions, encode_images
from immunize.models.initial import Small
from immunize.models.wrapped import Wrapped
from immunize.objectives import margin
from immunize.threats import Ball, Edits

DOCS = Path(__file__).parents[2] / "docs" / "methods"


def rng(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def distance(model: Clip, batch: Batch) -> Tensor:
    """-cos of every caption with its image."""
    image, text = encode_images(model, batch.images), encode_captions(model, batch.captions)
    return -(image[batch.owner] * text).sum(dim=1)


def margins(model: Clip, batch: Batch) -> Tensor:
    """How far each image is from ranking its own captions first; above 0 it is fooled."""
    return margin(encode_images(model, batch.images), bank_of(model, batch))


def numpy_state() -> list[int]:
    state: Any = np.random.get_state()
    return [*state[1].tolist(), state[2]]


def balls(attack: Attack) -> list[Ball]:
    return [part.threat for part in parts(attack) if isinstance(getattr(part, "threat", None), Ball)]


def edits(attack: Attack) -> list[Edits]:
    return [part.threat for part in parts(attack) if isinstance(getattr(part, "threat", None), Edits)]


def moved(before: Batch, after: Batch) -> list[int]:
    return [sum(a != b for a, b in zip(x.split(), y.split())) for x, y in zip(before.captions, after.captions)]


def emptied(attack: Any) -> Any:
    """The attack with every threat in it of size zero."""
    if isinstance(attack, Ball):
        return replace(attack, eps=0.0)
    if isinstance(attack, Edits):
        return replace(attack, words=0)
    if isinstance(attack, tuple):
        return tuple(emptied(one) for one in attack)
    if not is_dataclass(attack):
        return attack
    return replace(attack, **{field.name: emptied(getattr(attack, field.name)) for field in fields(attack)})  # type: ignore[type-var]


@pytest.fixture(scope="session")
def outcomes(cases: dict[str, Attack], trained: Clip, batch: Batch) -> dict[str, Batch]:
    """The result of each case with seed 0, made when it is first asked for."""

    class Made(dict[str, Batch]):
        def __missing__(self, name: str) -> Batch:
            return self.setdefault(name, cases[name](trained, batch, rng()))

    return Made()


def test_every_member_of_the_union_is_here(cases: dict[str, Attack]) -> None:
    assert {type(attack) for attack in cases.values()} == set(get_args(get_args(Attack)[0]))


def test_every_attack_has_its_page(name: str, cases: dict[str, Attack]) -> None:
    page = (DOCS / f"{cases[name].kind}.md").read_text()
    assert "**Source.**" in page and "**Code.**" in page and "## D" in page


def test_pixels_stay_inside_the_threat(
    name: str, cases: dict[str, Attack], outcomes: dict[str, Batch], batch: Batch
) -> None:
    images = outcomes[name].images
    if not balls(cases[name]):
        assert torch.equal(images, batch.images)
        return
    for ball in balls(cases[name]):
        assert (ball.distance(images, batch.images) <= ball.eps + 1e-5).all()
    assert not torch.equal(images, batch.images)
    assert images.min() >= 0 and images.max() <= 1


def test_words_stay_inside_the_threat(
    name: str, cases: dict[str, Attack], outcomes: dict[str, Batch], batch: Batch
) -> None:
    threats, after = edits(cases[name]), outcomes[name]
    if not threats:
        assert after.captions == batch.captions
        return
    assert 0 < max(moved(batch, after)) <= max(threat.words for threat in threats)
    for c, (old, new) in enumerate(zip(batch.captions, after.captions, strict=True)):
        changed = [a for a, b in zip(old.split(), new.split(), strict=True) if a != b]
        assert all(threat.editable(word) for threat in threats for word in changed)
        truth = batch.truth[int(batch.owner[c])]
        assert truth is not None and (is_true(new, truth) or not all(threat.same_meaning for threat in threats))


def test_what_is_not_attacked_is_handed_on(
    name: str, cases: dict[str, Attack], outcomes: dict[str, Batch], batch: Batch
) -> None:
    after = outcomes[name]
    assert (after.image_ids, after.caption_ids, after.truth) == (batch.image_ids, batch.caption_ids, batch.truth)
    assert torch.equal(after.owner, batch.owner) and not after.images.requires_grad


def test_every_attack_says_what_it_did(
    name: str, cases: dict[str, Attack], outcomes: dict[str, Batch], trained: Clip
) -> None:
    """The verdict is that of the model on what was returned, and costs are counted (attacks.md 5.3)."""
    outcome = outcomes[name].outcome
    assert outcome is not None
    values = margins(trained, outcomes[name])
    sure = values.abs() > 1e-3
    assert outcome.success[sure].tolist() == (values > 0)[sure].tolist()
    assert outcome.value.isfinite().all()
    spent = outcome.forwards + outcome.texts
    assert (spent > 0).all() and all((count >= 0).all() for count in outcome.rejected.values())


def test_once_more_is_the_same_and_leaves_no_trace(
    name: str, cases: dict[str, Attack], outcomes: dict[str, Batch], trained: Clip, batch: Batch
) -> None:
    """The same seed, the same result; without gradients around it, where nearly every library raises (attacks.md 5.15).

    The clean batch is untouched, and so is global randomness: torchattacks and AutoAttack seed it, SGA draws from numpy's
    (attacks.md 5.13).
    """
    copy, captions = batch.images.clone(), tuple(batch.captions)
    before = torch.get_rng_state(), numpy_state()
    with torch.no_grad():
        again = cases[name](trained, batch, rng())
    after = torch.get_rng_state(), numpy_state()  # Python's own moves with every type check
    assert torch.equal(before[0], after[0]) and before[1] == after[1]
    assert torch.equal(batch.images, copy) and batch.captions == captions and batch.images.grad is None
    assert torch.equal(again.images, outcomes[name].images) and again.captions == outcomes[name].captions


def test_a_threat_of_size_zero_is_the_identity(
    name: str, cases: dict[str, Attack], trained: Clip, batch: Batch
) -> None:
    after = emptied(cases[name])(trained, batch, rng())
    assert torch.equal(after.images, batch.images) and after.captions == batch.captions


def test_independent_of_the_batch_size(
    name: str, cases: dict[str, Attack], outcomes: dict[str, Batch], trained: Clip, batch: Batch
) -> None:
    """Outcomes, not bits: a gradient near 0 flips its sign with the order of a sum, and a verdict at the boundary its side."""
    whole = distance(trained, outcomes[name])
    parts = [batch.take(torch.tensor([0, 1])), batch.take(torch.tensor([2, 3, 4, 5]))]
    found = torch.cat([distance(trained, cases[name](trained, part, rng())) for part in parts])
    assert torch.allclose(found, whole, atol=1e-2)


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


def test_inference_mode_is_one_clear_error(name: str, cases: dict[str, Attack], trained: Clip, batch: Batch) -> None:
    with torch.inference_mode(), pytest.raises(RuntimeError, match=r"torch\.no_grad\(\)"):
        cases[name](trained, batch, rng())


def test_stronger_than_noise(
    name: str, cases: dict[str, Attack], outcomes: dict[str, Batch], trained: Clip, batch: Batch
) -> None:
    """Further from the right captions than a random point of the same threat, on average over the images."""
    if isinstance(cases[name], Noise):
        return
    ball = next(iter(balls(cases[name])), None)
    floor = batch if ball is None or isinf(ball.eps) else Noise(ball)(trained, batch, rng())
    apart = (distance(trained, outcomes[name]) - distance(trained, floor)).mean() > 0.01
    ranked = margins(trained, outcomes[name]).mean() > margins(trained, floor).mean() + 0.01
    assert apart or ranked


def test_saturated_pixels_move(name: str, cases: dict[str, Attack], trained: Clip, batch: Batch) -> None:
    """Parametrizations of the box such as tanh have no gradient at 0 and 1 (attacks.md 5.2): black and white by turns."""
    if not balls(cases[name]) or balls(cases[name])[0].norm == "l0":
        return  # a few large moves may all be for the worse
    level = torch.tensor([0.0, 1.0]).repeat(len(batch) // 2)[:, None, None, None]
    flat = replace(batch, images=level.expand_as(batch.images).clone())
    after = cases[name](trained, flat, rng())
    fooled = margins(trained, flat) > 0  # where nothing is left to do, nothing need be done
    still = (after.images - level).abs().flatten(1).amax(dim=1) <= 1e-3
    assert not (still & ~fooled).any() and (~fooled).any()


class Busy(Wrapped):
    """A model that has to be asked about something, as open_clip's vision transformer does."""

    def encode_image(self, images: Image) -> Embedding:
        assert len(images), "no images"
        return self.model.encode_image(images)

    def encode_text(self, tokens: Tensor, embedded: Tensor | None = None) -> Embedding:
        assert len(tokens), "no texts"
        return self.model.encode_text(tokens, embedded)


def test_nothing_is_left_to_attack(name: str, cases: dict[str, Attack], trained: Clip, batch: Batch) -> None:
    """Images that the wrong captions fool from the start: early stop empties the batch, and the model is not asked."""
    turned = replace(batch, captions=batch.captions[4:] + batch.captions[:4], truth=(None,) * len(batch))
    fooled = turned.take((margins(trained, turned) > 0.5).nonzero()[:, 0])
    assert len(fooled)
    after = cases[name](Busy(trained), fooled, rng())
    assert after.outcome is not None and after.outcome.success.any()


def test_pairs_that_are_all_far_apart_are_attacked_too(
    name: str, cases: dict[str, Attack], trained: Clip, batch: Batch
) -> None:
    """Negative similarities throughout: a maximum clamped at 0 would see nothing to do (attacks.md 5.1)."""
    if isinstance(cases[name], Universal | Transfer | Noise):
        return  # fitted on the captions as they are, or never shown them
    turned = replace(batch, captions=batch.captions[4:] + batch.captions[:4], truth=(None,) * len(batch))
    before, after = distance(trained, turned), cases[name](trained, turned, rng())
    assert (before > 0).any() and after.outcome is not None
    if edits(cases[name]):  # captions move away from their own image, whatever that does to the rank among the others
        assert (distance(trained, after) - before)[before > 0].mean() > 0.01
        return
    assert (margins(trained, after) >= margins(trained, turned) - 1e-3)[~after.outcome.success].all()


def test_the_object_is_its_own_configuration(name: str, cases: dict[str, Attack]) -> None:
    assert parse(dump(cases[name]), Attack, "here") == cases[name]


def test_an_unknown_attack_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match=r"'pgd', .*'bert_attack', .*'sga'"):
        parse({"kind": "fgsn"}, Attack, "here")
